//! The file of rules: read at start, and again when it changes.
//!
//! It is looked at every `alerts.reload_interval` rather than watched: that needs nothing of the system, and also sees a file that a
//! platform swaps by a link. A file that is wrong is told once, and the rules before stay on.

use std::{io, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    config,
    decision::rules::{Invalid, Rules, UnknownEmotion},
    journal::Audit,
    session::Sessions,
};

/// Why there are no rules; the message says where to look.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the rules {}, set in alerts.rules: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is wrong.
    #[error("the rules {}, {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and in which line.
        #[source]
        source: Invalid,
    },
    /// A rule can never fire.
    #[error("the rules {}: {source}", path.display())]
    Emotion {
        /// The file.
        path: PathBuf,
        /// The rule.
        #[source]
        source: UnknownEmotion,
    },
}

/// A file of rules that is looked at again and again.
pub(super) struct Watched {
    path: PathBuf,
    interval: Duration,
    /// What was read last, right or wrong.
    text: String,
}

impl Watched {
    /// Sets the rules of the configuration; `None` where it names no file and the shipped rules stay on.
    pub(super) async fn start(alerts: &config::Alerts, sessions: &Sessions) -> Result<Option<Self>, Error> {
        let Some(path) = alerts.rules.clone() else { return Ok(None) };
        let read = tokio::fs::read_to_string(&path).await;
        let text = read.map_err(|source| Error::Read { path: path.clone(), source })?;
        let watched = Self { path, interval: alerts.reload_interval, text };
        sessions.set_rules(watched.rules(sessions)?);
        Ok(Some(watched))
    }

    /// Sets them again whenever the file has changed.
    pub(super) async fn run(mut self, sessions: Sessions, closing: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        let mut unreadable = false;
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            match tokio::fs::read_to_string(&self.path).await {
                Ok(text) if text == self.text => unreadable = false,
                Ok(text) => {
                    unreadable = false;
                    self.text = text;
                    match self.rules(&sessions) {
                        Ok(rules) => {
                            tracing::info!(rules = rules.rules.len(), "alert rules read again");
                            let named = rules.rules.iter().map(|rule| format!("{} {}", rule.name, rule.version));
                            let version = named.collect::<Vec<_>>().join(", ");
                            sessions.set_rules(rules);
                            sessions.audit(Audit::Reloaded { what: "rules".to_owned(), version });
                            sessions.metrics().rules_reloads_total.increment("taken");
                        }
                        Err(error) => {
                            tracing::error!(%error, "alert rules refused; the rules before stay on");
                            sessions.metrics().rules_reloads_total.increment("refused");
                        }
                    }
                }
                Err(source) => {
                    if !std::mem::replace(&mut unreadable, true) {
                        let error = Error::Read { path: self.path.clone(), source };
                        tracing::error!(%error, "alert rules refused; the rules before stay on");
                        sessions.metrics().rules_reloads_total.increment("refused");
                    }
                }
            }
        }
    }

    fn rules(&self, sessions: &Sessions) -> Result<Rules, Error> {
        let rules = Rules::parse(&self.text).map_err(|source| Error::Invalid { path: self.path.clone(), source })?;
        let models = sessions.engines().models().iter();
        let labels = models.flat_map(|model| model.manifest.labels.iter().map(String::as_str));
        rules.check_emotions(labels).map_err(|source| Error::Emotion { path: self.path.clone(), source })?;
        Ok(rules)
    }
}
