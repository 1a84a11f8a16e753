//! Which clips can be used, and what a recipe makes of each: read once, many at a time.

use std::{collections::HashMap, fs};

use rayon::prelude::*;

use super::cache::{Cache, Kept, Key};
use crate::{
    audio::file,
    corpus::{Clip, audio_hash, tables},
    model::manifest::sha256_hex,
};

/// A clip that can be used.
#[derive(Debug, Clone)]
pub(super) struct Used {
    /// Its actor, by the place in [`Clips::actors`].
    pub(super) actor: usize,
    /// Its emotion.
    pub(super) label: usize,
    /// Its name.
    pub(super) name: String,
    /// The hash of its audio.
    pub(super) audio: [u8; 32],
}

/// Which clips are used, and what was made of each.
#[derive(Debug)]
pub(super) struct Clips<T> {
    /// Sorted by name, as the corpus is.
    pub(super) used: Vec<Used>,
    /// One of each used clip.
    pub(super) made: Vec<T>,
    /// The actors, sorted.
    pub(super) actors: Vec<String>,
    /// Clips left out, with the reason.
    pub(super) left_out: Vec<String>,
}

/// A recording, mixed to one channel.
pub(super) struct Heard {
    /// Whose and what.
    pub(super) used: Used,
    /// The actor's name.
    pub(super) actor: String,
    /// Within ±1.
    pub(super) samples: Vec<f32>,
    /// Of the samples.
    pub(super) rate_hz: u32,
}

/// Reads `clips` and has something made of each; `progress` is called once a clip, and its error ends it. A clip that is known to be
/// wrong, cannot be read, is silent, or carries the audio of another label or actor is left out.
pub(super) fn gather<T: Send>(
    clips: &[&Clip],
    make: impl Fn(Heard) -> anyhow::Result<T> + Sync,
    progress: impl Fn() -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Clips<T>> {
    gather_by(clips, |clip, actor| self::make(clip, actor, &make), progress)
}

/// The same where what is made may be kept: `what` says what else than recording and name decides it.
pub(super) fn gather_kept<T: Send + Kept>(
    clips: &[&Clip],
    cache: &Cache,
    what: impl Fn(&Clip) -> String + Sync,
    make: impl Fn(Heard) -> anyhow::Result<T> + Sync,
    progress: impl Fn() -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Clips<T>> {
    let find = |clip: &Clip, actor: usize| {
        let source = fs::read(&clip.path).map_err(|error| format!("cannot read {}: {error}", clip.path.display()))?;
        let key = || Key::new(&what(clip), &source).and(clip.name.as_bytes());
        let anew = || {
            let (used, made) = self::make(clip, actor, &make).map_err(anyhow::Error::msg)?;
            Ok((used.audio, made))
        };
        let (audio, made) = cache.get(key, anew).map_err(|error| error.to_string())?;
        Ok((Used { actor, label: clip.label, name: clip.name.clone(), audio }, made))
    };
    gather_by(clips, find, progress)
}

fn gather_by<T: Send>(
    clips: &[&Clip],
    make: impl Fn(&Clip, usize) -> Result<(Used, T), String> + Sync,
    progress: impl Fn() -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Clips<T>> {
    let mut actors: Vec<String> = clips.iter().map(|clip| clip.actor.clone()).collect();
    actors.sort_unstable();
    actors.dedup();
    let read = clips
        .par_iter()
        .map(|clip| {
            let actor = actors.binary_search(&clip.actor).expect("every clip's actor is in the list");
            let read = known(clip).and_then(|()| make(clip, actor));
            progress().map(|()| read)
        })
        .collect::<anyhow::Result<Vec<Result<(Used, T), String>>>>()?;
    let conflicts = conflicts(&read);
    let mut gathered = Clips { used: Vec::new(), made: Vec::new(), actors, left_out: Vec::new() };
    for (read, conflict) in read.into_iter().zip(conflicts) {
        match read {
            Err(reason) => gathered.left_out.push(reason),
            Ok((used, _)) if conflict => {
                gathered.left_out.push(format!("{}: the same audio has another label or actor elsewhere", used.name));
            }
            Ok((used, made)) => {
                gathered.used.push(used);
                gathered.made.push(made);
            }
        }
    }
    Ok(gathered)
}

impl<T> Clips<T> {
    /// How many clips of `actors` are used, and the SHA-256 over their names and audio.
    pub(super) fn fingerprint(&self, actors: &[String]) -> (usize, String) {
        let mut bytes = Vec::new();
        let ours = self.used.iter().filter(|used| actors.contains(&self.actors[used.actor]));
        let clips = ours.inspect(|used| bytes.extend(used.name.bytes().chain(used.audio))).count();
        (clips, sha256_hex(&bytes))
    }
}

/// Whether nothing is known to be wrong with a clip.
fn known(clip: &Clip) -> Result<(), String> {
    match tables::problem(&clip.name) {
        Some(tables::Problem::Conflict) => Err(format!("{}: published under two labels", clip.name)),
        Some(tables::Problem::Silent) => Err(format!("{}: published without sound", clip.name)),
        None => Ok(()),
    }
}

fn make<T>(
    clip: &Clip,
    actor: usize,
    make: &(impl Fn(Heard) -> anyhow::Result<T> + Sync),
) -> Result<(Used, T), String> {
    let heard = read(clip, actor)?;
    let used = heard.used.clone();
    make(heard).map(|made| (used, made)).map_err(|error| format!("{}: {error:#}", clip.name))
}

fn read(clip: &Clip, actor: usize) -> Result<Heard, String> {
    let recording = file::read(&clip.path).map_err(|error| chain(&error))?;
    let rate_hz = recording.sample_rate_hz;
    let samples = recording.into_mono();
    if samples.iter().all(|&sample| sample == 0.0) {
        return Err(format!("{}: silent", clip.name));
    }
    let used = Used { actor, label: clip.label, name: clip.name.clone(), audio: audio_hash(&samples) };
    Ok(Heard { used, actor: clip.actor.clone(), samples, rate_hz })
}

/// Which clips share their audio with one of another label or actor.
fn conflicts<T>(read: &[Result<(Used, T), String>]) -> Vec<bool> {
    let mut seen: HashMap<[u8; 32], Vec<&Used>> = HashMap::new();
    for (used, _) in read.iter().flatten() {
        seen.entry(used.audio).or_default().push(used);
    }
    let differs =
        |used: &Used| seen[&used.audio].iter().any(|other| (other.label, other.actor) != (used.label, used.actor));
    read.iter().map(|read| read.as_ref().is_ok_and(|(used, _)| differs(used))).collect()
}

fn chain(error: &file::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
