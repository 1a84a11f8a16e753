//! Scores of a model on labelled recordings.
//!
//! Clips go through the code that serves calls: the line, the gate if asked for, the window's rule, assembly, ONNX Runtime,
//! calibration. Three windows are told apart ([`Window`]); every clip is heard cold, without anything of the speaker before.

use serde::Serialize;

use crate::{
    audio::file,
    corpus::{Clip, Condition, LABELS, Scene, line::Babble, tables},
    features::{listen::RawFrames, offline, window::WindowOptions},
    model::{Classifier as _, Manifest, onnx::Session},
};

pub mod groups;
pub mod hear;
pub mod metrics;
mod window;

pub use window::Window;

use groups::Groups;
use metrics::{Scored, Scores};

/// Seconds between windows: what a call gets that asks for no other stride.
const STRIDE_SECONDS: f64 = 0.5;
/// Of all that conditions draw, so that the same clips are heard in the same way every time.
const SEED: u64 = 0;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Under which lines.
    pub conditions: Vec<Condition>,
    /// Over which windows.
    pub windows: Vec<Window>,
    /// Whether the gate decides what is speech; without it all is.
    pub gate: bool,
}

/// Scores under one condition over one kind of window. The fields are the command's contract.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The line.
    pub condition: Condition,
    /// What was heard of the speaker before: nothing.
    pub baseline: &'static str,
    /// "whole", "clip" or the seconds.
    pub window: String,
    /// Seconds of a window; null for whole clips.
    pub window_seconds: Option<f32>,
    /// Windows that were scored.
    pub windows: usize,
    /// The figures; of windows where `window_seconds` is given, else of clips.
    #[serde(flatten)]
    pub scores: Scores,
    /// The figures by who speaks and how.
    pub groups: Groups,
    /// Windows that the gate, or too little speech, kept from being scored.
    pub unscored_windows: usize,
    /// What people heard in the same clips.
    pub listeners: Option<Listeners>,
}

/// How people told the same clips by the voice alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listeners {
    /// Clips whose votes are known.
    pub clips: usize,
    /// Part of all votes that is for the emotion played.
    pub accuracy: f64,
    /// Part of the clips for whose emotion most voted; an emotion level with others counts by its share.
    pub plurality_accuracy: f64,
}

/// What can go wrong as a whole; a clip that cannot be read is left out and named instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model tells other things apart than the corpus.
    #[error("the model's labels are {0}, the corpus's {corpus}: they cannot be compared", corpus = LABELS.join(", "))]
    Labels(String),
    /// A window longer than the model's.
    #[error(
        "a window of {seconds} s is longer than the model's {most:.2} s: ask for a shorter one, or for whole clips"
    )]
    TooLong {
        /// Asked for.
        seconds: f32,
        /// The model's.
        most: f32,
    },
    /// Nothing was scored.
    #[error("no clip could be scored: {0}")]
    Nothing(String),
    /// Features could not be made.
    #[error(transparent)]
    Features(#[from] crate::features::Error),
    /// The network failed.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
}

/// All that is scored under one condition over one kind of window.
struct Pile<'a> {
    condition: Condition,
    window: Window,
    scored: Vec<(&'a Clip, Scored)>,
    windows: usize,
    unscored: usize,
}

/// Runs `clips` through a model. Clips that cannot be read are named in `left_out`; `progress` is called once a clip.
///
/// # Errors
/// An [`Error`] where labels or windows do not fit the model, the network fails, or nothing could be scored.
pub fn evaluate(
    manifest: &Manifest,
    session: &mut Session,
    clips: &[&Clip],
    options: &Options,
    left_out: &mut Vec<String>,
    progress: impl Fn(),
) -> Result<Vec<Outcome>, Error> {
    let model_labels: Vec<&str> = manifest.labels.iter().map(String::as_str).collect();
    if model_labels != LABELS {
        return Err(Error::Labels(model_labels.join(", ")));
    }
    for window in &options.windows {
        window.validate(manifest)?;
    }
    let mut piles: Vec<Pile<'_>> = options
        .conditions
        .iter()
        .flat_map(|&condition| {
            options.windows.iter().map(move |&window| Pile {
                condition,
                window,
                scored: vec![],
                windows: 0,
                unscored: 0,
            })
        })
        .collect();
    let babble = if options.conditions.iter().any(|line| line.has_babble()) {
        Babble::of(clips, SEED)
    } else {
        Babble::default()
    };
    for &clip in clips {
        progress();
        let recording = match file::read(&clip.path) {
            Ok(recording) => recording,
            Err(error) => {
                left_out.push(error.to_string());
                continue;
            }
        };
        let rate_hz = recording.sample_rate_hz;
        let samples = recording.into_mono();
        for &condition in &options.conditions {
            let scene = Scene::of(clip, &babble, SEED);
            let heard = condition.apply(samples.clone(), rate_hz, &scene).map_err(crate::features::Error::from);
            let raw = match heard
                .and_then(|(samples, hz)| Ok(RawFrames::of(&samples, hz, &manifest.front_end, options.gate)?))
            {
                Ok(raw) => raw,
                Err(error) => {
                    left_out.push(format!("{}: {error}", clip.path.display()));
                    break;
                }
            };
            for pile in piles.iter_mut().filter(|pile| pile.condition == condition) {
                pile.add(clip, &raw, manifest, session)?;
            }
        }
    }
    let reason = || left_out.first().cloned().unwrap_or_else(|| "there is no clip of these actors".to_owned());
    piles.into_iter().map(|pile| pile.outcome(&manifest.labels).ok_or_else(|| Error::Nothing(reason()))).collect()
}

impl<'a> Pile<'a> {
    fn add(
        &mut self,
        clip: &'a Clip,
        raw: &RawFrames,
        manifest: &Manifest,
        session: &mut Session,
    ) -> Result<(), Error> {
        let (windows, unscored) = cut(raw, self.window, manifest)?;
        self.unscored += unscored;
        if windows.is_empty() {
            return Ok(());
        }
        let labels = manifest.labels.len();
        let mut rows: Vec<Vec<f32>> = Vec::with_capacity(windows.len());
        // Only windows of one length fit one tensor.
        for alike in windows.chunk_by(|one, other| one.len() == other.len()) {
            let logits = session.run(&alike.concat(), alike.len())?;
            rows.extend(logits.chunks_exact(labels).map(|row| manifest.calibration.judge(row).probabilities));
        }
        self.windows += rows.len();
        let scored = |probabilities| Scored { actor: clip.actor.clone(), label: clip.label, probabilities };
        match self.window {
            Window::Seconds(_) => self.scored.extend(rows.into_iter().map(|row| (clip, scored(row)))),
            Window::Whole | Window::Clip => {
                let count = rows.len() as f32;
                let mean = (0..labels).map(|label| rows.iter().map(|row| row[label]).sum::<f32>() / count).collect();
                self.scored.push((clip, scored(mean)));
            }
        }
        Ok(())
    }

    fn outcome(self, labels: &[String]) -> Option<Outcome> {
        let all: Vec<Scored> = self.scored.iter().map(|(_, scored)| scored.clone()).collect();
        let mut scores = Scores::of(&all, labels)?;
        let mut clips: Vec<&Clip> = self.scored.iter().map(|(clip, _)| *clip).collect();
        clips.dedup_by_key(|clip| &clip.path);
        scores.clips = clips.len();
        Some(Outcome {
            condition: self.condition,
            baseline: "cold",
            window: self.window.to_string(),
            window_seconds: self.window.seconds(),
            windows: self.windows,
            groups: Groups::of(&self.scored, labels.len()),
            scores,
            unscored_windows: self.unscored,
            listeners: Listeners::of(&clips),
        })
    }
}

impl Listeners {
    /// The figures over the clips whose votes are known; `None` if those of none are.
    fn of(clips: &[&Clip]) -> Option<Self> {
        let votes: Vec<(usize, tables::Votes)> =
            clips.iter().filter_map(|clip| Some((clip.label, tables::votes(&clip.name)?))).collect();
        let (mut right, mut all, mut plurality) = (0_u64, 0_u64, 0.0);
        for (label, votes) in &votes {
            right += u64::from(votes[*label]);
            all += votes.iter().map(|&count| u64::from(count)).sum::<u64>();
            let most = votes.iter().max().copied().unwrap_or_default();
            if votes[*label] == most {
                plurality += 1.0 / votes.iter().filter(|&&count| count == most).count() as f64;
            }
        }
        (!votes.is_empty()).then(|| Self {
            clips: votes.len(),
            accuracy: right as f64 / all as f64,
            plurality_accuracy: plurality / votes.len() as f64,
        })
    }
}

/// The windows of a recording as in a call that hears nothing before it, and how many strides gave none.
fn cut(raw: &RawFrames, window: Window, manifest: &Manifest) -> Result<(Vec<Vec<f32>>, usize), Error> {
    let leg = || offline::Leg::new(&manifest.front_end, &manifest.window, &manifest.standardization);
    let options = match window {
        Window::Clip => return Ok((leg()?.first_window(raw, &manifest.window).into_iter().collect(), 0)),
        Window::Whole => manifest.window.clone(),
        Window::Seconds(seconds) => {
            WindowOptions { frames: window::frames(seconds, manifest), min_seconds: seconds, ..manifest.window.clone() }
        }
    };
    let strides = leg()?.serve(raw, &options, STRIDE_SECONDS)?;
    let all = strides.len();
    let mut windows: Vec<Vec<f32>> = strides.into_iter().filter_map(|stride| stride.outcome.ok()).collect();
    let unscored = all - windows.len();
    // A clip shorter than a window gives one; where the gate heard speech, if it was asked.
    if windows.is_empty() && raw.speech.iter().any(|&speech| speech) {
        windows.extend(leg()?.first_window(raw, &options));
    }
    Ok((windows, unscored))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        corpus::Corpus,
        features::{Pipeline, PipelineOptions},
        model::onnx::{Options as SessionOptions, Runtime},
    };

    fn model() -> (Manifest, Session) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cnn-bilstm");
        let manifest = Manifest::load(&dir).unwrap();
        let session = Session::load(Runtime::load(None).unwrap(), &manifest, &dir, &SessionOptions::default()).unwrap();
        (manifest, session)
    }

    fn corpus() -> Corpus {
        Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap()
    }

    #[test]
    fn whole_clips_are_scored_over_the_windows_of_a_call() {
        let (manifest, _) = model();
        let clip = &corpus().clips[0];
        let recording = file::read(&clip.path).unwrap();
        let hz = recording.sample_rate_hz;
        let samples = recording.into_mono();
        for gate in [false, true] {
            let raw = RawFrames::of(&samples, hz, &manifest.front_end, gate).unwrap();
            let (windows, unscored) = cut(&raw, Window::Whole, &manifest).unwrap();
            let options = PipelineOptions { source_hz: hz, stride_seconds: STRIDE_SECONDS, gate };
            let mut call =
                Pipeline::new(&manifest.front_end, &manifest.window, &manifest.standardization, &options).unwrap();
            call.push(&samples);
            call.finish();
            let strides: Vec<_> = std::iter::from_fn(|| call.poll()).collect();
            let served: Vec<Vec<f32>> = strides.iter().filter_map(|stride| stride.outcome.clone().ok()).collect();
            assert!(windows == served && !windows.is_empty());
            assert_eq!(unscored, strides.len() - served.len());
        }
    }

    #[test]
    fn every_kind_of_window_counts_what_it_says() {
        let (manifest, mut session) = model();
        let corpus = corpus();
        let clips: Vec<&Clip> = corpus.clips.iter().filter(|clip| clip.actor == "1066").collect();
        let options = Options {
            conditions: vec![Condition::Wide, Condition::Alaw],
            windows: vec![Window::Whole, Window::Clip, Window::Seconds(1.0)],
            gate: false,
        };
        let outcomes = evaluate(&manifest, &mut session, &clips, &options, &mut Vec::new(), || {}).unwrap();
        assert_eq!(outcomes.len(), 6);
        for outcome in &outcomes {
            assert_eq!((outcome.scores.clips, outcome.scores.actors), (6, 1));
            let counted: u64 = outcome.scores.confusion.iter().flatten().sum();
            let expected = if outcome.window_seconds.is_some() { outcome.windows } else { 6 };
            assert_eq!(counted, expected as u64);
            assert!(outcome.windows >= 6 && outcome.groups.sex.is_empty());
            assert_eq!(outcome.listeners.as_ref().unwrap().clips, 6);
        }
        let json = serde_json::to_value(&outcomes[5]).unwrap();
        assert_eq!((&json["condition"], &json["window_seconds"]), (&"alaw".into(), &1.0.into()));
        for field in ["uar", "uar_low", "uar_high", "accuracy", "macro_f1", "weighted_f1", "ece", "brier", "per_class"]
        {
            assert!(!json[field].is_null(), "{field}");
        }
    }

    #[test]
    fn a_clip_that_cannot_be_read_is_named_and_windows_must_fit() {
        let (manifest, mut session) = model();
        let corpus = corpus();
        let broken = Clip { path: "none/1066_DFA_ANG_XX.wav".into(), ..corpus.clips[0].clone() };
        let clips = [&corpus.clips[0], &broken];
        let mut options = Options { conditions: vec![Condition::Wide], windows: vec![Window::Clip], gate: false };
        let mut left_out = Vec::new();
        let outcomes = evaluate(&manifest, &mut session, &clips, &options, &mut left_out, || {}).unwrap();
        assert_eq!(outcomes[0].scores.clips, 1);
        assert!(left_out[0].contains("none/1066_DFA_ANG_XX.wav"), "{left_out:?}");
        options.windows = vec![Window::Seconds(7.5)];
        let error = evaluate(&manifest, &mut session, &clips, &options, &mut left_out, || {}).unwrap_err();
        assert!(error.to_string().contains("6.97 s"), "{error}");
    }
}
