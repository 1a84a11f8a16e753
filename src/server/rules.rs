//! The file of alert rules: read at start, with every reload, and, by one, whenever it changes.
//!
//! It is looked at every `alerts.reload_interval` rather than watched: that needs nothing of the system, and also sees a file that a
//! platform swaps by a link. A file that is wrong is told once, and the rules before stay on.

use std::{io, path::PathBuf, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::reload::{Reloader, Trigger};
use crate::{
    config,
    decision::rules::{Invalid, Rule, Rules, UnknownEmotion},
    model::{Registry, manifest::sha256_hex},
    policy::Policy,
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

/// Rules as they were read.
#[derive(Debug, Clone)]
pub(super) struct Ruleset {
    pub(super) rules: Rules,
    /// The file; none where they are the shipped ones.
    path: Option<PathBuf>,
    /// SHA-256 of the file's bytes, hexadecimal.
    pub(super) sha256: String,
    /// What one of the shipped ones names that no model in service knows.
    unknown: Option<UnknownEmotion>,
}

/// The rules of the configuration, for these models; the shipped ones where it names no file.
pub(super) async fn read(alerts: &config::Alerts, models: &Registry) -> Result<Ruleset, Error> {
    let labels = || models.models().iter().flat_map(|model| model.manifest.labels.iter().map(String::as_str));
    let Some(path) = alerts.rules.clone() else {
        let (rules, sha256) = (Rules::shipped(), sha256_hex(Rules::shipped_text().as_bytes()));
        // Nobody wrote them for these models.
        let unknown = rules.check_emotions(labels()).err();
        return Ok(Ruleset { rules, path: None, sha256, unknown });
    };
    let text = match tokio::fs::read_to_string(&path).await {
        Ok(text) => text,
        Err(source) => return Err(Error::Read { path, source }),
    };
    let rules = match Rules::parse(&text) {
        Ok(rules) => rules,
        Err(source) => return Err(Error::Invalid { path, source }),
    };
    match rules.check_emotions(labels()) {
        Ok(()) => Ok(Ruleset { rules, path: Some(path), sha256: sha256_hex(text.as_bytes()), unknown: None }),
        Err(source) => Err(Error::Emotion { path, source }),
    }
}

impl Ruleset {
    /// What is to be known of rules that are valid, a line each: that there are none, that a shipped one is of an emotion which no model knows,
    /// or that one is for roles alone which this policy keeps from being analysed.
    pub(super) fn warnings(&self, policy: &Policy) -> Vec<String> {
        let rules = &self.rules.rules;
        let none = self
            .path
            .as_deref()
            .filter(|_| rules.is_empty())
            .map(|path| format!("the file of rules {} holds no [[rule]]: no alert will ever rise", path.display()));
        let unheard = rules.iter().filter(|rule| !rule.roles.iter().any(|role| policy.analyses(*role))).map(|rule| {
            let roles = rule.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
            format!(
                "rule {:?} is for {roles} alone, whom the policy ({}) does not let be analysed: it will never fire; name other roles in it, or \
                 look at policy.mode, policy.admit_mixed and policy.admit_unspecified",
                rule.name, policy.mode
            )
        });
        let unknown = self.unknown.as_ref().map(|unknown| {
            format!("of the shipped rules, {unknown}: it will never fire; name rules of your own in alerts.rules")
        });
        none.into_iter().chain(unknown).chain(unheard).collect()
    }

    /// What they are, for the journal: each rule with its version, and the hash of the file, since a version may be left as it is.
    pub(super) fn version(&self) -> String {
        let named = self.rules.rules.iter().map(|rule| format!("{} {}", rule.name, rule.version));
        named.chain([format!("SHA-256 {}", self.sha256)]).collect::<Vec<_>>().join(", ")
    }
}

/// Rules that are not what they were although their version is, a line each: an alert's evidence names a rule by its version.
pub(super) fn changed_under_one_version(before: &Rules, after: &Rules) -> Vec<String> {
    let changed = after.rules.iter().filter(|rule| {
        before.rules.iter().any(|old| (&old.name, old.version) == (&rule.name, rule.version) && old != *rule)
    });
    let told = |rule: &Arc<Rule>| {
        let Rule { name, version, .. } = &**rule;
        format!(
            "rule {name:?} changed and is still version {version}: raise it, so that alerts tell which rule they rest on"
        )
    };
    changed.map(told).collect()
}

/// Has them read again whenever the file has changed.
pub(super) async fn watch(reloader: Arc<Reloader>, closing: CancellationToken) {
    let mut before = look(&reloader).await;
    loop {
        let interval = reloader.running().alerts.reload_interval;
        if closing.run_until_cancelled(tokio::time::sleep(interval)).await.is_none() {
            return;
        }
        let now = look(&reloader).await;
        if now != before {
            before = now;
            // What becomes of it is told by the reload.
            let _ = Arc::clone(&reloader).reload(Trigger::Rules).await;
        }
    }
}

/// The file's name and text, and no text while it cannot be read.
async fn look(reloader: &Reloader) -> Option<(PathBuf, Option<String>)> {
    let path = reloader.running().alerts.rules.clone()?;
    let text = tokio::fs::read_to_string(&path).await.ok();
    Some((path, text))
}
