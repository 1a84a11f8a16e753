//! Which journal a server keeps, and for how long.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::Kind;

/// SQLite keeps its tables in pages of this size; fewer than 64 hold no journal.
const MIN_BYTES: u64 = 64 * 4096;

/// The journal, as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What keeps it.
    pub engine: Engine,
    /// SQLite: its file; ":memory:" keeps it in memory, for as long as the process lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The largest that the journal may grow: SQLite's file, or the stream when it is made. Left out: as large as there is room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// JetStream: the NATS server, or several of a cluster with commas between.
    pub url: String,
    /// JetStream: a file with the credentials that the NATS server asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// JetStream: the stream's name, the same on every server that shares it.
    pub stream: String,
    /// JetStream: copies that a NATS cluster keeps, 1 to 5; taken when the stream is made.
    pub replicas: usize,
    /// This server's name in its entries, which no other server of the same journal may have. Left out: the machine's name and the
    /// port of `listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Entries that may wait to be written; one more is lost, and counted. Timelines are given up at three quarters of it.
    pub buffer: usize,
    /// How long entries are kept.
    pub time_to_live: TimeToLive,
}

/// What keeps a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A file of this server's own.
    #[default]
    Sqlite,
    /// A NATS server or cluster, which many servers share.
    Jetstream,
    /// Nothing.
    None,
}

/// How long entries are kept, by kind. Audit entries are kept for ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeToLive {
    /// Begins and summaries of calls.
    #[serde(with = "humantime_serde")]
    pub call: Duration,
    /// Timelines of calls.
    #[serde(with = "humantime_serde")]
    pub timeline: Duration,
    /// Alerts.
    #[serde(with = "humantime_serde")]
    pub alert: Duration,
    /// What people did about alerts.
    #[serde(with = "humantime_serde")]
    pub action: Duration,
    /// Summaries by subject.
    #[serde(with = "humantime_serde")]
    pub subject: Duration,
}

/// What is wrong with the configuration of a journal; the message says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A file that is none.
    #[error("journal.path is empty; name a file, or leave it out")]
    Path,
    /// Too little room to begin.
    #[error("journal.max_bytes is {actual}, expected at least {MIN_BYTES}")]
    MaxBytes {
        /// Its value.
        actual: u64,
    },
    /// No address of a NATS server.
    #[error("journal.url is {actual:?}, expected the address of a NATS server, such as \"nats://127.0.0.1:4222\"")]
    Url {
        /// Its value.
        actual: String,
    },
    /// A name that NATS or the entries cannot carry.
    #[error("{key} is {actual:?}, expected 1 to 64 characters of [A-Za-z0-9_-]{more}")]
    Name {
        /// The key.
        key: &'static str,
        /// Its value.
        actual: String,
        /// What else is permitted.
        more: &'static str,
    },
    /// More copies than NATS keeps.
    #[error("journal.replicas is {actual}, expected 1 to 5")]
    Replicas {
        /// Its value.
        actual: usize,
    },
    /// No room to wait in.
    #[error("journal.buffer is {actual}, expected at least 16")]
    Buffer {
        /// Its value.
        actual: usize,
    },
    /// Entries that would be gone at once.
    #[error("journal.time_to_live.{kind} is {actual:?}, expected at least 1m")]
    TimeToLive {
        /// The kind.
        kind: &'static str,
        /// Its value.
        actual: Duration,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            engine: Engine::Sqlite,
            path: None,
            max_bytes: None,
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: None,
            stream: "UNDERTONE".to_owned(),
            replicas: 1,
            node: None,
            // A thousand calls write about 20 entries a second: minutes of a full disk.
            buffer: 8192,
            time_to_live: TimeToLive::default(),
        }
    }
}

impl Default for TimeToLive {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        // What shows most of a person goes first: the course of a call in a week, what was made of it in a month. A year of summaries
        // is what a view over time needs at least.
        Self { call: 30 * DAY, timeline: 7 * DAY, alert: 30 * DAY, action: 30 * DAY, subject: 365 * DAY }
    }
}

impl TimeToLive {
    /// Each kind that expires, with its time.
    pub fn by_kind(&self) -> [(Kind, Duration); 5] {
        [
            (Kind::Call, self.call),
            (Kind::Timeline, self.timeline),
            (Kind::Alert, self.alert),
            (Kind::Action, self.action),
            (Kind::Subject, self.subject),
        ]
    }
}

impl Options {
    /// Whether a journal can be kept by it.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(Invalid::Path);
        }
        if let Some(actual) = self.max_bytes.filter(|bytes| *bytes < MIN_BYTES) {
            return Err(Invalid::MaxBytes { actual });
        }
        let is_address = |address: &str| {
            let rest = ["nats://", "tls://"].iter().find_map(|scheme| address.trim().strip_prefix(scheme));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        };
        if !self.url.split(',').all(is_address) {
            return Err(Invalid::Url { actual: self.url.clone() });
        }
        let names = [("journal.stream", Some(&self.stream), ""), ("journal.node", self.node.as_ref(), " and '.'")];
        for (key, name, more) in names {
            let permitted = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c) || !more.is_empty() && c == '.';
            if let Some(name) = name.filter(|name| !((1..=64).contains(&name.len()) && name.chars().all(permitted))) {
                return Err(Invalid::Name { key, actual: name.clone(), more });
            }
        }
        if !(1..=5).contains(&self.replicas) {
            return Err(Invalid::Replicas { actual: self.replicas });
        }
        if self.buffer < 16 {
            return Err(Invalid::Buffer { actual: self.buffer });
        }
        let short = self.time_to_live.by_kind().into_iter().find(|(_, time)| *time < Duration::from_secs(60));
        short.map_or(Ok(()), |(kind, actual)| Err(Invalid::TimeToLive { kind: kind.as_str(), actual }))
    }

    /// This server's name in its entries.
    pub fn node_name(&self) -> String {
        self.node.clone().unwrap_or_else(machine_name)
    }
}

/// What the machine is called, as far as a name permits it.
pub fn machine_name() -> String {
    let of_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = of_kernel.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let permitted = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
    let name: String = name.chars().filter(permitted).take(48).collect();
    if name.is_empty() { "undertone".to_owned() } else { name }
}
