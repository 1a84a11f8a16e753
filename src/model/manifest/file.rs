//! Reading and writing `manifest.toml`, and the network beside it.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::{FORMAT, Manifest};
use crate::{
    features::{self, Standardization},
    model::forest,
};

/// What the manifest is called in a model's folder.
pub const FILE_NAME: &str = "manifest.toml";

/// Values a line of the standardisation's rows, so that 154 of them are read at a glance and a line fits a terminal.
const VALUES_A_LINE: usize = 8;

/// What can be wrong with a manifest or the file it names; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has none.
    #[error(
        "there is no {}; name a folder that holds a model, as `undertone train --out` makes it", path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The network is not where the manifest says.
    #[error("there is no {}, which the manifest names as network.file; copy it from where the model was made", path.display())]
    MissingNetwork {
        /// Where it should be.
        path: PathBuf,
    },
    /// The folder holds a forest.
    #[error(
        "{} holds a Random Forest, which `undertone evaluate` scores but no call is served by; name a folder with a network", dir.display()
    )]
    Forest {
        /// Which folder.
        dir: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, or not these fields.
    #[error("{}:{line}: {message}; correct it, or take the manifest that was made with the model", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        message: String,
    },
    /// Written for another build.
    #[error(
        "the manifest is of format {actual}, expected {FORMAT}; run the build that wrote it, or train the model again with this one"
    )]
    Format {
        /// What it says.
        actual: i64,
    },
    /// Holds values that do not fit each other.
    #[error("the manifest is invalid: {field} {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Holds what no features can be made with.
    #[error("the manifest is invalid: {0}")]
    Features(#[from] features::Error),
    /// The network is not the one that the manifest was written for.
    #[error(
        "{} has SHA-256 {actual}, expected {expected}; copy network and manifest again together from where the model was made",
        path.display()
    )]
    Hash {
        /// The network.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        actual: String,
    },
    /// The TOML library could not write it.
    #[error("cannot write the manifest as TOML: {0}")]
    Serialize(#[from] toml::ser::Error),
}

/// As [`super::Network::sha256`] wants it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("a String takes all that is written to it");
    }
    hex
}

/// Only the format, whatever else the file holds, so that a newer file is told apart from a mistyped one.
#[derive(serde::Deserialize)]
struct Head {
    format: Spanned<i64>,
}

impl Manifest {
    /// Reads and validates `manifest.toml` in a model's folder.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        if !path.exists() && dir.join(forest::FILE_NAME).is_file() {
            return Err(Error::Forest { dir: dir.to_owned() });
        }
        let manifest: Self = read_toml(&path, FORMAT)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Validates it and writes `manifest.toml` into a model's folder, which is made if it does not exist. Whoever reads
    /// meanwhile sees the old file or the new one, never a part.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        self.validate()?;
        let text = self.to_toml()?;
        replace(&dir.join(FILE_NAME), text.as_bytes())
    }

    /// The bytes of the network beside the manifest in `dir`, when they are those that the manifest was written for.
    pub fn read_network(&self, dir: &Path) -> Result<Vec<u8>, Error> {
        let path = dir.join(&self.network.file);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::MissingNetwork { path: path.clone() },
            _ => Error::Read { path: path.clone(), source },
        })?;
        let actual = sha256_hex(&bytes);
        if actual != self.network.sha256 {
            return Err(Error::Hash { path, expected: self.network.sha256.clone(), actual });
        }
        Ok(bytes)
    }

    /// As TOML, the standardisation last and eight values a line: the library would write one a line.
    fn to_toml(&self) -> Result<String, Error> {
        const LAST: &str = "[standardization]\n";
        let mut text = toml::to_string(&Self { standardization: Standardization::default(), ..self.clone() })?;
        if self.standardization.is_empty() {
            return Ok(text);
        }
        text += "\n";
        text += LAST;
        for (name, row) in [("mean", &self.standardization.mean), ("deviation", &self.standardization.deviation)] {
            writeln!(text, "{name} = [").expect("a String takes all that is written to it");
            for line in row.chunks(VALUES_A_LINE) {
                // Debug writes the shortest decimal that reads back as the same value, and always a point or an exponent.
                let line: Vec<String> = line.iter().map(|value| format!("{value:?}")).collect();
                writeln!(text, "    {},", line.join(", ")).expect("a String takes all that is written to it");
            }
            text += "]\n";
        }
        Ok(text)
    }
}

/// Reads a file of the `expected` format.
pub(in crate::model) fn read_toml<T: DeserializeOwned>(path: &Path, expected: u32) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { path: path.to_owned(), source },
    })?;
    let syntax = |error: toml::de::Error| Error::Syntax {
        path: path.to_owned(),
        line: 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count()),
        message: error.message().to_owned(),
    };
    let head: Head = toml::from_str(&text).map_err(syntax)?;
    if *head.format.get_ref() != i64::from(expected) {
        return Err(Error::Format { actual: *head.format.get_ref() });
    }
    toml::from_str(&text).map_err(syntax)
}

/// Writes a file into a folder, which is made if it does not exist. Whoever reads meanwhile sees the old file or the new one, never
/// a part.
pub(in crate::model) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let (dir, name) = (path.parent().unwrap_or(Path::new(".")), path.file_name().unwrap_or_default());
    let fresh = dir.join(format!(".{}.new", name.to_string_lossy()));
    let write = || {
        fs::create_dir_all(dir)?;
        fs::write(&fresh, bytes)?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}
