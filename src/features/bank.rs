//! Power spectrum → bands: triangles that overlap their neighbours' halves, so that most weights are 0 and few of those are kept.

use crate::audio::lanes::{LANES, dot};

/// Filters whose weights lie side by side, each filled up with 0 to a whole group of lanes.
pub(super) struct Bank {
    bins: usize,
    weights: Vec<f32>,
    bands: Vec<Band>,
}

/// Where a band's weights lie, and the first bin they are for.
struct Band {
    first_bin: usize,
    weights: std::ops::Range<usize>,
}

impl Bank {
    /// The filters whose weight for a band and a bin `weight` tells. Between a band's first and last bin all are kept.
    pub(super) fn new(bands: usize, bins: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let mut weights = Vec::new();
        let bands = (0..bands)
            .map(|band| {
                let begin = weights.len();
                let mut heard = (0..bins).filter(|&bin| weight(band, bin) > 0.0);
                let first_bin = heard.next().unwrap_or_default();
                let last_bin = heard.next_back().unwrap_or(first_bin);
                weights.extend((first_bin..=last_bin).map(|bin| weight(band, bin)));
                weights.resize(weights.len().next_multiple_of(LANES), 0.0);
                Band { first_bin, weights: begin..weights.len() }
            })
            .collect();
        Self { bins, weights, bands }
    }

    /// A power spectrum of 0, with room behind its bins that stays 0: as much as any sum over it runs beyond.
    pub(super) fn spectrum(&self) -> Vec<f32> {
        vec![0.0; self.spectrum_len()]
    }

    /// How long that is.
    pub(super) fn spectrum_len(&self) -> usize {
        self.bins + LANES
    }

    /// The power in each band of a [`Bank::spectrum`].
    #[inline(always)]
    pub(super) fn apply(&self, power: &[f32], bands: &mut [f32]) {
        for (sum, band) in bands.iter_mut().zip(&self.bands) {
            *sum = dot::<LANES>(&self.weights[band.weights.clone()], &power[band.first_bin..]);
        }
    }
}
