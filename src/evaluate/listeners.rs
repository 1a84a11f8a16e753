//! How people told the same clips apart by the voice alone, beside the machine.

use serde::Serialize;

use super::metrics::Scored;
use crate::corpus::{Clip, tables};

/// What people heard. Clips whose votes were about a broken recording are left out: the tables do not hold them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listeners {
    /// Clips whose votes are known.
    pub clips: usize,
    /// Votes for them.
    pub votes: u64,
    /// Part of all votes that is for the emotion played: how often one listener is right.
    pub accuracy: f64,
    /// Mean of that part over the emotions.
    pub uar: f64,
    /// Part of the clips for whose emotion most voted; an emotion level with others counts by its share.
    pub plurality_accuracy: f64,
    /// Mean of that part over the emotions.
    pub plurality_uar: f64,
    /// `[played][heard]`, votes.
    pub confusion: Vec<Vec<u64>>,
    /// Part of the same clips, or of their windows, that the machine has right.
    pub machine_accuracy: f64,
    /// Part of the same clips, or of their windows, in which the machine says what most people heard, or one of those level.
    pub machine_agrees: f64,
}

impl Listeners {
    /// The figures over the clips whose votes are known; `None` if those of none are. A clip may stand there once a window.
    pub(super) fn of(scored: &[(&Clip, Scored)]) -> Option<Self> {
        let mut clips: Vec<(&str, usize, tables::Votes)> = Vec::new();
        let (mut answers, mut right, mut agreed) = (0_u32, 0_u32, 0_u32);
        for (clip, one) in scored {
            let Some(votes) = tables::votes(&clip.name) else { continue };
            let most = votes.iter().max().copied().unwrap_or_default();
            answers += 1;
            right += u32::from(one.answer() == one.label);
            agreed += u32::from(votes.get(one.answer()) == Some(&most));
            if clips.last().is_none_or(|(name, ..)| *name != clip.name.as_str()) {
                clips.push((clip.name.as_str(), clip.label, votes));
            }
        }
        let labels = clips.first()?.2.len();
        let mut confusion = vec![vec![0; labels]; labels];
        let mut plurality = vec![0.0; labels];
        let mut played = vec![0_usize; labels];
        for (_, label, votes) in &clips {
            for (sum, &count) in confusion[*label].iter_mut().zip(votes) {
                *sum += u64::from(count);
            }
            played[*label] += 1;
            let most = votes.iter().max().copied().unwrap_or_default();
            if votes[*label] == most {
                plurality[*label] += 1.0 / votes.iter().filter(|&&count| count == most).count() as f64;
            }
        }
        let votes: u64 = confusion.iter().flatten().sum();
        let votes_right: u64 = (0..labels).map(|label| confusion[label][label]).sum();
        let mean = |recall: &dyn Fn(usize) -> f64| {
            let recalls: Vec<f64> = (0..labels).filter(|&label| played[label] > 0).map(recall).collect();
            recalls.iter().sum::<f64>() / recalls.len() as f64
        };
        Some(Self {
            clips: clips.len(),
            votes,
            accuracy: votes_right as f64 / votes as f64,
            uar: mean(&|label| confusion[label][label] as f64 / confusion[label].iter().sum::<u64>() as f64),
            plurality_accuracy: plurality.iter().sum::<f64>() / clips.len() as f64,
            plurality_uar: mean(&|label| plurality[label] / played[label] as f64),
            confusion,
            machine_accuracy: f64::from(right) / f64::from(answers),
            machine_agrees: f64::from(agreed) / f64::from(answers),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(name: &str, label: usize, answer: usize) -> (Clip, Scored) {
        let mut probabilities = vec![0.1; 6];
        probabilities[answer] = 0.5;
        let clip = Clip { path: name.into(), name: name.into(), actor: "1002".into(), label, level: None };
        (clip, Scored { actor: "1002".into(), label, probabilities })
    }

    #[test]
    fn figures_of_a_hand_computed_example() {
        // Votes: 6 0 0 0 2 0 of the angry clip, 1 7 0 0 1 1 of the disgusted one; the third's are masked.
        let rows = [
            heard("1002_DFA_ANG_XX", 0, 0),
            heard("1002_DFA_ANG_XX", 0, 4),
            heard("1002_DFA_DIS_XX", 1, 2),
            heard("1007_IWL_HAP_XX", 3, 3),
        ];
        let rows: Vec<(&Clip, Scored)> = rows.iter().map(|(clip, one)| (clip, one.clone())).collect();
        let listeners = Listeners::of(&rows).unwrap();
        assert_eq!((listeners.clips, listeners.votes), (2, 18));
        assert!((listeners.accuracy - 13.0 / 18.0).abs() < 1e-12);
        assert!((listeners.uar - f64::midpoint(6.0 / 8.0, 7.0 / 10.0)).abs() < 1e-12);
        assert!((listeners.plurality_accuracy - 1.0).abs() < 1e-12 && (listeners.plurality_uar - 1.0).abs() < 1e-12);
        assert_eq!((listeners.confusion[0].clone(), listeners.confusion[1][1]), (vec![6, 0, 0, 0, 2, 0], 7));
        assert!((listeners.machine_accuracy - 1.0 / 3.0).abs() < 1e-12);
        assert!((listeners.machine_agrees - 1.0 / 3.0).abs() < 1e-12);
        assert!(Listeners::of(&rows[3..]).is_none());
    }
}
