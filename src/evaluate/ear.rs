//! Hearing clips with a model, one ear a thread.

use super::{
    Error, Window,
    actor::{self, Plan, Thoughts},
    subject::Judge,
    window,
};
use crate::{
    audio::resample,
    corpus::Clip,
    features::{listen::RawFrames, offline::Leg, window::WindowOptions},
    model::{Classifier as _, Forest, Manifest, Model, forest, onnx::Session},
};

/// Seconds between windows: what a call gets that asks for no other stride.
pub(super) const STRIDE_SECONDS: f64 = 0.5;

/// Hears clips with one model. One a thread.
pub(super) trait Ear {
    /// What it keeps of a clip.
    type Heard;

    /// Hears a clip; the gate decides what is speech, or all is.
    fn listen(&self, samples: &[f32], rate_hz: u32, gate: bool) -> Result<Self::Heard, resample::Error>;

    /// What it thinks of the windows of a clip, after others of the same speaker were heard.
    fn judge(&mut self, heard: &Self::Heard, before: &[&Self::Heard], window: Window) -> Result<Judged, Error>;
}

/// What was thought of the windows of a clip.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Calibrated probabilities, a row a window.
    pub(super) rows: Vec<Vec<f32>>,
    /// Strides at which nothing was scored.
    pub(super) unscored: usize,
}

/// Hears with a network, by the code that serves calls.
struct NetworkEar<'a> {
    manifest: &'a Manifest,
    session: Session,
}

/// Hears with a forest: a window is a clip of its own.
struct ForestEar<'a> {
    forest: &'a Forest,
}

/// Hears with whichever model is asked for; a session is kept as long as it is the same.
#[derive(Default)]
pub(super) struct AnyEar<'a> {
    network: Option<NetworkEar<'a>>,
}

impl<'a> AnyEar<'a> {
    /// What `judge` thinks of the clips of one actor.
    pub(super) fn think(&mut self, judge: Judge<'a>, clips: &[&Clip], plan: &Plan<'_>) -> Result<Thoughts, Error> {
        match judge {
            Judge::Network(model) => {
                if self.network.as_ref().is_none_or(|ear| !std::ptr::eq(ear.manifest, &*model.manifest)) {
                    self.network = Some(NetworkEar::new(model)?);
                }
                let ear = self.network.as_mut().expect("made just now where there was none");
                actor::think(ear, clips, plan)
            }
            Judge::Forest(forest) => actor::think(&mut ForestEar { forest }, clips, plan),
        }
    }
}

impl<'a> NetworkEar<'a> {
    fn new(model: &'a Model) -> Result<Self, Error> {
        Ok(Self { manifest: &model.manifest, session: model.session()? })
    }

    /// Windows of one length share a run.
    fn run(&mut self, windows: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        let mut rows = Vec::with_capacity(windows.len());
        for alike in windows.chunk_by(|one, other| one.len() == other.len()) {
            let logits = self.session.run(&alike.concat(), alike.len())?;
            let labels = self.manifest.labels.len();
            rows.extend(
                logits.chunks_exact(labels).map(|row| self.manifest.calibration.judge(row).into_probabilities()),
            );
        }
        Ok(rows)
    }
}

impl Ear for NetworkEar<'_> {
    type Heard = RawFrames;

    fn listen(&self, samples: &[f32], rate_hz: u32, gate: bool) -> Result<RawFrames, resample::Error> {
        RawFrames::of(samples, rate_hz, &self.manifest.front_end, gate)
    }

    fn judge(&mut self, heard: &RawFrames, before: &[&RawFrames], window: Window) -> Result<Judged, Error> {
        let (windows, unscored) = cut(heard, before, window, self.manifest)?;
        Ok(Judged { rows: self.run(&windows)?, unscored })
    }
}

/// The windows of a clip as a call has them that heard `before`, and how many strides gave none.
pub(super) fn cut(
    heard: &RawFrames,
    before: &[&RawFrames],
    window: Window,
    manifest: &Manifest,
) -> Result<(Vec<Vec<f32>>, usize), Error> {
    let Manifest { front_end, standardization, .. } = manifest;
    let options = options(window, manifest);
    // A network that takes any length is heard over longer windows than it is served, too.
    let most = WindowOptions { frames: options.frames.max(manifest.window.frames), ..manifest.window.clone() };
    let leg = || -> Result<Leg<'_>, Error> {
        let mut leg = Leg::new(front_end, &most, standardization)?;
        before.iter().for_each(|raw| leg.hear(raw));
        Ok(leg)
    };
    if window == Window::Clip {
        return Ok((leg()?.first_window(heard, &options).into_iter().collect(), 0));
    }
    let strides = leg()?.serve(heard, &options, STRIDE_SECONDS)?;
    let all = strides.len();
    let mut windows: Vec<Vec<f32>> = strides.into_iter().filter_map(|stride| stride.outcome.ok()).collect();
    let unscored = all - windows.len();
    // A clip shorter than a window gives one; where the gate heard speech, if it was asked.
    if windows.is_empty() && heard.speech.iter().any(|&speech| speech) {
        windows.extend(leg()?.first_window(heard, &options));
    }
    Ok((windows, unscored))
}

fn options(window: Window, manifest: &Manifest) -> WindowOptions {
    match window {
        Window::Clip | Window::Whole => manifest.window.clone(),
        Window::Seconds(seconds) => {
            let frames = window::frames(seconds, manifest.front_end.frame_rate());
            WindowOptions { frames, min_seconds: seconds, ..manifest.window.clone() }
        }
    }
}

impl Ear for ForestEar<'_> {
    /// Samples and their rate.
    type Heard = (Vec<f32>, u32);

    fn listen(&self, samples: &[f32], rate_hz: u32, _gate: bool) -> Result<Self::Heard, resample::Error> {
        Ok((samples.to_vec(), rate_hz))
    }

    fn judge(&mut self, heard: &Self::Heard, _before: &[&Self::Heard], window: Window) -> Result<Judged, Error> {
        let (samples, rate_hz) = heard;
        let mut judged = Judged::default();
        for (from, to) in stretches(samples.len(), *rate_hz, window) {
            let values = forest::clip_values(&samples[from..to], *rate_hz).map_err(crate::features::Error::from)?;
            judged.rows.push(self.forest.judge(&values).into_probabilities());
        }
        Ok(judged)
    }
}

/// Where the stretches of a clip that a forest hears begin and end: all of it, or every full window at the served stride; a shorter
/// clip gives one.
fn stretches(samples: usize, rate_hz: u32, window: Window) -> Vec<(usize, usize)> {
    let Window::Seconds(seconds) = window else { return vec![(0, samples)] };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a minute, and positive")]
    let taken = |seconds: f64| (seconds * f64::from(rate_hz)).round() as usize;
    let (length, stride) = (taken(seconds.into()), taken(STRIDE_SECONDS));
    if samples <= length {
        return vec![(0, samples)];
    }
    (1..)
        .map(|nth| nth * stride)
        .take_while(|&end| end <= samples)
        .filter(|&end| end >= length)
        .map(|end| (end - length, end))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forest_hears_whole_clips_or_full_windows_at_the_stride() {
        assert_eq!(stretches(20_000, 8_000, Window::Whole), [(0, 20_000)]);
        assert_eq!(stretches(20_000, 8_000, Window::Clip), [(0, 20_000)]);
        assert_eq!(stretches(20_000, 8_000, Window::Seconds(1.5)), [(0, 12_000), (4_000, 16_000), (8_000, 20_000)]);
        assert_eq!(stretches(12_001, 8_000, Window::Seconds(1.5)), [(0, 12_000)]);
        assert_eq!(stretches(9_000, 8_000, Window::Seconds(1.5)), [(0, 9_000)]);
    }
}
