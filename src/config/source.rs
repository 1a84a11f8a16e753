//! Where a server's configuration is read, at start and whenever it is told to read it again.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{Config, Error, Flags};

/// Reads the configuration. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    read: Arc<dyn Fn() -> Result<Config, Error> + Send + Sync>,
}

impl Source {
    /// A file, if there is one, the environment and flags. `models` are those of a configuration that names none.
    pub fn new(file: Option<PathBuf>, flags: Flags, models: Vec<PathBuf>) -> Self {
        let read = move || {
            let mut config = Config::load(file.as_deref(), &flags)?;
            if config.models.is_empty() {
                config.models.clone_from(&models);
            }
            Ok(config)
        };
        Self { read: Arc::new(read) }
    }

    /// Always the same; the models and rules that it names may change all the same.
    pub fn fixed(config: Config) -> Self {
        Self { read: Arc::new(move || Ok(config.clone())) }
    }

    /// The configuration as it is now, validated.
    ///
    /// # Errors
    /// An [`Error`] says where to look.
    pub fn read(&self) -> Result<Config, Error> {
        (self.read)()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
