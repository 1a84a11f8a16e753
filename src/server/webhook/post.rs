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
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) secrets: Secrets,
    pub(super) writer: Writer<proto::Alert>,
}

impl Post {
    /// The receiver without what may be secret in its address.
    pub(super) fn receiver(&self) -> String {
        self.url.origin().ascii_serialization()
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
