//! Scores of a model on labelled recordings.
