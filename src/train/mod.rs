//! Making a model.

mod lstm;
mod nadam;
mod net;
mod parameters;
mod schedule;
