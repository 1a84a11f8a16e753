//! Power spectrum → bands: triangles that overlap their neighbours' halves, so that most weights are 0 and none of those is kept.

/// Filters whose non-zero weights lie side by side.
pub(super) struct Bank {
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
                Band { first_bin, weights: begin..weights.len() }
            })
            .collect();
        Self { weights, bands }
    }

    /// The power in each band.
    pub(super) fn apply(&self, power: &[f32], bands: &mut [f32]) {
        for (sum, band) in bands.iter_mut().zip(&self.bands) {
            let weights = &self.weights[band.weights.clone()];
            let bins = &power[band.first_bin..band.first_bin + weights.len()];
            *sum = weights.iter().zip(bins).map(|(weight, power)| weight * power).sum();
        }
    }
}
