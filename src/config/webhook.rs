//! Where alerts are posted to.

use std::{fmt, path::PathBuf, time::Duration};

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::decision::alert::{Severity, State};

/// Posts that may be under way to one receiver: more only hide that it is too slow.
const MOST_IN_FLIGHT: usize = 64;

/// Receivers of alerts, and how each is posted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// Receivers; each is posted every alert that is chosen.
    pub urls: Vec<String>,
    /// A file with the secret that posts are signed with; several, one a line: each signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The secret itself, for the environment. Never shown.
    #[serde(skip_serializing)]
    pub secret: Option<Secret>,
    /// Changes to these states are posted.
    pub states: Vec<State>,
    /// Alerts that are as pressing are posted.
    pub severities: Vec<Severity>,
    /// Alerts of these rules are posted; empty: of all.
    pub rules: Vec<String>,
    /// How long a connection may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a post may take in all.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The wait after a first failure; each further one is twice as long.
    #[serde(with = "humantime_serde")]
    pub first_wait: Duration,
    /// No wait is longer, unless the receiver asks for it.
    #[serde(with = "humantime_serde")]
    pub longest_wait: Duration,
    /// A change that is so old, and could not be posted, is given up.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
    /// Posts that may be under way to one receiver.
    pub max_in_flight: usize,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What is wrong with the section `webhook`; the message says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No address. What it is may hold a secret.
    #[error("webhook.urls: the {place}. is no address ({problem}); write it as \"https://host/path\"")]
    Url {
        /// Which one, from 1.
        place: usize,
        /// Why.
        problem: String,
    },
    /// What is heard would go over a network that anybody may read.
    #[error(
        "webhook.urls: alerts would go to {host} unencrypted; use https, or set allow_insecure = true where the network itself keeps \
         strangers out"
    )]
    Plain {
        /// The receiver.
        host: String,
    },
    /// One receiver twice.
    #[error("webhook.urls: the {place}. is there before; name each receiver once")]
    Twice {
        /// Which one, from 1.
        place: usize,
    },
    /// Nothing to sign with, or too much.
    #[error(
        "webhook.urls needs one of webhook.secret_file and the variable UNDERTONE_WEBHOOK__SECRET, by which receivers know whose posts \
         these are"
    )]
    Secret,
    /// A list that chooses nothing, or a state that no alert has.
    #[error("webhook.{key} is {actual}, expected some of {expected}")]
    Choice {
        /// The key.
        key: &'static str,
        /// Its value.
        actual: String,
        /// What may be in it.
        expected: &'static str,
    },
    /// A duration out of range.
    #[error("webhook.{key} is {actual:?}, expected {expected}")]
    Duration {
        /// The key.
        key: &'static str,
        /// Its value.
        actual: Duration,
        /// The range.
        expected: &'static str,
    },
    /// Too few or too many.
    #[error("webhook.max_in_flight is {actual}, expected 1 to {MOST_IN_FLIGHT}")]
    InFlight {
        /// Its value.
        actual: usize,
    },
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            secret_file: None,
            secret: None,
            states: vec![State::Firing, State::Acknowledged, State::Snoozed, State::Resolved],
            severities: vec![Severity::Warning, Severity::Critical],
            rules: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            // A receiver that is back is not left waiting for longer.
            longest_wait: Duration::from_secs(60),
            // A night in which nobody looks after the receiver; later nobody acts on an alert.
            give_up_after: Duration::from_secs(24 * 3600),
            max_in_flight: 8,
        }
    }
}

impl Webhook {
    /// Whether posts can be made by it; unencrypted ones beyond this machine only with leave.
    pub(super) fn validate(&self, allow_plain: bool) -> Result<(), Invalid> {
        for (index, url) in self.urls.iter().enumerate() {
            let place = index + 1;
            let wrong = |problem: &str| Invalid::Url { place, problem: problem.to_owned() };
            let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
            if !["http", "https"].contains(&parsed.scheme()) {
                return Err(wrong("neither http nor https"));
            }
            let host = parsed.host_str().ok_or_else(|| wrong("it names no host"))?;
            if parsed.scheme() == "http" && !is_loopback(&parsed) && !allow_plain {
                return Err(Invalid::Plain { host: host.to_owned() });
            }
            if self.urls[..index].contains(url) {
                return Err(Invalid::Twice { place });
            }
        }
        if !self.urls.is_empty() && self.secret_file.is_some() == self.secret.is_some() {
            return Err(Invalid::Secret);
        }
        let told = |state: &State| !matches!(state, State::Inactive | State::Pending);
        if self.states.is_empty() || !self.states.iter().all(told) {
            let expected = "FIRING, ACKNOWLEDGED, SNOOZED, RESOLVED";
            return Err(Invalid::Choice { key: "states", actual: format!("{:?}", self.states), expected });
        }
        if self.severities.is_empty() {
            return Err(Invalid::Choice { key: "severities", actual: "[]".to_owned(), expected: "WARNING, CRITICAL" });
        }
        self.validate_durations()?;
        if !(1..=MOST_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(Invalid::InFlight { actual: self.max_in_flight });
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), Invalid> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("first_wait", self.first_wait),
            ("give_up_after", self.give_up_after),
        ];
        if let Some((key, actual)) = durations.into_iter().find(|(_, duration)| duration.is_zero()) {
            return Err(Invalid::Duration { key, actual, expected: "more than 0s" });
        }
        if self.longest_wait < self.first_wait {
            let expected = "at least webhook.first_wait";
            return Err(Invalid::Duration { key: "longest_wait", actual: self.longest_wait, expected });
        }
        Ok(())
    }
}

impl Secret {
    /// What it is.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// Whether an address is of this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Webhook), allow_plain: bool) -> String {
        let mut webhook =
            Webhook { urls: vec!["https://a.example/x".to_owned()], secret: Some("s".into()), ..Webhook::default() };
        webhook.validate(false).unwrap();
        change(&mut webhook);
        webhook.validate(allow_plain).map_or_else(|invalid| invalid.to_string(), |()| String::new())
    }

    #[test]
    fn what_cannot_be_posted_to_is_refused_without_telling_the_address() {
        let urls = |urls: &[&str]| {
            let urls = urls.iter().map(|&url| url.to_owned()).collect();
            refusal(|webhook| webhook.urls = urls, false)
        };
        assert!(urls(&["https://a/", "hooks.example/token"]).contains("the 2. is no address"));
        assert!(!urls(&["ftp://a/token"]).contains("token"));
        assert!(urls(&["https://a/", "https://a/"]).contains("the 2. is there before"));
        assert!(urls(&["http://a.example/token"]).contains("to a.example unencrypted"));
        for near in ["http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost/x"] {
            assert_eq!(urls(&[near]), "");
        }
        assert_eq!(refusal(|webhook| webhook.urls = vec!["http://a.example/".to_owned()], true), "");
    }

    #[test]
    fn values_out_of_range_are_named() {
        type Change = fn(&mut Webhook);
        let cases: [(Change, &str); 8] = [
            (|webhook| webhook.secret = None, "needs one of webhook.secret_file"),
            (|webhook| webhook.secret_file = Some("f".into()), "needs one of webhook.secret_file"),
            (|webhook| webhook.states = vec![], "webhook.states is []"),
            (|webhook| webhook.states = vec![State::Pending], "webhook.states is [Pending]"),
            (|webhook| webhook.severities = vec![], "webhook.severities"),
            (|webhook| webhook.timeout = Duration::ZERO, "webhook.timeout is 0ns, expected more than 0s"),
            (|webhook| webhook.longest_wait = Duration::from_millis(1), "webhook.longest_wait is 1ms"),
            (|webhook| webhook.max_in_flight = 65, "webhook.max_in_flight is 65, expected 1 to 64"),
        ];
        for (change, expected) in cases {
            let text = refusal(change, false);
            assert!(text.contains(expected), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let webhook = Webhook { secret: Some("sesame".into()), ..Webhook::default() };
        assert!(!format!("{webhook:?}").contains("sesame"));
        assert!(!toml::to_string(&webhook).unwrap().contains("sesame"));
    }
}
