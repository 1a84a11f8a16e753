//! The legs that live.
