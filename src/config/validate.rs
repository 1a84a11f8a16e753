//! Which configurations a server can run by.

use std::{net::SocketAddr, time::Duration};

use reqwest::Url;
use tracing_subscriber::filter::LevelFilter;

use super::{Config, shadow, webhook};
use crate::{
    inference,
    journal::{self, EngineKind},
    policy::{self, Mode},
};

/// The API promises a status at least this often.
const MAX_STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Below it a call would come again more often than it is decided on.
const MIN_STREAM_AGE: Duration = Duration::from_secs(1);

/// What is wrong with a configuration; the message says what to set.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// An address that other machines reach, although nobody has to authenticate.
    #[error(
        "{key} is {address}, which other machines can reach, and nobody has to authenticate; use a loopback address such as \
         127.0.0.1:{}, or set allow_insecure = true where the network itself keeps strangers out",
        address.port()
    )]
    Exposed {
        /// The key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// Both ports are one.
    #[error("listen and admin are both {address}; give each a port of its own")]
    SameAddress {
        /// That address.
        address: SocketAddr,
    },
    /// A number out of range.
    #[error("{key} is {actual}, expected {expected}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        actual: usize,
        /// The range.
        expected: &'static str,
    },
    /// A duration out of range.
    #[error("{key} is {actual:?}, expected {expected}")]
    Duration {
        /// The key.
        key: &'static str,
        /// Its value.
        actual: Duration,
        /// The range.
        expected: String,
    },
    /// The log filter.
    #[error("log.filter {filter:?} is no filter ({problem}); write a level, or \"undertone=debug,warn\"")]
    LogFilter {
        /// Its value.
        filter: String,
        /// Why.
        problem: String,
    },
    /// The collector's address.
    #[error(
        "telemetry.otlp_endpoint is {endpoint:?}, expected OTLP over gRPC without TLS, such as \"http://127.0.0.1:4317\": a collector beside \
         the server can speak TLS onwards"
    )]
    Endpoint {
        /// Its value.
        endpoint: String,
    },
    /// The part of calls that is traced.
    #[error("telemetry.sampling_ratio is {0:?}, expected 0 to 1")]
    SamplingRatio(f64),
    /// The section `inference`.
    #[error(transparent)]
    Inference(#[from] inference::Invalid),
    /// The section `shadow`.
    #[error(transparent)]
    Shadow(#[from] shadow::Invalid),
    /// The section `policy`.
    #[error(transparent)]
    Policy(#[from] policy::Invalid),
    /// The section `journal`.
    #[error(transparent)]
    Journal(#[from] journal::Invalid),
    /// Webhooks without a journal.
    #[error(
        "webhook.urls needs a journal, in which a change that waits for its receiver is looked up before it is posted again, should it have \
         been deleted meanwhile; set journal.engine to \"sqlite\" or \"jetstream\""
    )]
    WebhookUnkept,
    /// The section `webhook`.
    #[error(transparent)]
    Webhook(#[from] webhook::Invalid),
    /// An attestation that nothing would keep.
    #[error(
        "policy.mode {mode} needs a journal that keeps its attestation, and journal.engine is \"none\"; set it to \"sqlite\" or \
         \"jetstream\", or policy.mode to CUSTOMER_ONLY"
    )]
    AttestationNotKept {
        /// The mode that needs it.
        mode: Mode,
    },
}

impl Config {
    /// Whether a server can run by it. The first fault found.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.validate_addresses()?;
        self.inference.options(self.inference.provider).validate()?;
        self.shadow.validate()?;
        self.policy.validate()?;
        self.journal.validate()?;
        if self.policy.mode != Mode::CustomerOnly && self.journal.engine == EngineKind::None {
            return Err(Invalid::AttestationNotKept { mode: self.policy.mode });
        }
        self.webhook.validate(self.allow_insecure)?;
        if !self.webhook.urls.is_empty() && self.journal.engine == EngineKind::None {
            return Err(Invalid::WebhookUnkept);
        }
        self.validate_counts()?;
        self.validate_telemetry()?;
        self.validate_durations()?;
        self.validate_filter()
    }

    /// A bare word that is no level would be taken for a module's name, and silence everything else.
    fn validate_filter(&self) -> Result<(), Invalid> {
        let filter = &self.log.filter;
        let wrong = |problem: String| Err(Invalid::LogFilter { filter: filter.clone(), problem });
        if let Err(error) = self.log.levels() {
            return wrong(error.to_string());
        }
        let is_known = |word: &str| word.parse::<LevelFilter>().is_ok() || word.starts_with("undertone");
        let words = || filter.split(',').map(str::trim).filter(|word| !word.is_empty());
        match words().find(|word| !is_known(word)) {
            Some(word) if !filter.contains(['=', '[']) => wrong(format!("{word:?} is no level")),
            _ => Ok(()),
        }
    }

    fn validate_addresses(&self) -> Result<(), Invalid> {
        for (key, address) in [("listen", self.listen), ("admin", self.admin)] {
            if !address.ip().is_loopback() && !self.allow_insecure {
                return Err(Invalid::Exposed { key, address });
            }
        }
        if self.listen == self.admin && self.listen.port() != 0 {
            return Err(Invalid::SameAddress { address: self.listen });
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), Invalid> {
        let session = &self.session;
        let counts = [
            ("session.max_legs", session.max_legs),
            ("session.max_windows_per_second", session.max_windows_per_second.map_or(1, |windows| windows as usize)),
            ("session.messages_per_second", session.messages_per_second as usize),
            ("session.event_buffer", session.event_buffer),
            ("session.max_windows_out", session.max_windows_out),
            ("session.max_classifications", session.max_classifications),
            ("session.max_watchers", session.max_watchers),
            ("session.max_registrations", session.max_registrations),
            ("telemetry.one_window_in", self.telemetry.one_window_in as usize),
            ("telemetry.queue_spans", self.telemetry.queue_spans),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, actual)) => Err(Invalid::Number { key, actual, expected: "at least 1" }),
            None => Ok(()),
        }
    }

    fn validate_telemetry(&self) -> Result<(), Invalid> {
        let telemetry = &self.telemetry;
        if !(0.0..=1.0).contains(&telemetry.sampling_ratio) {
            return Err(Invalid::SamplingRatio(telemetry.sampling_ratio));
        }
        let unusable = |endpoint: &&String| {
            let url = Url::parse(endpoint);
            !url.is_ok_and(|url| url.scheme() == "http" && url.has_host())
        };
        match telemetry.otlp_endpoint.as_ref().filter(unusable) {
            Some(endpoint) => Err(Invalid::Endpoint { endpoint: endpoint.clone() }),
            None => Ok(()),
        }
    }

    fn validate_durations(&self) -> Result<(), Invalid> {
        let (session, http2) = (&self.session, &self.http2);
        let durations = [
            ("drain_deadline", self.drain_deadline),
            ("session.idle_timeout", session.idle_timeout),
            ("session.hold_timeout", session.hold_timeout),
            ("session.status_interval", session.status_interval),
            ("session.close_timeout", session.close_timeout),
            ("session.stall_timeout", session.stall_timeout),
            ("alerts.reload_interval", self.alerts.reload_interval),
            ("http2.keepalive_interval", http2.keepalive_interval),
            ("http2.keepalive_timeout", http2.keepalive_timeout),
            ("telemetry.export_timeout", self.telemetry.export_timeout),
        ];
        let wrong = |key, actual, expected| Err(Invalid::Duration { key, actual, expected });
        if let Some((key, actual)) = durations.into_iter().find(|(_, duration)| duration.is_zero()) {
            return wrong(key, actual, "more than 0s".to_owned());
        }
        if session.status_interval > MAX_STATUS_INTERVAL {
            return wrong(
                "session.status_interval",
                session.status_interval,
                format!("at most {MAX_STATUS_INTERVAL:?}"),
            );
        }
        if session.hold_timeout < session.idle_timeout {
            let expected = format!("at least session.idle_timeout, {:?}", session.idle_timeout);
            return wrong("session.hold_timeout", session.hold_timeout, expected);
        }
        if let Some(age) = session.max_stream_age.filter(|age| *age < MIN_STREAM_AGE) {
            return wrong("session.max_stream_age", age, format!("at least {MIN_STREAM_AGE:?}"));
        }
        if session.max_stream_age.is_some() && session.resume_grace.is_zero() {
            let expected = "more than 0s where session.max_stream_age is set, or streams could not go on".to_owned();
            return wrong("session.resume_grace", session.resume_grace, expected);
        }
        if session.close_timeout >= self.drain_deadline {
            let expected = format!("less than drain_deadline, {:?}", self.drain_deadline);
            return wrong("session.close_timeout", session.close_timeout, expected);
        }
        Ok(())
    }
}
