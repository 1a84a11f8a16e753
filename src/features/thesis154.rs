//! The thesis's front end.

use serde::{Deserialize, Serialize};

/// Its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// 22,050 Hz.
    pub sample_rate_hz: u32,
}

impl Default for Options {
    fn default() -> Self {
        todo!()
    }
}
