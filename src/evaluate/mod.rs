//! Scores of a model on labelled recordings.

pub mod groups;
pub mod metrics;
