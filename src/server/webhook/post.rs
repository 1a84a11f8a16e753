//! One post.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Url, header::CONTENT_TYPE};

use super::{answer::Answer, signature::Secrets};
use crate::{
    journal::{self, Entry},
    server::{
        convert,
        json::{self, Writer},
        proto,
    },
};

/// Bytes of an answer that are read, so that its connection can be used again; beyond, it is closed.
const ANSWER_BYTES: usize = 16 * 1024;

/// How one receiver is posted to.
#[derive(Clone)]
pub(super) struct Post {
    /// Which of `webhook.urls` it is, from 1.
    pub(super) place: usize,
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) secrets: Secrets,
    pub(super) writer: Writer<proto::Alert>,
}

impl Post {
    /// The receiver without what may be secret in its address: which of `webhook.urls` it is, and its origin.
    pub(super) fn receiver(&self) -> String {
        receiver(self.place, &self.url)
    }

    /// Posts a change of an alert.
    pub(super) async fn make(&self, entry: &Entry, alert: &journal::Alert) -> Result<Answer, json::Error> {
        let body = self.writer.line(&convert::kept_alert(&entry.draft, alert))?;
        let id = entry.draft.id.to_string();
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = self.secrets.sign(&id, timestamp, body.as_bytes());
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .header("undertone-sequence", entry.sequence)
            .body(body);
        Ok(match request.send().await {
            Ok(mut response) => {
                let answer = Answer::of(response.status(), response.headers(), SystemTime::now());
                let mut read = 0;
                while read < ANSWER_BYTES
                    && let Ok(Some(part)) = response.chunk().await
                {
                    read += part.len();
                }
                answer
            }
            Err(error) => Answer::Failed { problem: problem(error), retry_after: None },
        })
    }
}

fn receiver(place: usize, url: &Url) -> String {
    format!("{place}. {}", url.origin().ascii_serialization())
}

/// What went wrong, without the address.
fn problem(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_on_one_host_are_told_apart_without_their_secrets() {
        let urls = ["https://user:word@hooks.example/services/T0KEN", "https://hooks.example/services/0THER?key=K3Y"];
        let told: Vec<String> = (1..).zip(urls).map(|(place, url)| receiver(place, &url.parse().unwrap())).collect();
        assert_eq!(told, ["1. https://hooks.example", "2. https://hooks.example"]);
    }
}
