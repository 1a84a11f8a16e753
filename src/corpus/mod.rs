//! Labelled recordings: reading, checking, splitting.
//!
//! A corpus is a folder in one of three forms: CREMA-D as it is distributed (`AudioWAV/*.wav`, or the clips themselves), the same clips
//! as FLAC, or any recordings beside a CSV with the columns `file,actor,label`. What a download of CREMA-D lacks (who the actors
//! are, a split, which clips need care, what listeners heard) is compiled in: [`tables`].

use std::path::PathBuf;

mod actors;
mod check;
mod condition;
pub mod line;
mod map;
mod name;
mod read;
pub mod seed;
pub mod sounds;
pub mod tables;

pub use actors::{Split, parse_actors, split};
#[cfg(feature = "train")]
pub(crate) use check::audio_hash;
pub use check::{Duplicate, FEWEST_VALID_ACTORS, FEWEST_VALID_CLIPS, Fault, Report, check};
pub use condition::{Condition, Scene};
pub use map::LabelMap;
pub use name::ClipName;

/// What the six-emotion corpora tell apart, in the order of a model's logits.
pub const LABELS: [&str; 6] = ["angry", "disgust", "fear", "happy", "neutral", "sad"];

/// How strongly an emotion was to be played, where the corpus says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// `LO`.
    Low,
    /// `MD`.
    Medium,
    /// `HI`.
    High,
    /// `XX`: nothing was asked for.
    Unspecified,
}

impl Level {
    /// "low", "medium", "high" or "unspecified".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Unspecified => "unspecified",
        }
    }
}

/// One labelled recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Where it lies.
    pub path: PathBuf,
    /// Its file name without the extension; unique within a corpus of CREMA-D's form.
    pub name: String,
    /// Who speaks.
    pub actor: String,
    /// What was to be played: an index into [`LABELS`].
    pub label: usize,
    /// How strongly.
    pub level: Option<Level>,
}

/// What a folder holds, sorted by name.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The folder.
    pub root: PathBuf,
    /// Its clips; the audio has not been looked at yet.
    pub clips: Vec<Clip>,
    /// Audio files whose name tells no actor and emotion, so that nothing can be learnt from them.
    pub unlabelled: Vec<PathBuf>,
    /// The CSV they are listed in, where the corpus is of that form.
    pub listing: Option<PathBuf>,
    /// Rows of the CSV that are left out, as the [`LabelMap`] says.
    pub unmapped: usize,
}

/// What keeps a corpus from being used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such folder.
    #[error("no folder {0}: name the folder of the recordings (docs/training.md says how to get CREMA-D)")]
    NoFolder(String),
    /// The folder could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The folder or file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing to use in the folder.
    #[error(
        "{0} holds no clip: expected AudioWAV/*.wav, CREMA-D clips as WAV or FLAC (1001_DFA_ANG_XX.wav), or a CSV with the columns \
         file,actor,label"
    )]
    Empty(String),
    /// Several CSV files could be the listing.
    #[error("{path} holds more than one CSV with the columns file,actor,label ({files}): leave one there")]
    ManyListings {
        /// The folder.
        path: String,
        /// The files.
        files: String,
    },
    /// A row of the CSV cannot be understood.
    #[error("{path}, line {line}: {reason}")]
    Listing {
        /// The CSV.
        path: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A list of actors cannot be understood.
    #[error("{0}")]
    Actors(String),
    /// What a label is called here cannot be understood.
    #[error("{0}")]
    Map(String),
    /// Training and validation would share voices.
    #[error(
        "on both sides of the split: {0}; a score on a voice that was trained on says nothing about others, so leave each on one side"
    )]
    Shared(String),
    /// There are not enough voices.
    #[error("{0}")]
    TooFewActors(String),
}

impl Corpus {
    /// Reads what `root` holds; no audio is opened.
    ///
    /// # Errors
    /// A folder that is missing, unreadable or holds no clip; a CSV row that cannot be understood.
    pub fn open(root: &std::path::Path) -> Result<Self, Error> {
        Self::open_mapped(root, &LabelMap::default())
    }

    /// The same, of a corpus whose CSV has labels of its own.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub fn open_mapped(root: &std::path::Path, map: &LabelMap) -> Result<Self, Error> {
        read::open(root, map)
    }

    /// The actors, sorted.
    pub fn actors(&self) -> Vec<String> {
        let mut actors: Vec<String> = self.clips.iter().map(|clip| clip.actor.clone()).collect();
        actors.sort_unstable();
        actors.dedup();
        actors
    }
}
