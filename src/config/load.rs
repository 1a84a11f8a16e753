//! Puts a configuration together from its sources.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Env, Format as _, Serialized, Toml},
};
use serde::Serialize;

use super::{Config, Invalid};
use crate::model::onnx::Provider;

/// Prefix of the variables; two underscores part a section from its key.
const VARIABLES: &str = "UNDERTONE_";

/// What the command line may override.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flags {
    /// [`Config::listen`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// [`Config::admin`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// [`Config::models`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<PathBuf>,
    /// Of [`Config::inference`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceFlags>,
    /// Of [`Config::session`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionFlags>,
}

/// What the command line may override of the section `inference`.
#[derive(Debug, Clone, Serialize)]
pub struct InferenceFlags {
    /// [`super::Inference::provider`].
    pub provider: Provider,
}

/// What the command line may override of the section `session`.
#[derive(Debug, Clone, Serialize)]
pub struct SessionFlags {
    /// [`super::Session::calibrate`].
    pub calibrate: bool,
}

/// Why there is no configuration; the message says where to look.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is not known, or its value is of another type.
    #[error("configuration: {}", by_its_key(.0))]
    Content(#[from] Box<figment::Error>),
    /// A value is out of range.
    #[error("configuration: {0}")]
    Invalid(#[from] Invalid),
}

/// figment puts its profile before every key; here there is one.
fn by_its_key(error: &figment::Error) -> String {
    error.to_string().replace("\"default.", "\"")
}

/// Defaults, file, environment and flags, put together but not validated.
pub(super) fn gather(file: Option<&Path>, flags: &Flags) -> Result<Config, Error> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = file {
        // Asked first: figment takes a file that is not there for an empty one.
        std::fs::File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        figment = figment.merge(Toml::file_exact(path));
    }
    figment
        .merge(Env::prefixed(VARIABLES).split("__"))
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(|error| Error::Content(Box::new(error)))
}
