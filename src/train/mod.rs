//! Making a model.
