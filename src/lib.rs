//! Undertone hears *how* people speak on the telephone, while they speak.
//!
//! The audio's way, each module importing only from those above it:
//!
//! | module | what it does |
//! |---|---|
//! | [`audio`] | bytes off the wire → samples per channel → the model's rate; tells speech from music, tones, noise and silence |
//! | [`features`] | samples → frames → a rolling window at every stride |
//! | [`policy`] | who may be analysed at all |
//! | [`decision`] | logits → calibrated probabilities → the smoothed emotion → alerts under rules |
//! | [`model`] | what a model is (manifest) and what runs it (ONNX Runtime) |
//! | [`inference`] | windows of all calls → batches → logits, on threads of its own |
//! | [`call`] | the state of one leg of one call, without clock or I/O |
//! | [`journal`] | what outlives the process: alerts, summaries, timelines, who did what |
//! | [`session`] | one task a leg, the registry of all that live |
//! | [`server`] | gRPC and the admin port |
//!
//! Beside the way stand [`telemetry`] and [`config`]; [`corpus`] and [`evaluate`] know labelled recordings and score a model on
//! them, and `train` (cargo feature `train`) makes one. Training walks the same [`audio`] and [`features`] code as a call.

pub mod audio;
pub mod call;
pub mod config;
pub mod corpus;
pub mod decision;
pub mod evaluate;
pub mod features;
pub mod inference;
pub mod journal;
pub mod model;
pub mod policy;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod telemetry;
#[cfg(feature = "train")]
pub mod train;
