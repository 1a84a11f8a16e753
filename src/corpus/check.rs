//! Whether a corpus is fit to train on: what is missing, damaged, silent, or published under two labels.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Clip, Corpus, Error, LABELS, name, tables};
use crate::audio::file;

/// Clips of the grid of actors, sentences and emotions that were never published, among actors whose clips the tables do not list:
/// the distribution has 7,442 of 7,462, and 14 of the 20 belong to actors that are listed.
const NEVER_PUBLISHED: usize = 6;

/// Fewer actors are too few: a part of them must be left to validate with, and how well one is told says little about the next. With 20 a
/// quarter is [`FEWEST_VALID_ACTORS`].
const FEWEST_ACTORS: usize = 20;
/// Fewer clips of a label are too few: a fifth of 50 is 10, and with each of those its recall changes by 10 points.
const FEWEST_CLIPS: usize = 50;
/// Fewer actors to validate with say little about others.
pub const FEWEST_VALID_ACTORS: usize = 5;
/// Fewer clips to validate with say little: of 100 a score of 50 % has a standard error of 5 points.
pub const FEWEST_VALID_CLIPS: usize = 100;

/// What [`check`] found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Clips that name an actor and an emotion.
    pub clips: usize,
    /// How many actors speak.
    pub actors: usize,
    /// Clips a label.
    pub labels: BTreeMap<&'static str, usize>,
    /// Audio in all, in hours.
    pub hours: f64,
    /// Published clips of these actors that are not there, or files that the CSV lists and that do not exist.
    pub missing: Vec<String>,
    /// Files that are no readable audio.
    pub corrupt: Vec<Fault>,
    /// The same audio under two names whose label or actor differ.
    pub duplicated: Vec<Duplicate>,
    /// Clips without any sound.
    pub silent: Vec<String>,
    /// Audio files whose name tells no actor and emotion.
    pub unlabelled: Vec<String>,
    /// Why training on it would be wrong; empty where it is not.
    pub errors: Vec<String>,
    /// What training takes care of by itself, or what only makes the corpus smaller.
    pub warnings: Vec<String>,
    /// Of what there is too little for a model that could be told to be good, though nothing is wrong with it.
    pub too_little: Vec<String>,
    /// Whether it may be trained on.
    pub ok: bool,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// Names of one and the same audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The clips' names.
    pub clips: Vec<String>,
    /// Whether the tables know of it, so that training leaves these clips out.
    pub known: bool,
}

/// Reads every clip of the corpus in `root` and reports what is wrong with it. `progress` is called once a clip.
///
/// # Errors
/// Only what keeps the folder from being listed; whatever is wrong with a clip stands in the report.
pub fn check(root: &Path, mut progress: impl FnMut(usize, usize)) -> Result<Report, Error> {
    let corpus = Corpus::open(root)?;
    let mut report = Report {
        clips: corpus.clips.len(),
        actors: corpus.actors().len(),
        labels: LABELS.iter().map(|&label| (label, 0)).collect(),
        hours: 0.0,
        missing: missing(&corpus),
        corrupt: Vec::new(),
        duplicated: Vec::new(),
        silent: Vec::new(),
        unlabelled: corpus.unlabelled.iter().map(|path| path.display().to_string()).collect(),
        errors: Vec::new(),
        warnings: Vec::new(),
        too_little: Vec::new(),
        ok: false,
    };
    let mut same_audio: HashMap<[u8; 32], Vec<&Clip>> = HashMap::new();
    for (index, clip) in corpus.clips.iter().enumerate() {
        progress(index + 1, corpus.clips.len());
        if corpus.listing.is_some() && !clip.path.exists() {
            continue;
        }
        *report.labels.entry(LABELS[clip.label]).or_default() += 1;
        let recording = match file::read(&clip.path) {
            Ok(recording) => recording,
            Err(error) => {
                report
                    .corrupt
                    .push(Fault { file: clip.path.display().to_string(), reason: reason(&clip.path, &error) });
                continue;
            }
        };
        let rate_hz = recording.sample_rate_hz;
        let samples = recording.into_mono();
        report.hours += samples.len() as f64 / f64::from(rate_hz) / 3600.0;
        if samples.iter().all(|&sample| sample == 0.0) {
            report.silent.push(clip.name.clone());
        } else {
            same_audio.entry(audio_hash(&samples)).or_default().push(clip);
        }
    }
    for clips in same_audio.into_values() {
        let conflict = clips.iter().any(|clip| (clip.label, &clip.actor) != (clips[0].label, &clips[0].actor));
        if conflict {
            let known = clips.iter().all(|clip| tables::problem(&clip.name).is_some());
            report.duplicated.push(Duplicate { clips: clips.iter().map(|clip| clip.name.clone()).collect(), known });
        }
    }
    report.duplicated.sort_by(|a, b| a.clips.cmp(&b.clips));
    judge(&corpus, &mut report);
    Ok(report)
}

/// SHA-256 of the samples, whatever the container.
pub(crate) fn audio_hash(samples: &[f32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for sample in samples {
        hash.update(sample.to_le_bytes());
    }
    hash.finalize().into()
}

fn judge(corpus: &Corpus, report: &mut Report) {
    let (errors, warnings) = (&mut report.errors, &mut report.warnings);
    if !report.corrupt.is_empty() {
        errors.push(format!("{} cannot be read as audio: get them again", files(report.corrupt.len())));
    }
    let unknown = report.duplicated.iter().filter(|duplicate| !duplicate.known).count();
    if unknown > 0 {
        errors
            .push(format!("the same audio stands under two labels or actors, {unknown} times: remove the wrong ones"));
    }
    if unknown < report.duplicated.len() {
        warnings.push("clips published under two labels are left out of training".to_owned());
    }
    let unknown = report.silent.iter().filter(|name| tables::problem(name).is_none()).count();
    if unknown > 0 {
        errors.push(format!(
            "{} silent: remove or replace them",
            if unknown == 1 { "one clip is".to_owned() } else { format!("{unknown} clips are") }
        ));
    } else if !report.silent.is_empty() {
        warnings.push("a clip published without sound is left out of training".to_owned());
    }
    if report.actors < 2 {
        errors.push(
            "only one actor speaks: at least two are needed, one to train on and one to validate with".to_owned(),
        );
    }
    for (label, count) in &report.labels {
        if *count == 0 {
            errors.push(format!("no clip is {label}"));
        }
    }
    if !report.missing.is_empty() {
        let note = format!("{} missing", files(report.missing.len()));
        if corpus.listing.is_some() { errors.push(format!("{note} that the CSV lists")) } else { warnings.push(note) }
    }
    if !report.unlabelled.is_empty() {
        warnings.push(format!("{} named after no actor and emotion, so left out", files(report.unlabelled.len())));
    }
    report.ok = report.errors.is_empty();
    report.too_little = too_little(report.actors, &report.labels);
}

fn too_little(actors: usize, labels: &BTreeMap<&'static str, usize>) -> Vec<String> {
    let of_actors = (actors < FEWEST_ACTORS).then(|| format!("{actors} actors, expected at least {FEWEST_ACTORS}"));
    let few = labels.iter().filter(|(_, clips)| **clips < FEWEST_CLIPS);
    let few: Vec<String> = few.map(|(label, clips)| format!("{label} {clips}")).collect();
    let of_clips =
        (!few.is_empty()).then(|| format!("clips of {}, expected at least {FEWEST_CLIPS} each", few.join(", ")));
    of_actors.into_iter().chain(of_clips).collect()
}

fn files(count: usize) -> String {
    if count == 1 { "one file".to_owned() } else { format!("{count} files") }
}

/// Why a file cannot be read; a pointer that stands in for a large file is told by name.
fn reason(path: &Path, error: &file::Error) -> String {
    let pointer = std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"version https://git-lfs"));
    if pointer {
        return "a Git LFS pointer, not the audio: run `git lfs pull` in the download".to_owned();
    }
    match error {
        file::Error::Open { source, .. } => source.to_string(),
        file::Error::Audio { reason, .. } => reason.clone(),
        file::Error::Folder { .. } => "a folder, not a file".to_owned(),
    }
}

fn missing(corpus: &Corpus) -> Vec<String> {
    if corpus.listing.is_some() {
        let absent = corpus.clips.iter().filter(|clip| !clip.path.exists());
        return absent.map(|clip| clip.path.display().to_string()).collect();
    }
    let present: std::collections::HashSet<String> = corpus
        .clips
        .iter()
        .map(|clip| if clip.name == "1040_ITH_SAD_X" { "1040_ITH_SAD_XX".to_owned() } else { clip.name.clone() })
        .collect();
    let (mut missing, mut uncertain) = (Vec::new(), Vec::new());
    for actor in corpus.actors() {
        for name in grid(&actor).filter(|name| !present.contains(name)) {
            match tables::published(&actor, &name) {
                Some(true) => missing.push(name),
                Some(false) => {}
                None if tables::find(&actor).is_some() => uncertain.push(name),
                None => {}
            }
        }
    }
    if uncertain.len() > NEVER_PUBLISHED {
        missing.append(&mut uncertain);
    }
    missing.sort();
    missing
}

/// Every clip an actor may have recorded: one sentence at three levels (but neutral), eleven at none.
fn grid(actor: &str) -> impl Iterator<Item = String> + '_ {
    name::SENTENCES.into_iter().flat_map(move |sentence| {
        name::EMOTIONS.into_iter().flat_map(move |emotion| {
            let levels: &[&str] = if sentence == "IEO" && emotion != "NEU" { &["LO", "MD", "HI"] } else { &["XX"] };
            levels.iter().map(move |level| format!("{actor}_{sentence}_{emotion}_{level}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes 0.1 s of a tone; `seed` sets its pitch, 0 is silence.
    fn clip(folder: &Path, name: &str, seed: u32) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(folder.join(name), spec).unwrap();
        for index in 0..1600_u32 {
            let phase = f64::from(index * seed) * 0.05;
            writer.write_sample((phase.sin() * 8000.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
    }

    fn two_actors() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut seed = 0;
        for actor in ["1002", "1003"] {
            for emotion in name::EMOTIONS {
                seed += 1;
                clip(folder.path(), &format!("{actor}_DFA_{emotion}_XX.wav"), seed);
            }
        }
        folder
    }

    #[test]
    fn a_sound_part_of_the_corpus_passes_and_says_what_is_missing() {
        let folder = two_actors();
        let report = check(folder.path(), |_, _| {}).unwrap();
        assert!(report.ok, "{:?}", report.errors);
        assert_eq!((report.clips, report.actors), (12, 2));
        // 82 an actor, one of which (1002_TIE_NEU_XX) was never published.
        assert_eq!(report.missing.len(), 2 * (82 - 6) - 1);
    }

    #[test]
    fn too_little_to_train_on_is_told_by_its_counts() {
        let folder = two_actors();
        let report = check(folder.path(), |_, _| {}).unwrap();
        assert!(report.ok);
        let [actors, clips] = report.too_little.as_slice() else { panic!("{:?}", report.too_little) };
        assert_eq!(actors, "2 actors, expected at least 20");
        assert!(clips.starts_with("clips of angry 2, ") && clips.ends_with(", expected at least 50 each"), "{clips}");
        let mut labels: BTreeMap<&'static str, usize> = LABELS.iter().map(|&label| (label, 50)).collect();
        assert_eq!(too_little(20, &labels), [""; 0]);
        labels.insert("sad", 49);
        assert_eq!(too_little(20, &labels), ["clips of sad 49, expected at least 50 each"]);
    }

    #[test]
    fn damage_silence_and_conflicts_fail() {
        let folder = two_actors();
        fs::write(folder.path().join("1003_IWW_ANG_XX.wav"), b"RIFF....not audio").unwrap();
        fs::write(folder.path().join("1003_IWW_HAP_XX.wav"), b"version https://git-lfs.github.com/spec/v1\n").unwrap();
        clip(folder.path(), "1003_IWW_SAD_XX.wav", 0);
        clip(folder.path(), "1003_IWW_NEU_XX.wav", 1);
        let report = check(folder.path(), |_, _| {}).unwrap();
        assert!(!report.ok);
        assert_eq!(report.corrupt.len(), 2);
        assert!(report.corrupt[1].reason.contains("git lfs pull"), "{:?}", report.corrupt);
        assert_eq!(report.silent, ["1003_IWW_SAD_XX"]);
        let clips = vec!["1002_DFA_ANG_XX".to_owned(), "1003_IWW_NEU_XX".to_owned()];
        assert_eq!(report.duplicated, [Duplicate { clips, known: false }]);
        assert_eq!(report.errors.len(), 3, "{:?}", report.errors);
    }

    #[test]
    fn conflicts_of_the_distribution_are_known() {
        let folder = two_actors();
        clip(folder.path(), "1006_TIE_HAP_XX.wav", 50);
        clip(folder.path(), "1006_TIE_NEU_XX.wav", 50);
        let report = check(folder.path(), |_, _| {}).unwrap();
        assert!(report.ok, "{:?}", report.errors);
        assert!(report.duplicated[0].known);
    }

    #[test]
    fn files_that_a_csv_lists_must_exist() {
        let folder = two_actors();
        fs::write(
            folder.path().join("list.csv"),
            "file,actor,label\nnone.wav,1002,sad\n1002_DFA_ANG_XX.wav,1003,angry\n",
        )
        .unwrap();
        let report = check(folder.path(), |_, _| {}).unwrap();
        assert!(!report.ok);
        assert_eq!(report.missing.len(), 1);
    }
}
