//! What a run came to: an object for programs, a table for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{
    load::{ARRIVALS, Measured},
    tally::histogram,
};

/// A load holds while the 95th percentile of its latency stays below this.
const HOLDS_BELOW_MS: f64 = 100.0;
/// A generator that sends later than this, at the 95th percentile, was itself what was overloaded.
const LATE_MS: f64 = 25.0;

/// What a run came to. The names are those of the command line's contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) calls: usize,
    pub(super) admitted: u64,
    refused: u64,
    /// How long it was measured.
    seconds: f64,
    messages_per_second: f64,
    windows_per_second: f64,
    latency_ms: Quantiles,
    shed: u64,
    pub(super) errors: u64,
    pub(super) out_of_order: u64,
    server_cpu_seconds_per_call_second: Option<f64>,
    server_bytes_per_call: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit_calls: Option<usize>,
    refusal_ms: Quantiles,
    /// Of the calls that were admitted, most windows that one lost, over the mean of all; 0 when none was shed.
    shed_most_over_mean: f64,
    not_scored: u64,
    /// Streams that grew too old, whose calls went on by another.
    resumed: u64,
    /// Most scored windows in 50 ms, over the mean.
    burst: f64,
    /// How much later than due the load was sent.
    late_ms: Late,
    #[serde(skip)]
    pub(super) problems: Vec<String>,
}

/// Milliseconds; `None` where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Quantiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Late {
    p50: f64,
    p95: f64,
    max: f64,
}

impl Report {
    pub(super) fn new(measured: Measured) -> Self {
        let Measured { options, seconds, audio, chunks, usage, memory_before, late, arrivals, tally } = measured;
        let arrived: u64 = arrivals.iter().sum();
        let cpu = usage.map(|(before, after)| (after.cpu_seconds - before.cpu_seconds) / audio.as_secs_f64());
        let memory = usage.zip(memory_before).map(|((_, after), before)| after.resident_bytes - before);
        Self {
            calls: options.calls,
            admitted: tally.admitted,
            refused: tally.refused,
            seconds: seconds.as_secs_f64(),
            messages_per_second: chunks as f64 / seconds.as_secs_f64(),
            windows_per_second: arrived as f64 / (ARRIVALS.as_secs_f64() * arrivals.len() as f64),
            latency_ms: Quantiles::of(&tally.latencies),
            shed: tally.shed(),
            errors: tally.errors,
            out_of_order: tally.out_of_order,
            server_cpu_seconds_per_call_second: cpu.filter(|cpu| cpu.is_finite()),
            server_bytes_per_call: memory.filter(|_| tally.admitted > 0).map(|bytes| bytes / tally.admitted as f64),
            limit_calls: None,
            refusal_ms: Quantiles::of(&tally.refusals),
            shed_most_over_mean: over_mean(&tally.sheds),
            not_scored: tally.not_scored,
            resumed: tally.resumed,
            burst: over_mean(&arrivals),
            late_ms: Late { p50: millis(late[0]), p95: millis(late[1]), max: millis(late[2]) },
            problems: tally.problems,
        }
    }

    /// What a server holds after a larger load says nothing of this one.
    pub(super) fn forget_memory(&mut self) {
        self.server_bytes_per_call = None;
    }

    /// Whether the server carried this load: every call taken and answered, nothing given up, in time.
    pub(super) fn holds(&self) -> bool {
        let whole = self.refused == 0 && self.shed == 0 && self.errors == 0 && self.out_of_order == 0;
        let timely = self.latency_ms.p95.is_some_and(|p95| p95 < HOLDS_BELOW_MS);
        whole && timely && !self.is_late()
    }

    /// Whether the load was not sent in time, so that the figures say little of the server.
    pub(super) fn is_late(&self) -> bool {
        self.late_ms.p95 > LATE_MS
    }

    /// Whether the server took calls and did nothing wrong, but the time was too short for a score.
    pub(super) fn measured_nothing(&self) -> bool {
        let well = self.refused == 0 && self.shed == 0 && self.errors == 0 && self.out_of_order == 0;
        self.admitted > 0 && well && self.latency_ms.p95.is_none()
    }

    /// Whether the server took no call, and not for want of room.
    pub(super) fn took_none(&self) -> bool {
        self.admitted == 0 && self.refused == 0
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let Self { calls, admitted, refused, shed, errors, .. } = self;
        format!(
            "{calls} calls: {admitted} admitted, {refused} refused, p95 {}, {shed} shed, {errors} errors: {}",
            told(self.latency_ms.p95, "ms"),
            if self.holds() { "holds" } else { "does not hold" }
        )
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let latency = self.latency_ms;
        let micros = self.server_cpu_seconds_per_call_second.map(|seconds| seconds * 1e6);
        let kibibytes = self.server_bytes_per_call.map(|bytes| bytes / 1024.0);
        let mut rows = vec![
            ("calls", self.calls.to_string()),
            ("admitted", self.admitted.to_string()),
            ("refused", self.refused.to_string()),
            ("measured", format!("{:.1} s", self.seconds)),
            ("messages", format!("{:.0} a second", self.messages_per_second)),
            ("windows scored", format!("{:.0} a second", self.windows_per_second)),
            ("most in 50 ms, over the mean", format!("{:.2}", self.burst)),
            ("latency, median", told(latency.p50, "ms")),
            ("latency, 95 %", told(latency.p95, "ms")),
            ("latency, 99 %", told(latency.p99, "ms")),
            ("latency, most", told(latency.max, "ms")),
            ("windows shed", self.shed.to_string()),
            ("errors", self.errors.to_string()),
            ("out of order", self.out_of_order.to_string()),
            ("server's CPU", told(micros, "µs a second of call")),
            ("server's memory", told(kibibytes, "KiB a call")),
            ("load sent late, 95 %", format!("{:.0} ms", self.late_ms.p95)),
        ];
        if self.refused > 0 {
            rows.push(("refused within, 95 %", told(self.refusal_ms.p95, "ms")));
        }
        if self.shed > 0 {
            rows.push(("most shed of a call, over the mean", format!("{:.2}", self.shed_most_over_mean)));
        }
        if self.resumed > 0 {
            rows.push(("streams too old, calls went on", self.resumed.to_string()));
        }
        if let Some(limit) = self.limit_calls {
            rows.push(("limit", format!("{limit} calls")));
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

impl Quantiles {
    fn of(durations: &[Duration]) -> Self {
        let histogram = histogram(durations);
        let at = |part: f64| (!durations.is_empty()).then(|| histogram.value_at_quantile(part) as f64 / 1000.0);
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// The largest over the mean; 0 when all are 0.
fn over_mean(counts: &[u64]) -> f64 {
    let sum: u64 = counts.iter().sum();
    let most = counts.iter().max().copied().unwrap_or(0);
    if sum == 0 { 0.0 } else { most as f64 * counts.len() as f64 / sum as f64 }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn told(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::{load::Options, tally::Tally, target::Usage};

    fn measured(tally: Tally) -> Measured {
        let options = Options {
            calls: 2,
            seconds: Duration::from_secs(1),
            ramp: Duration::ZERO,
            speed: 1.0,
            connections: 1,
            model: None,
            stride: None,
        };
        let usage = |cpu_seconds, resident_bytes| Usage { cpu_seconds, resident_bytes };
        Measured {
            options,
            seconds: Duration::from_secs(1),
            audio: Duration::from_secs(2),
            chunks: 20,
            usage: Some((usage(1.0, 5000.0), usage(1.5, 6000.0))),
            memory_before: Some(4000.0),
            late: [Duration::from_millis(1); 3],
            arrivals: vec![1, 3],
            tally,
        }
    }

    fn held() -> Tally {
        Tally { admitted: 2, sheds: vec![0, 0], latencies: vec![Duration::from_millis(7); 4], ..Tally::default() }
    }

    #[test]
    fn what_the_server_used_is_told_by_the_call() {
        let report = Report::new(measured(held()));
        assert!(report.holds(), "{report:?}");
        assert_eq!(report.server_cpu_seconds_per_call_second, Some(0.25));
        assert_eq!(report.server_bytes_per_call, Some(1000.0));
        assert_eq!((report.messages_per_second, report.windows_per_second, report.burst), (20.0, 40.0, 1.5));
        assert!((report.latency_ms.p95.unwrap() - 7.0).abs() < 0.01, "{report:?}");
    }

    #[test]
    fn a_load_does_not_hold_when_anything_is_missing_or_late() {
        let fails = |change: fn(&mut Measured)| {
            let mut measured = measured(held());
            change(&mut measured);
            !Report::new(measured).holds()
        };
        assert!(fails(|measured| measured.tally.refused = 1));
        assert!(fails(|measured| measured.tally.sheds[0] = 1));
        assert!(fails(|measured| measured.tally.errors = 1));
        assert!(fails(|measured| measured.tally.out_of_order = 1));
        assert!(fails(|measured| measured.tally.latencies = vec![Duration::from_millis(101)]));
        assert!(fails(|measured| measured.tally.latencies.clear()));
        assert!(fails(|measured| measured.late[1] = Duration::from_millis(26)));
    }

    #[test]
    fn the_object_has_the_names_of_the_contract() {
        let object = serde_json::to_value(Report::new(measured(held()))).unwrap();
        for name in [
            "calls",
            "admitted",
            "refused",
            "seconds",
            "messages_per_second",
            "windows_per_second",
            "shed",
            "errors",
            "out_of_order",
            "server_cpu_seconds_per_call_second",
            "server_bytes_per_call",
        ] {
            assert!(object[name].is_number(), "{name} in {object}");
        }
        for name in ["p50", "p95", "p99", "max"] {
            assert!(object["latency_ms"][name].is_number(), "{name} in {object}");
        }
        assert!(object.get("limit_calls").is_none());
    }
}
