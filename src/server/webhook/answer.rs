//! What an answer to a post means.
//!
//! | answer | what it means |
//! |---|---|
//! | 2xx | delivered |
//! | 408, 425, 429, 5xx; none at all | try again, after `Retry-After` where it says so |
//! | all else: 3xx, 400, 401, 403, 404, 410, 413, … | refused: the same post would be refused again |
//!
//! Redirects are refused rather than followed: where they lead is not what was configured.

use std::time::{Duration, SystemTime};

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

/// What became of one post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver has it.
    Delivered,
    /// It will never take it.
    Refused(StatusCode),
    /// What was to be posted is no longer to be known.
    Purged,
    /// Another time perhaps.
    Failed {
        /// What was said, or what went wrong.
        problem: String,
        /// How long the receiver asks to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Answer {
    /// What a receiver says.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        if status.is_success() {
            Self::Delivered
        } else if status.is_server_error() || again.contains(&status) {
            Self::Failed { problem: status.to_string(), retry_after: retry_after(headers, now) }
        } else {
            Self::Refused(status)
        }
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok().map(|at| at.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        Answer::of(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        for status in [200, 202, 204] {
            assert_eq!(answer(status, None), Answer::Delivered);
        }
        for status in [301, 307, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422] {
            assert_eq!(answer(status, Some("5")), Answer::Refused(StatusCode::from_u16(status).unwrap()));
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(answer(status, None), Answer::Failed { retry_after: None, .. }), "{status}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_time_in_seconds_or_by_a_date() {
        let asked = |value| match answer(503, Some(value)) {
            Answer::Failed { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }
}
