//! Finding the clips of a folder, whichever form it has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Clip, ClipName, Corpus, Error, LABELS, LabelMap, map::Meaning};

/// The columns a listing must have; others are left alone.
const COLUMNS: [&str; 3] = ["file", "actor", "label"];

pub(super) fn open(root: &Path, map: &LabelMap) -> Result<Corpus, Error> {
    if !root.is_dir() {
        // A CSV may also be named itself.
        if root.is_file() && extension(root) == "csv" {
            return listed(root, root.parent().unwrap_or(Path::new(".")), map);
        }
        return Err(Error::NoFolder(root.display().to_string()));
    }
    let entries = files(root)?;
    let mut listings = Vec::new();
    for path in entries.iter().filter(|path| extension(path) == "csv") {
        if has_columns(path) {
            listings.push(path.clone());
        }
    }
    match listings.as_slice() {
        [] => {}
        [listing] => return listed(listing, root, map),
        several => {
            let files = several.iter().map(|path| file_name(path)).collect::<Vec<_>>().join(", ");
            return Err(Error::ManyListings { path: root.display().to_string(), files });
        }
    }
    let mut audio = entries;
    for folder in ["AudioWAV", "audio"] {
        let folder = root.join(folder);
        if folder.is_dir() {
            audio.extend(files(&folder)?);
        }
    }
    named(root, audio)
}

/// Clips whose names tell what they are.
fn named(root: &Path, files: Vec<PathBuf>) -> Result<Corpus, Error> {
    let (mut clips, mut unlabelled) = (Vec::new(), Vec::new());
    for path in files.into_iter().filter(|path| matches!(extension(path).as_str(), "wav" | "flac")) {
        let name = stem(&path);
        match ClipName::parse(&name) {
            Some(ClipName { actor, label, level, .. }) => {
                clips.push(Clip { path, name, actor, label, level: Some(level) });
            }
            None => unlabelled.push(path),
        }
    }
    finish(root, clips, unlabelled, None)
}

/// Clips that a CSV lists; their paths are relative to it.
fn listed(listing: &Path, root: &Path, map: &LabelMap) -> Result<Corpus, Error> {
    let shown = listing.display().to_string();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(listing)
        .map_err(|error| Error::Read { path: shown.clone(), source: std::io::Error::other(error) })?;
    let fail = |line: u64, reason: String| Error::Listing { path: shown.clone(), line, reason };
    let headers = reader.headers().map_err(|error| fail(1, error.to_string()))?.clone();
    let mut columns = [0; 3];
    for (column, wanted) in columns.iter_mut().zip(COLUMNS) {
        *column = headers
            .iter()
            .position(|header| header == wanted)
            .ok_or_else(|| fail(1, format!("no column {wanted:?}: expected file,actor,label")))?;
    }
    let base = listing.parent().unwrap_or(Path::new("."));
    let (mut clips, mut unmapped) = (Vec::new(), 0);
    for record in reader.records() {
        let record =
            record.map_err(|error| fail(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let [file, actor, label] = columns.map(|column| record.get(column).unwrap_or_default());
        if file.is_empty() || actor.is_empty() {
            return Err(fail(line, "file and actor must not be empty".to_owned()));
        }
        let label = match map.meaning(label) {
            Meaning::Label(label) => label,
            Meaning::LeftOut => {
                unmapped += 1;
                continue;
            }
            Meaning::Unknown => {
                let ours = LABELS.join(", ");
                let reason = format!(
                    "label {label:?} is none of {ours}: say what it is called here (undertone evaluate --map {label}=neutral), or leave \
                     its clips out (--map {label}=-)"
                );
                return Err(fail(line, reason));
            }
        };
        let path = base.join(file);
        let name = stem(&path);
        let level = ClipName::parse(&name).map(|name| name.level);
        clips.push(Clip { path, name, actor: actor.to_owned(), label, level });
    }
    let corpus = finish(root, clips, Vec::new(), Some(listing.to_path_buf()))?;
    Ok(Corpus { unmapped, ..corpus })
}

fn finish(
    root: &Path,
    mut clips: Vec<Clip>,
    mut unlabelled: Vec<PathBuf>,
    listing: Option<PathBuf>,
) -> Result<Corpus, Error> {
    if clips.is_empty() {
        return Err(Error::Empty(root.display().to_string()));
    }
    clips.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    unlabelled.sort();
    Ok(Corpus { root: root.to_path_buf(), clips, unlabelled, listing, unmapped: 0 })
}

fn has_columns(path: &Path) -> bool {
    let Ok(mut reader) = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path) else { return false };
    reader.headers().is_ok_and(|headers| COLUMNS.iter().all(|wanted| headers.iter().any(|header| header == *wanted)))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |source| Error::Read { path: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(folder: &Path, name: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    #[test]
    fn the_distributed_folder_the_clips_and_flac_are_one_corpus() {
        for (folder, extension) in [("AudioWAV/", "wav"), ("", "wav"), ("", "FLAC"), ("audio/", "flac")] {
            let root = tempfile::tempdir().unwrap();
            touch(root.path(), &format!("{folder}1002_DFA_SAD_XX.{extension}"));
            touch(root.path(), &format!("{folder}1001_IEO_ANG_HI.{extension}"));
            touch(root.path(), &format!("{folder}noise.{extension}"));
            touch(root.path(), "README.md");
            let corpus = Corpus::open(root.path()).unwrap();
            let found: Vec<_> = corpus.clips.iter().map(|clip| (clip.name.as_str(), clip.label)).collect();
            assert_eq!(found, [("1001_IEO_ANG_HI", 0), ("1002_DFA_SAD_XX", 5)]);
            assert_eq!(corpus.unlabelled.len(), 1);
            assert_eq!(corpus.actors(), ["1001", "1002"]);
        }
    }

    #[test]
    fn a_csv_lists_any_recording() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("list.csv"), "label, file ,actor,note\nhappy,a/b.wav,ann,x\nNEU,c.flac,bob,\n")
            .unwrap();
        let corpus = Corpus::open(root.path()).unwrap();
        assert_eq!(corpus.clips[0].path, root.path().join("a/b.wav"));
        assert_eq!((corpus.clips[0].label, corpus.clips[1].label), (3, 4));
        assert_eq!(corpus.actors(), ["ann", "bob"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let root = tempfile::tempdir().unwrap();
        let missing = Corpus::open(&root.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none") && missing.contains("docs/training.md"), "{missing}");
        assert!(matches!(Corpus::open(root.path()), Err(Error::Empty(_))));
        fs::write(root.path().join("list.csv"), "file,actor,label\na.wav,1,happy\nb.wav,2,bored\n").unwrap();
        let error = Corpus::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("\"bored\"") && error.contains("--map"), "{error}");
        let map = LabelMap::parse(&["bored=-".to_owned()]).unwrap();
        let corpus = Corpus::open_mapped(root.path(), &map).unwrap();
        assert_eq!((corpus.clips.len(), corpus.unmapped), (1, 1));
    }
}
