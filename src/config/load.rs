//! Puts a configuration together from its sources.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Env, Format as _, Serialized, Toml},
};
use serde::Serialize;

use super::{Config, Invalid, words};
use crate::model::onnx::Provider;

/// Prefix of the variables; two underscores part a section from its key.
pub(super) const VARIABLES: &str = "UNDERTONE_";

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
    /// The file is no TOML.
    #[error("{}, line {line}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        problem: String,
    },
    /// A key is not known, or its value is of another type.
    #[error("{0}")]
    Content(String),
    /// A value is out of range.
    #[error("configuration: {0}")]
    Invalid(#[from] Invalid),
}

/// Defaults, file, environment and flags, put together but not validated.
pub(super) fn gather(file: Option<&Path>, flags: &Flags) -> Result<Config, Error> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        if let Err(error) = toml::de::DeTable::parse(&text) {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            return Err(Error::Syntax { path: path.to_owned(), line, problem: error.message().to_owned() });
        }
        let lists = words::list_for_section(&figment, &Figment::from(Toml::string(&text)));
        if let Some(told) = lists {
            return Err(Error::Content(format!("{}: {told}", path.display())));
        }
        figment = figment.merge(Toml::string(&text));
    }
    figment = figment.merge(Env::prefixed(VARIABLES).split("__")).merge(Serialized::defaults(flags));
    figment.extract().map_err(|error| Error::Content(words::line(&error, &figment, file)))
}
