//! The models in service, by name.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Manifest,
    onnx::{self, Options, Provider, Runtime, Session},
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
    /// Why it runs on the CPU and not on the provider that was asked for.
    fallback_reason: Option<String>,
    /// The session by which it was checked, for whoever asks first: on a GPU one takes seconds.
    checked: Arc<Mutex<Option<Session>>>,
}

/// The models in service. Never empty, but for the default.
#[derive(Debug, Default)]
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
    #[error("model in {}: {source}{}", dir.display(), way_out(source))]
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

/// What else a server can do where a provider cannot be had.
fn way_out(source: &onnx::Error) -> &'static str {
    if source.provider_problem().is_some() {
        "; or choose the provider cpu, or set inference.fallback_to_cpu = true to go on without"
    } else {
        ""
    }
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
        Self::checked(runtime, dir, manifest, network, options)
    }

    fn checked(
        runtime: &'static Runtime,
        dir: &Path,
        manifest: Manifest,
        network: Arc<[u8]>,
        options: Options,
    ) -> Result<Self, onnx::Error> {
        let mut model = Self { dir: dir.to_owned(), ..Self::of(runtime, manifest, network, options) };
        let session = match model.session() {
            Err(refused) if model.options.fallback_to_cpu && refused.provider_problem().is_some() => {
                let (provider, reason) = (model.options.provider.name(), refused.provider_problem());
                tracing::warn!(
                    model = model.manifest.name,
                    provider,
                    reason,
                    "the provider that is configured cannot be had: the model runs on the CPU, as inference.fallback_to_cpu permits"
                );
                model.fallback_reason = reason;
                model.session()
            }
            session => session,
        };
        model.checked = Arc::new(Mutex::new(Some(session?)));
        Ok(model)
    }

    /// A model whose network is in memory and was checked against its manifest.
    pub fn of(runtime: &'static Runtime, manifest: Manifest, network: Arc<[u8]>, options: Options) -> Self {
        Self {
            manifest: Arc::new(manifest),
            dir: PathBuf::new(),
            runtime,
            network,
            options,
            fallback_reason: None,
            checked: Arc::default(),
        }
    }

    /// A session of its own for one thread, of the bytes that were checked, whatever has become of the file since.
    pub fn session(&self) -> Result<Session, onnx::Error> {
        if let Some(session) = self.checked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(session);
        }
        let options = if self.fallback_reason.is_some() { &self.options.on_cpu() } else { &self.options };
        Session::from_network(self.runtime, &self.manifest, &self.network, options)
    }

    /// The library that runs it.
    pub fn library(&self) -> &Path {
        self.runtime.library()
    }

    /// SHA-256 of the network, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.manifest.network.sha256
    }

    /// What runs it.
    pub fn provider(&self) -> Provider {
        if self.fallback_reason.is_some() { Provider::Cpu } else { self.options.provider }
    }

    /// Why it runs on the CPU, where another provider was asked for and could not be had.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }
}

impl Registry {
    /// Loads the models in these folders; the first is the default.
    pub fn load(runtime: &'static Runtime, dirs: &[PathBuf], options: &Options) -> Result<Self, Error> {
        Self::default().renewed(runtime, dirs, options)
    }

    /// Loads the models in these folders; those of this registry that are the same in every byte are kept as they are, unless they fell
    /// back to the CPU and need not any more.
    pub fn renewed(&self, runtime: &'static Runtime, dirs: &[PathBuf], options: &Options) -> Result<Self, Error> {
        let mut models: Vec<Arc<Model>> = Vec::with_capacity(dirs.len());
        for dir in dirs {
            let model = self.keep_or_load(runtime, dir, options);
            let model = model.map_err(|source| Error::Load { dir: dir.clone(), source })?;
            if let Some(first) = models.iter().find(|first| first.manifest.name == model.manifest.name) {
                let name = model.manifest.name.clone();
                return Err(Error::Duplicate { name, first: first.dir.clone(), second: dir.clone() });
            }
            models.push(model);
        }
        if models.is_empty() {
            return Err(Error::NoModel);
        }
        models[1..].sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        Ok(Self { models })
    }

    fn keep_or_load(
        &self,
        runtime: &'static Runtime,
        dir: &Path,
        options: &Options,
    ) -> Result<Arc<Model>, onnx::Error> {
        let manifest = Manifest::load(dir)?;
        // Read even where the manifest is the same: a network that no longer fits it is a model that cannot be loaded.
        let network: Arc<[u8]> = manifest.read_network(dir)?.into();
        let same = |model: &&Arc<Model>| model.dir == dir && model.options == *options && *model.manifest == manifest;
        let Some(before) = self.models.iter().find(same) else {
            return Model::checked(runtime, dir, manifest, network, options.clone()).map(Arc::new);
        };
        if before.fallback_reason.is_some()
            && let Ok(mut model) =
                Model::checked(runtime, dir, manifest, network, Options { fallback_to_cpu: false, ..options.clone() })
        {
            model.options = options.clone();
            return Ok(Arc::new(model));
        }
        Ok(Arc::clone(before))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{
        Classifier,
        tiny::{self, FRAMES, Shape, VALUES},
    };

    fn load(dirs: &[PathBuf]) -> Result<Registry, Error> {
        Registry::load(Runtime::load(None).unwrap(), dirs, &Options::default())
    }

    /// Folders with models of these names.
    fn folders(root: &Path, names: &[&str]) -> Vec<PathBuf> {
        let folder = |(index, name): (usize, &&str)| {
            let dir = root.join(index.to_string());
            tiny::write(&dir, &Shape::default(), |manifest| manifest.name = (*name).to_owned());
            dir
        };
        names.iter().enumerate().map(folder).collect()
    }

    #[test]
    fn the_first_is_the_default_and_the_others_are_found_by_name() {
        let root = tempfile::tempdir().unwrap();
        let registry = load(&folders(root.path(), &["middle", "last", "first"])).unwrap();
        let names: Vec<_> = registry.models().iter().map(|model| model.manifest.name.as_str()).collect();
        assert_eq!(names, ["middle", "first", "last"]);
        for asked in [None, Some(""), Some("middle")] {
            assert!(Arc::ptr_eq(registry.get(asked).unwrap(), registry.default_model()));
        }
        assert_eq!(registry.get(Some("last")).unwrap().dir, root.path().join("1"));
        let missing = registry.get(Some("other")).unwrap_err().to_string();
        assert_eq!(missing, "there is no model \"other\"; in service are middle, first, last");
    }

    #[test]
    fn none_two_of_a_name_or_a_broken_one_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(load(&[]), Err(Error::NoModel)));
        let mut dirs = folders(root.path(), &["one", "two", "one"]);
        let message = load(&dirs).unwrap_err().to_string();
        for part in ["\"one\"", &dirs[0].display().to_string(), &dirs[2].display().to_string(), "rename"] {
            assert!(message.contains(part), "{message:?} lacks {part}");
        }
        dirs[2] = root.path().join("nowhere");
        let message = load(&dirs).unwrap_err().to_string();
        assert!(message.contains("model in ") && message.contains("nowhere"), "{message}");
    }

    #[test]
    fn a_model_runs_on_the_cpu_instead_where_that_is_permitted_and_is_kept_by_a_reload() {
        let runtime = Runtime::load(None).unwrap();
        if Provider::Cuda.is_in(runtime) {
            eprintln!("skipped: this ONNX Runtime has CUDA");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let dirs = folders(root.path(), &["one"]);
        let strict = Options::on(Provider::Cuda, 64);
        let refused = Registry::load(runtime, &dirs, &strict).unwrap_err().to_string();
        assert!(refused.contains("onnxruntime-gpu") && refused.contains(&dirs[0].display().to_string()), "{refused}");
        let lenient = Options { fallback_to_cpu: true, ..strict.clone() };
        let registry = Registry::load(runtime, &dirs, &lenient).unwrap();
        let model = registry.default_model();
        assert_eq!(model.provider(), Provider::Cpu);
        assert!(model.fallback_reason().is_some_and(|reason| reason.contains("cuda")), "{model:?}");
        assert_eq!(model.session().unwrap().run(&vec![1.0; 3 * FRAMES * VALUES], 3).unwrap().len(), 18);
        let again = registry.renewed(runtime, &dirs, &lenient).unwrap();
        assert!(Arc::ptr_eq(again.default_model(), model));
        assert!(registry.renewed(runtime, &dirs, &strict).is_err());
    }

    #[test]
    fn sessions_run_what_was_checked_whatever_became_of_the_file() {
        let root = tempfile::tempdir().unwrap();
        let dirs = folders(root.path(), &["one"]);
        let registry = load(&dirs).unwrap();
        fs::remove_file(dirs[0].join("model.onnx")).unwrap();
        let model = registry.default_model();
        // The first is the one by which it was checked.
        for _ in 0..2 {
            let logits = model.session().unwrap().run(&vec![1.0; FRAMES * VALUES], 1).unwrap();
            assert_eq!(logits.len(), model.manifest.labels.len());
        }
        assert_eq!((model.sha256(), model.provider()), (model.manifest.network.sha256.as_str(), Provider::Cpu));
    }
}
