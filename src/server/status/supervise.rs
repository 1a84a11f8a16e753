//! Which status a supervisor gets for what.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{RETRY_DRAINING, RETRY_FULL, exhausted, precondition};
use crate::{journal, session::Denied};

/// Why an action was not done.
pub(super) fn denied(denied: &Denied) -> Status {
    let text = denied.to_string();
    match denied {
        Denied::NoAlert { alert_id } => not_found("undertone.v1.Alert", alert_id, &text),
        Denied::Unknown { what, id } => not_found(what, id, &text),
        Denied::Over { alert_id } => precondition("ALERT", alert_id, &text),
        Denied::TooManyRegistrations { .. } => exhausted("registrations", text),
        Denied::NoAnswer { .. } | Denied::NotDeletedYet | Denied::NotToldYet => unavailable(text),
        Denied::Journal(error) => journal_failed(error, text),
    }
}

/// More watch already than may.
pub(super) fn too_many_watchers(limit: usize) -> Status {
    let text = format!("{limit} watch already, which is session.max_watchers; try again later, or on another server");
    exhausted("watchers", text)
}

fn journal_failed(error: &journal::Error, text: String) -> Status {
    match error {
        journal::Error::UnknownSequence { .. } => {
            let details = ErrorDetails::with_bad_request_violation("after_sequence", &text);
            Status::with_error_details(Code::OutOfRange, text, details)
        }
        journal::Error::Closed | journal::Error::Unreachable { .. } => unavailable(text),
        journal::Error::Full { .. } => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_FULL));
            Status::with_error_details(Code::Unavailable, text, details)
        }
        // What the storage said stands in the logs, with paths that are nobody's business.
        journal::Error::Open { .. }
        | journal::Error::InUse { .. }
        | journal::Error::Foreign { .. }
        | journal::Error::Newer { .. }
        | journal::Error::Damaged { .. }
        | journal::Error::Storage { .. } => {
            tracing::error!(%error, "the journal failed");
            Status::internal("the journal failed; see this server's logs")
        }
    }
}

fn not_found(what: &str, name: &str, text: &str) -> Status {
    Status::with_error_details(Code::NotFound, text, ErrorDetails::with_resource_info(what, name, "", text))
}

fn unavailable(text: String) -> Status {
    Status::with_error_details(Code::Unavailable, text, ErrorDetails::with_retry_info(Some(RETRY_DRAINING)))
}
