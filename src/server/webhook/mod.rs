//! Alerts, posted to where the configuration says.
//!
//! A post is one change of an alert in proto3's JSON, signed ([`signature`]), with an id that stays the same however often it is
//! posted. Each receiver has one task ([`receiver`]), which follows the journal as any watcher does and holds a few changes at a time
//! ([`schedule`]); what a slow or dead receiver has not taken waits in the journal, so that it delays nothing else. How far each got
//! is kept in the journal too: after a restart posts go on from there, at least once.
//!
//! Servers that share a journal post the alerts of their own calls each.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use reqwest::Url;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::json;
use crate::{
    config::{self, webhook::is_loopback},
    journal::{self, Entry, Journal, Record},
    telemetry::metrics::WebhookMetrics,
};

mod answer;
mod post;
mod receiver;
mod schedule;
mod signature;

use post::Post;
use receiver::Receiver;
use signature::Secrets;

/// Why nothing can be posted; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with the secret cannot be read.
    #[error("cannot read webhook.secret_file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds none that can be signed with.
    #[error("{place}: {source}")]
    Secret {
        /// The file or the variable.
        place: String,
        /// Why.
        #[source]
        source: signature::Invalid,
    },
    /// What makes connections cannot be made.
    #[error(
        "cannot make a client for the webhook: {0}; the system's certificates may be missing (ca-certificates, or SSL_CERT_FILE)"
    )]
    Client(#[source] reqwest::Error),
    /// The program's own descriptors.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// Where posts were is not known.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

/// All receivers; nothing runs yet.
#[derive(Default)]
pub(super) struct Webhook {
    receivers: Vec<Receiver>,
}

/// Which changes are posted.
#[derive(Debug, Clone)]
struct Choice {
    options: config::Webhook,
    /// Only those of this server's calls, where others share the journal.
    node: Option<String>,
}

/// The age of the oldest change that waits, over all receivers.
#[derive(Clone)]
struct Lag {
    oldest: Arc<Mutex<Vec<Option<SystemTime>>>>,
    metrics: WebhookMetrics,
}

impl Webhook {
    /// Reads the secret, and finds out how far each receiver got. One that is new is posted what happens from now on.
    pub(super) async fn prepare(
        options: &config::Webhook,
        journal: &Journal,
        node: Option<String>,
        metrics: WebhookMetrics,
    ) -> Result<Self, Error> {
        if options.urls.is_empty() {
            return Ok(Self::default());
        }
        // The process's one. Whoever installed it before wanted the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let secrets = secrets(options).await?;
        let writer = json::Writer::new("Alert")?;
        let lag = Lag { oldest: Arc::new(Mutex::new(vec![None; options.urls.len()])), metrics };
        let choice = Choice { options: options.clone(), node };
        let mut receivers = Vec::new();
        for (index, url) in options.urls.iter().enumerate() {
            let url: Url = url.parse().expect("the configuration was validated");
            let mark = choice.mark(&url);
            let last = journal.last_sequence().await?;
            let position = match journal.marked(&mark).await? {
                Some(position) if position <= last => position,
                // The journal was begun anew: all of it is unknown to the receiver.
                Some(_) => 0,
                None => last,
            };
            journal.mark(&mark, position).await?;
            let client = client(options, &url).map_err(Error::Client)?;
            let post = Post { place: index + 1, client, url, secrets: secrets.clone(), writer: writer.clone() };
            let (choice, lag) = (choice.clone(), lag.clone());
            receivers.push(Receiver { index, mark, position, choice, post, journal: journal.clone(), lag });
        }
        Ok(Self { receivers })
    }

    /// Posts until `closing`, then what is still there to be posted at once.
    pub(super) fn start(self, closing: &CancellationToken) -> Vec<JoinHandle<()>> {
        self.receivers.into_iter().map(|receiver| tokio::spawn(receiver.run(closing.clone()))).collect()
    }
}

impl Choice {
    /// The alert in an entry that is to be posted.
    fn alert<'a>(&self, entry: &'a Entry) -> Option<&'a journal::Alert> {
        let Record::Alert(alert) = &entry.draft.record else { return None };
        let Self { options, node } = self;
        let chosen = node.as_ref().is_none_or(|node| *node == entry.node)
            && options.states.contains(&alert.state)
            && options.severities.contains(&alert.severity)
            && (options.rules.is_empty() || options.rules.contains(&alert.rule));
        chosen.then_some(alert)
    }

    /// The name of a receiver's mark, which tells nothing of its address.
    fn mark(&self, url: &Url) -> String {
        let mut name = Sha256::new();
        name.update(self.node.as_deref().unwrap_or_default());
        name.update([0]);
        name.update(url.as_str());
        let digits: String = name.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("webhook-{digits}")
    }
}

impl Lag {
    /// Says what a receiver waits for the longest.
    fn tell(&self, index: usize, oldest: Option<SystemTime>) {
        let mut all = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        all[index] = oldest;
        let age = all.iter().flatten().min().map(|at| at.elapsed().unwrap_or_default());
        self.metrics.lag_seconds.set(age.unwrap_or_default().as_secs_f64());
    }
}

/// Why nothing could be posted with these options, as far as it is seen without a journal: the secret that posts are signed with.
pub(super) async fn refusal(options: &config::Webhook) -> Option<Error> {
    if options.urls.is_empty() { None } else { secrets(options).await.err() }
}

async fn secrets(options: &config::Webhook) -> Result<Secrets, Error> {
    let (place, text) = match (&options.secret_file, &options.secret) {
        (Some(path), _) => {
            let read = tokio::fs::read_to_string(path).await;
            let text = read.map_err(|source| Error::Read { path: path.clone(), source })?;
            (format!("webhook.secret_file {}", path.display()), zeroize::Zeroizing::new(text))
        }
        (None, secret) => {
            let text = secret.as_ref().map(config::webhook::Secret::reveal).unwrap_or_default();
            ("UNDERTONE_WEBHOOK__SECRET".to_owned(), zeroize::Zeroizing::new(text.to_owned()))
        }
    };
    Secrets::parse(&text).map_err(|source| Error::Secret { place, source })
}

fn client(options: &config::Webhook, url: &Url) -> reqwest::Result<reqwest::Client> {
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("undertone/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .timeout(options.timeout)
        .pool_max_idle_per_host(options.max_in_flight)
        // Where it leads is not what was configured.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false);
    if is_loopback(url) {
        // No proxy knows this machine.
        client = client.no_proxy();
    }
    client.build()
}
