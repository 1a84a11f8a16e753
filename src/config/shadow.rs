//! A model that is tried beside one in service.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A model that hears what one in service hears, and is only measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shadow {
    /// Its folder. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// The name of the model in service that it is compared with. Left out: the default model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The share of that model's calls that it hears: more than 0, at most 1.
    pub share: f64,
}

/// What is wrong with [`Shadow`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("shadow.share is {0}, expected more than 0 and at most 1; leave shadow.model out to have no shadow")]
pub struct Invalid(f64);

impl Default for Shadow {
    fn default() -> Self {
        Self { model: None, of: None, share: 1.0 }
    }
}

impl Shadow {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if self.share > 0.0 && self.share <= 1.0 { Ok(()) } else { Err(Invalid(self.share)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_part_of_the_calls() {
        let of = |share| Shadow { share, ..Shadow::default() }.validate();
        assert_eq!((of(1.0), of(0.001)), (Ok(()), Ok(())));
        for share in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert!(of(share).is_err(), "{share}");
        }
    }
}
