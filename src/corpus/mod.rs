//! Labelled recordings: reading, checking, splitting.
