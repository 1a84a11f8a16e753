//! From recordings to raw frames in memory, once: every epoch cuts its windows from these.
//!
//! Extracting the whole of CREMA-D takes some ten seconds of CPU, less than reading as many bytes of features from a disk would
//! save, so there is no cache to go stale.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::{
    audio::file,
    corpus::{Clip, Condition, Scene, audio_hash, line::Babble, tables},
    features::{FrontEnd, listen::RawFrames},
    model::manifest::sha256_hex,
};

/// One clip as one line carries it.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its actor, by the place in [`Prepared::actors`].
    pub(super) actor: usize,
    /// Its emotion.
    pub(super) label: usize,
    /// How it arrived.
    pub(super) condition: Condition,
    /// All of its frames, with the gate's decisions as a call has them.
    pub(super) raw: RawFrames,
}

/// Every clip under every condition, and what could not be used.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Clip by clip, the conditions of one beside each other.
    pub(super) instances: Vec<Instance>,
    /// The actors, sorted.
    pub(super) actors: Vec<String>,
    /// Clips used: actor, name, hash of the audio.
    pub(super) used: Vec<(usize, String, [u8; 32])>,
    /// Clips left out, with the reason.
    pub(super) left_out: Vec<String>,
}

enum Read {
    Used { instances: Vec<Instance>, audio: [u8; 32] },
    LeftOut(String),
}

/// Reads `clips` under `conditions`, many at a time; `progress` is called once a clip.
pub(super) fn prepare(
    clips: &[&Clip],
    conditions: &[Condition],
    front_end: &FrontEnd,
    progress: impl Fn() + Sync,
) -> Prepared {
    let mut actors: Vec<String> = clips.iter().map(|clip| clip.actor.clone()).collect();
    actors.sort_unstable();
    actors.dedup();
    let read: Vec<Read> = clips
        .par_iter()
        .map(|clip| {
            let actor = actors.binary_search(&clip.actor).expect("every clip's actor is in the list");
            let read = self::read(clip, actor, conditions, front_end);
            progress();
            read
        })
        .collect();
    let conflicts = conflicts(clips, &read);
    let (mut instances, mut left_out, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for ((clip, read), conflict) in clips.iter().zip(read).zip(conflicts) {
        match read {
            Read::LeftOut(reason) => left_out.push(reason),
            Read::Used { .. } if conflict => {
                left_out.push(format!("{}: the same audio has another label or actor elsewhere", clip.name));
            }
            Read::Used { instances: of_clip, audio } => {
                let actor = actors.binary_search(&clip.actor).expect("every clip's actor is in the list");
                used.push((actor, clip.name.clone(), audio));
                instances.extend(of_clip);
            }
        }
    }
    Prepared { instances, actors, used, left_out }
}

impl Prepared {
    /// How many clips of `actors` are used, and the SHA-256 over their names and audio.
    pub(super) fn fingerprint(&self, actors: &[String]) -> (usize, String) {
        let mut bytes = Vec::new();
        let ours = self.used.iter().filter(|(actor, _, _)| actors.contains(&self.actors[*actor]));
        let clips = ours.inspect(|(_, name, audio)| bytes.extend(name.bytes().chain(*audio))).count();
        (clips, sha256_hex(&bytes))
    }
}

fn read(clip: &Clip, actor: usize, conditions: &[Condition], front_end: &FrontEnd) -> Read {
    let left_out = |reason: &str| Read::LeftOut(format!("{}: {reason}", clip.name));
    match tables::problem(&clip.name) {
        Some(tables::Problem::Conflict) => return left_out("published under two labels"),
        Some(tables::Problem::Silent) => return left_out("published without sound"),
        None => {}
    }
    let recording = match file::read(&clip.path) {
        Ok(recording) => recording,
        Err(error) => return Read::LeftOut(chain(&error)),
    };
    let rate_hz = recording.sample_rate_hz;
    let samples = recording.into_mono();
    if samples.iter().all(|&sample| sample == 0.0) {
        return left_out("silent");
    }
    let audio = audio_hash(&samples);
    let listen = |&condition: &Condition| -> anyhow::Result<Instance> {
        let babble = Babble::default();
        let (samples, rate_hz) = condition.apply(samples.clone(), rate_hz, &Scene::of(clip, &babble, 0))?;
        let raw = RawFrames::of(&samples, rate_hz, front_end, true)?;
        Ok(Instance { actor, label: clip.label, condition, raw })
    };
    match conditions.iter().map(listen).collect() {
        Ok(instances) => Read::Used { instances, audio },
        Err(error) => left_out(&format!("{error:#}")),
    }
}

/// Which clips share their audio with one of another label or actor.
fn conflicts(clips: &[&Clip], read: &[Read]) -> Vec<bool> {
    let audio = |read: &Read| match read {
        Read::Used { audio, .. } => Some(*audio),
        Read::LeftOut(_) => None,
    };
    let mut seen: HashMap<[u8; 32], Vec<&Clip>> = HashMap::new();
    for (clip, hash) in clips.iter().zip(read).filter_map(|(clip, read)| Some((clip, audio(read)?))) {
        seen.entry(hash).or_default().push(clip);
    }
    let differs = |clip: &Clip, others: &[&Clip]| {
        others.iter().any(|other| (other.label, &other.actor) != (clip.label, &clip.actor))
    };
    clips.iter().zip(read).map(|(clip, read)| audio(read).is_some_and(|hash| differs(clip, &seen[&hash]))).collect()
}

fn chain(error: &file::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
