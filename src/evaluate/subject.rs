//! What is scored: a network that serves calls, or a forest that is only compared with.

use std::path::{Path, PathBuf};

use super::{Error, Window};
use crate::{
    corpus::LABELS,
    features::FrontEnd,
    model::{
        Forest, Manifest, Model, forest,
        manifest::{Training, sha256_hex},
        onnx::{self, Options, Provider, Runtime},
    },
};

/// A model to be scored.
#[derive(Debug, Clone)]
pub enum Subject {
    /// One that serves calls.
    Network(Model),
    /// The Random Forest.
    Forest(Box<Forest>),
    /// Models of a cross-validation: each actor is judged by the one that neither learnt from them nor was calibrated by them.
    Folds(Folds),
}

/// The models of a cross-validation, all of one recipe.
#[derive(Debug, Clone)]
pub struct Folds {
    name: String,
    sha256: String,
    parts: Vec<Subject>,
}

/// The one model that judges an actor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judge<'a> {
    /// A network.
    Network(&'a Model),
    /// A forest.
    Forest(&'a Forest),
}

/// The folder of one fold of a cross-validation, in that of all.
pub fn fold_dir(dir: &Path, fold: usize) -> PathBuf {
    dir.join(format!("fold-{fold}"))
}

impl Subject {
    /// Loads the model in a folder, of any kind; a network runs on this provider.
    ///
    /// # Errors
    /// Whatever keeps it from being used.
    pub fn load(dir: &Path, provider: Provider) -> Result<Self, Error> {
        if fold_dir(dir, 0).is_dir() {
            let dirs = (0..).map(|fold| fold_dir(dir, fold)).take_while(|dir| dir.is_dir());
            return Ok(Self::folds(dirs.map(|dir| Self::load(&dir, provider)).collect::<Result<_, _>>()?));
        }
        if dir.join(forest::FILE_NAME).is_file() {
            return Ok(Self::Forest(Box::new(Forest::load(dir).map_err(onnx::Error::from)?)));
        }
        let model = Model::load(Runtime::load(None)?, dir, Options::on(provider, provider.max_batch()))?;
        Ok(Self::Network(model))
    }

    /// The models of a cross-validation, at least one.
    pub fn folds(parts: Vec<Self>) -> Self {
        let name = format!("{}, {} folds", parts[0].name(), parts.len());
        let sha256 = sha256_hex(parts.iter().map(Self::sha256).collect::<String>().as_bytes());
        Self::Folds(Folds { name, sha256, parts })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Network(model) => &model.manifest.name,
            Self::Forest(forest) => &forest.about.name,
            Self::Folds(folds) => &folds.name,
        }
    }

    /// Its version.
    pub fn version(&self) -> &str {
        match self {
            Self::Network(model) => &model.manifest.version,
            Self::Forest(forest) => &forest.about.version,
            Self::Folds(folds) => folds.parts[0].version(),
        }
    }

    /// SHA-256 of the network or the trees, hexadecimal.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Network(model) => model.sha256(),
            Self::Forest(forest) => &forest.about.trees.sha256,
            Self::Folds(folds) => &folds.sha256,
        }
    }

    /// What it tells apart.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Network(model) => &model.manifest.labels,
            Self::Forest(forest) => &forest.about.labels,
            Self::Folds(folds) => folds.parts[0].labels(),
        }
    }

    /// The command that made it; of a cross-validation that of its first fold.
    pub fn command(&self) -> &str {
        &self.training().command
    }

    /// Those of `actors` that the model which judges them was trained on.
    pub fn trained_on<'a>(&self, actors: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        match self {
            // None of them, by their nature.
            Self::Folds(_) => Vec::new(),
            _ => actors.filter(|actor| self.training().train_actors.iter().any(|trained| trained == actor)).collect(),
        }
    }

    fn training(&self) -> &Training {
        match self {
            Self::Network(model) => &model.manifest.training,
            Self::Forest(forest) => &forest.about.training,
            Self::Folds(folds) => folds.parts[0].training(),
        }
    }

    /// Whether it has seen an actor in training or calibration.
    fn knows(&self, actor: &str) -> bool {
        let Training { train_actors, valid_actors, .. } = self.training();
        train_actors.iter().chain(valid_actors).any(|known| known == actor)
    }

    /// What judges an actor: the model, or of a cross-validation the part that does not know them.
    pub(super) fn judge(&self, actor: &str) -> Result<Judge<'_>, Error> {
        match self {
            Self::Network(model) => Ok(Judge::Network(model)),
            Self::Forest(forest) => Ok(Judge::Forest(forest)),
            Self::Folds(Folds { parts, name, .. }) => {
                let known = parts.iter().any(|part| part.knows(actor));
                let stranger = parts.iter().find(|part| !part.knows(actor)).filter(|_| known);
                stranger.ok_or_else(|| Error::NoFold { name: name.clone(), actor: actor.to_owned() })?.judge(actor)
            }
        }
    }

    /// Whether it makes a difference to it what was heard of the speaker before.
    pub fn has_baseline(&self) -> bool {
        match self {
            Self::Network(model) => matches!(model.manifest.front_end, FrontEnd::Logmel8k(_)),
            Self::Forest(_) => false,
            Self::Folds(folds) => folds.parts[0].has_baseline(),
        }
    }

    /// Seconds of the longest window it takes; `None` where it takes any.
    pub fn most_seconds(&self) -> Option<f64> {
        match self {
            Self::Network(model) => {
                let Manifest { front_end, window, .. } = &*model.manifest;
                window.grow_frames.is_none().then(|| window.frames as f64 / front_end.frame_rate())
            }
            Self::Forest(_) => None,
            Self::Folds(folds) => folds.parts[0].most_seconds(),
        }
    }

    /// Checks that it can be scored on these windows.
    pub(super) fn validate(&self, windows: impl Iterator<Item = Window>) -> Result<(), Error> {
        if self.labels().iter().map(String::as_str).ne(LABELS) {
            return Err(Error::Labels(self.labels().join(", ")));
        }
        let Some(most) = self.most_seconds() else { return Ok(()) };
        for seconds in windows.filter_map(Window::seconds) {
            // A hop's rounding is no reason to refuse.
            if f64::from(seconds) > most {
                return Err(Error::TooLong { model: self.name().to_owned(), seconds, most });
            }
        }
        Ok(())
    }
}
