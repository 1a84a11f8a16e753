//! What scenes are made of, in memory at 8 kHz: voices by actor with where each speaks, music, noise.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rayon::prelude::*;

use crate::{
    audio::{file, resample},
    corpus::{Clip, tables},
};

/// The telephone's rate.
pub(super) const RATE_HZ: u32 = 8_000;
/// Samples that are either speech or not: 20 ms.
pub(super) const FRAME: usize = 160;
/// A frame is speech when its level is no further below the clip's 95th percentile.
const SPEECH_RANGE_DB: f32 = 30.0;
/// Frames without speech that stay part of what is said around them: 300 ms, a stop or a breath within a sentence.
const JOINED_FRAMES: usize = 15;

/// One clip.
pub(super) struct Voice {
    pub(super) samples: Vec<i16>,
    /// By frame: whether it is speech.
    pub(super) speech: Vec<bool>,
    /// Root mean square where it is.
    pub(super) level: f32,
}

/// Everything to make scenes of.
pub(super) struct Sources {
    /// By actor.
    pub(super) voices: Vec<Vec<Voice>>,
    /// By folder, so that a package of a hundred tracks weighs as much as one of five.
    pub(super) music: Vec<Vec<Vec<i16>>>,
    pub(super) noise: Vec<Vec<i16>>,
}

impl Voice {
    pub(super) fn new(samples: Vec<i16>) -> Option<Self> {
        let levels: Vec<f32> = samples.chunks(FRAME).map(mean_square).collect();
        let mut sorted = levels.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let loud = *sorted.get(sorted.len() * 95 / 100)?;
        if loud <= 0.0 {
            return None;
        }
        let least = loud * 10_f32.powf(-SPEECH_RANGE_DB / 10.0);
        let mut speech: Vec<bool> = levels.iter().map(|&level| level >= least).collect();
        let spoken: f32 = levels.iter().filter(|&&level| level >= least).sum();
        let count = speech.iter().filter(|&&speech| speech).count();
        let mut last = None;
        for frame in 0..speech.len() {
            if speech[frame] {
                if let Some(last) = last.filter(|last| frame - last <= JOINED_FRAMES) {
                    speech[last..frame].fill(true);
                }
                last = Some(frame);
            }
        }
        Some(Self { samples, speech, level: (spoken / count as f32).sqrt() })
    }
}

/// The clips of some actors; clips that are silent or unreadable are left out.
pub(super) fn voices(clips: &[&Clip], progress: impl Fn() + Sync) -> Vec<Vec<Voice>> {
    let mut actors: Vec<&str> = clips.iter().map(|clip| clip.actor.as_str()).collect();
    actors.sort_unstable();
    actors.dedup();
    let read = |clip: &&&Clip| {
        progress();
        if tables::problem(&clip.name).is_some() {
            return None;
        }
        read(&clip.path).ok().and_then(Voice::new)
    };
    let of_actor = |actor: &str| {
        let clips: Vec<&&Clip> = clips.iter().filter(|clip| clip.actor == actor).collect();
        clips.par_iter().filter_map(&read).collect::<Vec<_>>()
    };
    actors.into_iter().map(of_actor).filter(|voices| !voices.is_empty()).collect()
}

/// All recordings below a folder, by the folder in it that they lie in.
///
/// # Errors
/// No folder, no recording in it, or one that cannot be read.
pub(super) fn folders(root: &Path) -> anyhow::Result<Vec<Vec<Vec<i16>>>> {
    let mut groups = vec![Vec::new()];
    let entries = sorted(root)?;
    for entry in &entries {
        if entry.is_dir() {
            let mut files = Vec::new();
            find(entry, &mut files)?;
            groups.push(files);
        } else if is_audio(entry) {
            groups[0].push(entry.clone());
        }
    }
    groups.retain(|files| !files.is_empty());
    anyhow::ensure!(
        !groups.is_empty(),
        "{} holds no WAV or FLAC: convert the recordings first (docs/gate.md)",
        root.display()
    );
    groups.into_iter().map(|files| files.par_iter().map(|path| read(path)).collect()).collect()
}

/// One recording at 8 kHz.
fn read(path: &Path) -> anyhow::Result<Vec<i16>> {
    let recording = file::read(path)?;
    let rate_hz = recording.sample_rate_hz;
    let samples = resample::resample(&recording.into_mono(), rate_hz, RATE_HZ)?;
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16")]
    Ok(samples.into_iter().map(|sample| (sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16).collect())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in sorted(folder)? {
        if entry.is_dir() {
            find(&entry, files)?;
        } else if is_audio(&entry) {
            files.push(entry);
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| extension == "wav" || extension == "flac")
}

fn mean_square(samples: &[i16]) -> f32 {
    let squares = samples.iter().map(|&sample| (f32::from(sample) / 32_768.0).powi(2));
    squares.sum::<f32>() / samples.len().max(1) as f32
}
