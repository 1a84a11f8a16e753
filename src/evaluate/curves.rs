//! What a single figure hides: how right a model is at each confidence, and how right it stays the more it answers.

use serde::Serialize;

use super::metrics::Scored;

/// Bins of confidence (Guo et al., "On Calibration of Modern Neural Networks", 2017, use 15).
pub const BINS: usize = 15;

/// Points of the coverage curve: every 5 %.
const COVERAGE_POINTS: usize = 20;

/// The answers whose confidence falls into one bin, open below and closed above. A reliability diagram is made of these.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Answers in it.
    pub count: usize,
    /// Their mean confidence; 0 of none.
    pub confidence: f64,
    /// The part of them that is right; 0 of none.
    pub accuracy: f64,
}

/// How right the surest answers are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// The part that is answered, the surest first.
    pub coverage: f64,
    /// The least confidence among them.
    pub confidence: f64,
    /// The part of them that is right.
    pub accuracy: f64,
}

/// All bins, from 0 to 1.
pub fn reliability(scored: &[Scored]) -> Vec<Bin> {
    let mut bins = [(0_usize, 0_usize, 0.0_f64); BINS];
    for one in scored {
        let confidence = one.confidence();
        // 1 falls into the last.
        let bin = (1..BINS).take_while(|&bin| confidence * BINS as f64 > bin as f64).count();
        bins[bin].0 += 1;
        bins[bin].1 += usize::from(one.is_right());
        bins[bin].2 += confidence;
    }
    let edge = |bin: usize| bin as f64 / BINS as f64;
    let mean = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
    bins.iter()
        .enumerate()
        .map(|(bin, &(count, right, confidence))| Bin {
            from: edge(bin),
            to: edge(bin + 1),
            count,
            confidence: mean(confidence, count),
            accuracy: mean(right as f64, count),
        })
        .collect()
}

/// The mean gap between confidence and accuracy over the bins, each weighted by its answers.
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let all: usize = bins.iter().map(|bin| bin.count).sum();
    bins.iter().map(|bin| (bin.accuracy - bin.confidence).abs() * bin.count as f64).sum::<f64>() / all.max(1) as f64
}

/// From the surest 5 % to all; empty of nothing.
pub fn coverage(scored: &[Scored]) -> Vec<Coverage> {
    let order = surest_first(scored);
    if order.is_empty() {
        return Vec::new();
    }
    (1..=COVERAGE_POINTS)
        .map(|point| {
            let surest = &order[..(order.len() * point).div_ceil(COVERAGE_POINTS)];
            Coverage {
                coverage: point as f64 / COVERAGE_POINTS as f64,
                confidence: surest[surest.len() - 1].confidence(),
                accuracy: accuracy(surest),
            }
        })
        .collect()
}

/// The part that is right of the half that the model is surer of.
pub(super) fn accuracy_at_half_coverage(scored: &[Scored]) -> f64 {
    let mut order = surest_first(scored);
    order.truncate(scored.len().div_ceil(2));
    accuracy(&order)
}

fn surest_first(scored: &[Scored]) -> Vec<&Scored> {
    let mut order: Vec<&Scored> = scored.iter().collect();
    order.sort_by(|a, b| b.confidence().total_cmp(&a.confidence()));
    order
}

fn accuracy(scored: &[&Scored]) -> f64 {
    scored.iter().filter(|one| one.is_right()).count() as f64 / scored.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(label: usize, first: f32) -> Scored {
        Scored { actor: "1".into(), label, probabilities: vec![first, 1.0 - first] }
    }

    #[test]
    fn bins_hold_what_falls_between_their_edges() {
        // 0.5 lies in the eighth bin of fifteen, 1 in the last, 0.9 and 0.92 in the one before.
        let bins = reliability(&[one(0, 0.5), one(0, 1.0), one(0, 0.9), one(1, 0.92)]);
        let filled: Vec<(usize, usize)> =
            bins.iter().enumerate().filter(|(_, bin)| bin.count > 0).map(|(at, bin)| (at, bin.count)).collect();
        assert_eq!(filled, [(7, 1), (13, 2), (14, 1)]);
        assert!((bins[13].confidence - 0.91).abs() < 1e-6 && (bins[13].accuracy - 0.5).abs() < 1e-9);
        assert!((expected_calibration_error(&bins) - (0.5 + 2.0 * 0.41) / 4.0).abs() < 1e-6);
        assert!(expected_calibration_error(&reliability(&[])).abs() < 1e-9);
    }

    #[test]
    fn the_surest_come_first() {
        let scored: Vec<Scored> = (0..100).map(|n| one(usize::from(n < 50), 0.5 + 0.004 * n as f32)).collect();
        let curve = coverage(&scored);
        assert_eq!(curve.len(), COVERAGE_POINTS);
        assert!((curve[0].coverage - 0.05).abs() < 1e-9 && (curve[0].confidence - 0.88).abs() < 1e-6);
        assert!(curve[..10].iter().all(|point| (point.accuracy - 1.0).abs() < 1e-9));
        assert!((curve[19].accuracy - 0.5).abs() < 1e-9);
        assert!((accuracy_at_half_coverage(&scored) - 1.0).abs() < 1e-9);
        assert!(coverage(&[]).is_empty());
    }
}
