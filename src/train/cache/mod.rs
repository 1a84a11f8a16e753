//! What is made of a clip, kept on disk: other seeds, folds and recipes find it there.
//!
//! An entry is named by the SHA-256 of all that decides what it holds: the recording's bytes, the front end's parameters, the line and
//! what is drawn for it, and the code that hears (a hash of its sources, taken when the program is built). So nothing is ever
//! out of date: what changes gets another name. An entry is written beside its place and then moved there, and carries the hash of its
//! contents: half of one, or a damaged one, is made anew. Processes may share a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest as _, Sha256};

mod kept;

pub(super) use kept::Kept;

/// Hash of the sources that hear, from `build.rs`.
const CODE: &str = env!("HEARING_OF_UNDERTONE");
/// Bytes of an entry's own hash, which it begins with.
const HASH: usize = 32;

/// A folder of entries, or none.
#[derive(Debug, Default)]
pub(super) struct Cache {
    dir: Option<PathBuf>,
    /// Why an entry could not be written: said once, since training can do without.
    failure: OnceLock<String>,
    entries: AtomicU64,
}

/// All that decides what an entry holds.
#[derive(Debug)]
pub(super) struct Key(Sha256);

impl Key {
    /// Of something that is made of `source`, told apart from others by `what`.
    pub(super) fn new(what: &str, source: &[u8]) -> Self {
        Self(Sha256::new()).and(CODE.as_bytes()).and(what.as_bytes()).and(source)
    }

    /// And by this.
    pub(super) fn and(mut self, part: &[u8]) -> Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    fn name(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Cache {
    /// In `dir`, which is made when there is something to keep; without one nothing is kept.
    pub(super) fn new(dir: Option<&Path>) -> Self {
        Self { dir: dir.map(Path::to_owned), ..Self::default() }
    }

    /// What is kept under `key`, or what `make` makes, which is kept then.
    ///
    /// # Errors
    /// Those of `make`: what cannot be read or kept is made anew.
    pub(super) fn get<T: Kept>(
        &self,
        key: impl FnOnce() -> Key,
        make: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Some(dir) = &self.dir else { return make() };
        let name = key().name();
        let path = dir.join(&name[..2]).join(&name[2..]);
        if let Some(kept) = fs::read(&path).ok().and_then(|bytes| open(&bytes)) {
            return Ok(kept);
        }
        let made = make()?;
        if let Err(error) = self.write(&path, &seal(&made)) {
            self.failure.get_or_init(|| format!("features are not kept: cannot write {}: {error}", path.display()));
        }
        Ok(made)
    }

    /// Why something could not be kept.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let folder = path.parent().expect("an entry lies in a folder");
        fs::create_dir_all(folder)?;
        // Of this process and of this entry alone, whoever else writes the same one.
        let number = self.entries.fetch_add(1, Ordering::Relaxed);
        let fresh = folder.join(format!(".{}-{number}.new", std::process::id()));
        fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, path)).inspect_err(|_| {
            // What is left of it is of no use; where it cannot be removed either, the next reader does not look at it.
            let _ = fs::remove_file(&fresh);
        })
    }
}

fn seal<T: Kept>(made: &T) -> Vec<u8> {
    let mut bytes = vec![0; HASH];
    made.write(&mut bytes);
    let hash = Sha256::digest(&bytes[HASH..]);
    bytes[..HASH].copy_from_slice(&hash);
    bytes
}

fn open<T: Kept>(bytes: &[u8]) -> Option<T> {
    let (hash, mut rest) = bytes.split_at_checked(HASH)?;
    (Sha256::digest(rest)[..] == *hash).then_some(())?;
    let kept = T::read(&mut rest)?;
    rest.is_empty().then_some(kept)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn key(of: &str) -> Key {
        Key::new("a test", b"source").and(of.as_bytes())
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let folders = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
    }

    #[test]
    fn what_was_made_once_is_found_and_what_is_damaged_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(dir.path()));
        let made = Cell::new(0);
        let get = |of: &str| {
            let make = || {
                made.set(made.get() + 1);
                Ok(vec![1.5_f32, f32::MIN_POSITIVE, -0.0])
            };
            cache.get(|| key(of), make).unwrap()
        };
        let first = get("a");
        assert_eq!((get("a"), made.get()), (first, 1));
        get("b");
        assert_eq!(made.get(), 2);
        let entries = files(dir.path());
        assert_eq!(entries.len(), 2, "nothing half-written is left");
        for damage in [&|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2), &|bytes: &mut Vec<u8>| bytes[40] ^= 1]
            as [&dyn Fn(&mut Vec<u8>); 2]
        {
            for path in &entries {
                let mut bytes = fs::read(path).unwrap();
                damage(&mut bytes);
                fs::write(path, bytes).unwrap();
            }
            let before = made.get();
            get("a");
            get("b");
            assert_eq!(made.get(), before + 2);
        }
        assert_eq!(cache.failure(), None);
    }

    #[test]
    fn many_may_write_one_entry_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = Cache::new(Some(dir.path()));
                    for round in 0..20_u32 {
                        let kept = cache.get(|| key(&round.to_string()), || Ok(vec![round as f32; 5_000])).unwrap();
                        assert!(kept.len() == 5_000 && kept.iter().all(|&value| value == round as f32));
                    }
                });
            }
        });
        assert_eq!(files(dir.path()).len(), 20);
    }

    #[test]
    fn a_folder_that_cannot_be_written_stops_nothing_and_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::new(Some(file.path()));
        assert_eq!(cache.get(|| key("a"), || Ok(vec![2.0_f32])).unwrap(), [2.0]);
        assert!(cache.failure().unwrap().contains("not kept"));
        let none = Cache::new(None);
        assert_eq!(none.get(|| unreachable!("nothing is looked for"), || Ok(vec![2.0_f32])).unwrap(), [2.0]);
    }
}
