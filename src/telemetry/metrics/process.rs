//! The process itself, by the names that every Prometheus client gives. Written beside the recorder's text, because its counters hold
//! whole numbers and CPU is told in hundredths of a second.

use std::fmt::Write as _;

use metrics_process::collector;

/// CPU time of all threads, user and system.
pub const CPU_SECONDS: &str = "process_cpu_seconds_total";
/// Memory that is in RAM.
pub const RESIDENT_BYTES: &str = "process_resident_memory_bytes";

/// The process's metrics in Prometheus's text format; what this system does not tell is left out.
pub fn render() -> String {
    let told = collector::collect();
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    let metrics = [
        (CPU_SECONDS, "counter", "Total user and system CPU time spent in seconds.", told.cpu_seconds_total),
        (RESIDENT_BYTES, "gauge", "Resident memory size in bytes.", whole(told.resident_memory_bytes)),
        ("process_open_fds", "gauge", "Number of open file descriptors.", whole(told.open_fds)),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", whole(told.max_fds)),
        ("process_threads", "gauge", "Number of OS threads in the process.", whole(told.threads)),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            whole(told.start_time_seconds),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in metrics {
        if let Some(value) = value {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn cpu_and_memory_are_told() {
        let text = render();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
            line.parse().unwrap()
        };
        assert!(value(RESIDENT_BYTES) > 1e6, "{text}");
        assert!(value(CPU_SECONDS) >= 0.0, "{text}");
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
    }
}
