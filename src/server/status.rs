//! Which status a client gets for what, with its details. Nowhere else is a status made.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    config, features, journal,
    policy::Refusal as Policy,
    session::{Denied, End, Refusal},
};

mod supervise;

/// Over the admission limit: calls last minutes, so a place becomes free within seconds on a server that is full.
const RETRY_FULL: Duration = Duration::from_secs(5);

/// Draining: another server, or this one restarted, takes calls within about a second.
const RETRY_DRAINING: Duration = Duration::from_secs(1);

/// Everybody who is told to come again is told another time, up to so many times as late, so that thousands do not come together.
const RETRY_SPREAD: f64 = 2.0;

/// In whose words the reasons below are.
pub const REASON_DOMAIN: &str = "undertone.v1";

/// Why a stream closes whose call goes on by another: it is as old as it may be.
pub const STREAM_AGE: &str = "STREAM_AGE";

/// Why a stream closes whose call has got its summaries: the server shuts down.
pub const DRAINING: &str = "DRAINING";

/// What keeps a request from being answered.
#[derive(Debug)]
pub(super) enum Problem {
    /// A value out of range.
    Invalid {
        /// The field's path.
        field: String,
        /// The permitted range.
        description: String,
    },
    /// The first message is not the configuration.
    ConfigExpected,
    /// The configuration came again.
    SecondConfig,
    /// No configuration came in time.
    NoConfig(Duration),
    /// Refused by the sessions.
    Refused(Refusal),
    /// Not done by those who supervise.
    Denied(Denied),
    /// More watch already than may.
    TooManyWatchers(usize),
    /// What the transport found.
    Wire(Status),
}

impl Problem {
    /// A field whose value is out of the range that `description` gives.
    pub(super) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), description: description.into() }
    }

    /// As metrics name it, where it keeps a call from its begin or a recording from being classified.
    pub(super) fn refusal(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.name(),
            _ => "invalid",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        Self::Denied(error.into())
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Invalid { field, description } => invalid(&field, &description),
            Problem::ConfigExpected => {
                order("the first message must be `config`, and there must be one; send it before any audio or control")
            }
            Problem::SecondConfig => order("`config` comes once; open another stream for another configuration"),
            Problem::NoConfig(idle) => {
                Status::deadline_exceeded(format!("no `config` came within {idle:?}; send it as the first message"))
            }
            Problem::Refused(refusal) => refused(&refusal),
            Problem::Denied(denied) => supervise::denied(&denied),
            Problem::TooManyWatchers(limit) => supervise::too_many_watchers(limit),
            Problem::Wire(status) => wire(status),
        }
    }
}

/// How a call's stream closes.
pub(super) fn of_end(end: End<Problem>, limits: &config::Session) -> Result<(), Status> {
    Err(match end {
        End::Completed | End::Vanished => return Ok(()),
        End::Invalid(problem) => problem.into(),
        End::Idle => Status::deadline_exceeded(format!(
            "no message came for {:?} (on hold {:?}); send an empty audio chunk now and then while there is no audio",
            limits.idle_timeout, limits.hold_timeout
        )),
        End::Stalled => Status::deadline_exceeded(format!(
            "no response was read for {:?}; read the responses while sending",
            limits.stall_timeout
        )),
        End::TakenOver => Status::aborted("another stream of this call took it over"),
        End::Draining => refused(&Refusal::Draining),
        End::Aged => come_again(
            STREAM_AGE,
            Duration::ZERO,
            "this stream is as old as the server lets one be, and the call is kept: open another with the same configuration, and go on from \
             where its acknowledgement says",
        ),
        End::Failed => failed(),
    })
}

/// Inference, or the server itself, failed; the reason stands in the logs.
pub(super) fn failed() -> Status {
    Status::internal("the analysis failed for good; try another model or server, and see this server's logs")
}

fn invalid(field: &str, description: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, description);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {description}"), details)
}

fn order(description: &str) -> Status {
    precondition("ORDER", "config", description)
}

fn precondition(kind: &str, subject: &str, description: &str) -> Status {
    let details = ErrorDetails::with_precondition_failure_violation(kind, subject, description);
    Status::with_error_details(Code::FailedPrecondition, description, details)
}

fn refused(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Model(not_found) => {
            let names = format!("in service are {}", not_found.names.join(", "));
            let details = ErrorDetails::with_resource_info("undertone.v1.Model", &not_found.asked, "", names);
            Status::with_error_details(Code::NotFound, text, details)
        }
        Refusal::Policy(policy) => precondition("POLICY", policy_subject(policy), &text),
        Refusal::Withdrawn { .. } => precondition("POLICY", "consent", &text),
        Refusal::Live(live) => {
            let name = format!("{}/{}", live.call_id, live.leg_id);
            let details = ErrorDetails::with_resource_info("undertone.v1.Leg", name, "", &text);
            Status::with_error_details(Code::AlreadyExists, text, details)
        }
        Refusal::Differs { .. } => precondition("RESUMPTION", "config", &text),
        Refusal::Full { what, .. } => exhausted(what, text),
        Refusal::Busy { .. } | Refusal::Occupied { .. } => exhausted("windows a second", text),
        Refusal::Draining => come_again(DRAINING, spread(RETRY_DRAINING), &text),
        Refusal::Analysis(features::Error::Rate(_)) => invalid("audio.sample_rate_hertz", &text),
        Refusal::Failed | Refusal::Analysis(_) => failed(),
    }
}

/// The stream is over and the call is not, or may begin anew at once.
fn come_again(reason: &str, after: Duration, text: &str) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(after));
    details.set_error_info(reason, REASON_DOMAIN, HashMap::new());
    Status::with_error_details(Code::Unavailable, text, details)
}

fn spread(least: Duration) -> Duration {
    let (random, ..) = uuid::Uuid::new_v4().as_fields();
    least.mul_f64(1.0 + RETRY_SPREAD * f64::from(random) / f64::from(u32::MAX))
}

fn exhausted(what: &str, text: String) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(RETRY_FULL));
    details.add_quota_failure_violation(what, &text);
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// The field that has to be set.
fn policy_subject(refusal: &Policy) -> &'static str {
    match refusal {
        Policy::NoNotice => "notice",
        Policy::ConsentRefused | Policy::NoConsent => "consent",
        Policy::Mixed | Policy::Unspecified | Policy::OnlyBots | Policy::NothingToAnalyse { .. } => "role",
    }
}

/// A message that is too long, or no message at all, is a value out of range as any other.
fn wire(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => {
            let limits = "a message of a call has at most 512 KiB, a chunk 256 KiB";
            invalid("message", &format!("{limits} ({})", status.message()))
        }
        Code::Internal => invalid("message", &format!("it cannot be decoded ({})", status.message())),
        _ => status,
    }
}
