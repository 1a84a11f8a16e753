//! Between the API's messages and the domain's: [`request`] checks every field's range, [`response`] only renames.

mod kept;
mod request;
mod response;

pub(super) use kept::kept_alert;
pub(super) use request::{call, input, no_message, recording};
pub(super) use response::{analyze_response, classify_response, model};
