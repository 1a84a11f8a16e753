//! The models in service, by name.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Manifest,
    onnx::{self, Options, PROVIDER, Runtime, Session},
};

/// One model in service: its manifest, and the network whose hash and graph were found to fit.
#[derive(Debug, Clone)]
pub struct Model {
    /// All about it.
    pub manifest: Arc<Manifest>,
    /// Where it was loaded from.
    pub dir: PathBuf,
    runtime: &'static Runtime,
    network: Arc<[u8]>,
    options: Options,
}

/// The models in service. Never empty.
#[derive(Debug)]
pub struct Registry {
    models: Vec<Arc<Model>>,
}

/// Why models cannot be put into service; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None was named.
    #[error(
        "no model is configured; name at least one folder with a model, by --model or `models` in the configuration"
    )]
    NoModel,
    /// One cannot be used.
    #[error("model in {}: {source}", dir.display())]
    Load {
        /// Its folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: onnx::Error,
    },
    /// A call could not tell them apart.
    #[error("the models in {} and {} are both called {name:?}; leave one out, or rename it in its manifest", first.display(), second.display())]
    Duplicate {
        /// Their name.
        name: String,
        /// The folder of the one.
        first: PathBuf,
        /// The folder of the other.
        second: PathBuf,
    },
}

/// A call asked for a model that is not in service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no model {asked:?}; in service are {}", names.join(", "))]
pub struct NotFound {
    /// What it asked for.
    pub asked: String,
    /// What there is, the default first.
    pub names: Vec<String>,
}

impl Model {
    /// Loads the model in a folder and makes one session of it, so that whatever is wrong with it is found now.
    pub fn load(runtime: &'static Runtime, dir: &Path, options: Options) -> Result<Self, onnx::Error> {
        let manifest = Manifest::load(dir)?;
        let network = manifest.read_network(dir)?.into();
        let model = Self { manifest: Arc::new(manifest), dir: dir.to_owned(), runtime, network, options };
        model.session()?;
        Ok(model)
    }

    /// A session of its own for one thread, of the bytes that were checked, whatever has become of the file since.
    pub fn session(&self) -> Result<Session, onnx::Error> {
        Session::from_network(self.runtime, &self.manifest, &self.network, &self.options)
    }

    /// SHA-256 of the network, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.manifest.network.sha256
    }

    /// What runs it: "cpu".
    pub fn provider(&self) -> &'static str {
        PROVIDER
    }
}

impl Registry {
    /// Loads the models in these folders; the first is the default.
    pub fn load(runtime: &'static Runtime, dirs: &[PathBuf], options: Options) -> Result<Self, Error> {
        let mut models: Vec<Arc<Model>> = Vec::with_capacity(dirs.len());
        for dir in dirs {
            let model =
                Model::load(runtime, dir, options).map_err(|source| Error::Load { dir: dir.clone(), source })?;
            if let Some(first) = models.iter().find(|first| first.manifest.name == model.manifest.name) {
                let name = model.manifest.name.clone();
                return Err(Error::Duplicate { name, first: first.dir.clone(), second: dir.clone() });
            }
            models.push(Arc::new(model));
        }
        if models.is_empty() {
            return Err(Error::NoModel);
        }
        models[1..].sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        Ok(Self { models })
    }

    /// The model that a call gets which asks for none.
    pub fn default_model(&self) -> &Arc<Model> {
        &self.models[0]
    }

    /// The model of this name; the default when none, or an empty one, is given.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<Model>, NotFound> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(self.default_model());
        };
        self.models.iter().find(|model| model.manifest.name == name).ok_or_else(|| NotFound {
            asked: name.to_owned(),
            names: self.models.iter().map(|model| model.manifest.name.clone()).collect(),
        })
    }

    /// All of them, the default first, then by name.
    pub fn models(&self) -> &[Arc<Model>] {
        &self.models
    }
}
