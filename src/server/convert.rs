//! Between the API's messages and the domain's: [`request`] and [`supervise`] check every field's range; [`response`], [`live`] and
//! [`kept`] only rename.

mod kept;
mod live;
mod request;
mod response;
mod supervise;

pub(super) use kept::{alert_entry, complete, ended_leg, kept_alert, kept_legs, registration};
pub(super) use live::live_call;
pub(super) use request::{call, input, no_message, recording};
pub(super) use response::{analyze_response, classify_response, count, model};
pub(super) use supervise::{
    AlertFilter, CallFilter, Listing, Watch, alert_id, alert_listing, by, by_with_reason, call_id, call_listing,
    registration as to_register, snooze, subject, watch_alerts, watch_calls, withdrawn_leg,
};
