//! Making a model.

mod checkpoint;
mod export;
mod lstm;
mod nadam;
mod net;
mod onnx;
mod parameters;
mod schedule;
