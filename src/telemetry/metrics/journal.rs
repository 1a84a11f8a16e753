//! What is measured of the journal.

use metrics::{Counter, Gauge, Histogram, Recorder};

use super::{Counters, Registration};

const ENTRIES: &str = "undertone_journal_entries_total";
const LOST: &str = "undertone_journal_lost_total";
const FAILURES: &str = "undertone_journal_failures_total";
const WAITING: &str = "undertone_journal_waiting_entries";
const WRITABLE: &str = "undertone_journal_writable";
const EXPIRED: &str = "undertone_journal_expired_total";
pub(super) const APPEND: &str = "undertone_journal_append_seconds";

/// What an entry is.
pub const ENTRY_KINDS: [&str; 6] = ["call", "timeline", "alert", "action", "subject", "audit"];
/// Why the journal did not do what was asked.
pub const JOURNAL_FAILURES: [&str; 5] = ["full", "unreachable", "closed", "unknown_sequence", "storage"];

/// A write that the disk confirms takes a fraction of a millisecond to tens of them; a NATS server across a network about one.
pub(super) const APPEND_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0, 5.0];

/// What is measured of a server's journal. Made once a server.
#[derive(Clone)]
pub struct JournalMetrics {
    /// Entries appended, by [`ENTRY_KINDS`].
    pub entries_total: Counters,
    /// Entries that could not be kept, by [`ENTRY_KINDS`].
    pub lost_total: Counters,
    /// Requests that failed, by [`JOURNAL_FAILURES`].
    pub failures_total: Counters,
    /// Entries that wait to be written.
    pub waiting: Gauge,
    /// 1 while the journal can be written, 0 after a write that failed.
    pub writable: Gauge,
    /// Entries deleted because their time to live was over.
    pub expired_total: Counter,
    /// From handing entries in until they will survive.
    pub append_seconds: Histogram,
}

impl JournalMetrics {
    /// All handles, from this recorder.
    pub fn new(recorder: &dyn Recorder) -> Self {
        let from = Registration { recorder, model: None };
        let metrics = Self {
            entries_total: from.counters(ENTRIES, "Entries appended to the journal.", "kind", &ENTRY_KINDS),
            lost_total: from.counters(LOST, "Entries that the journal could not keep.", "kind", &ENTRY_KINDS),
            failures_total: from.counters(FAILURES, "What the journal could not do.", "reason", &JOURNAL_FAILURES),
            waiting: from.gauge(WAITING, "Entries that wait to be written to the journal."),
            writable: from.gauge(WRITABLE, "Whether the journal can be written."),
            expired_total: from.counter(EXPIRED, "Entries deleted because their time to live was over."),
            append_seconds: from.histogram(APPEND, "From handing entries in until the journal will keep them."),
        };
        metrics.writable.set(1.0);
        metrics
    }
}
