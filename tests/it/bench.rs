//! The load tool, against a server of its own.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::harness::tiny;

/// A configuration with the tiny model and two threads, whose answers may cross. It admits what comes: what an unoptimised build would be
/// measured to carry, on a machine that has much else to do, says nothing.
fn config(dir: &tempfile::TempDir, session: &str) -> PathBuf {
    let file = dir.path().join("undertone.toml");
    let models = tiny().display().to_string();
    let session = format!("[session]\nmax_windows_per_second = 1000000\n{session}");
    fs::write(&file, format!("models = [{models:?}]\n[inference]\nthreads = 2\n{session}")).unwrap();
    file
}

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.arg("bench").args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn every_call_is_answered_in_order_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, "");
    // All are answered, however late; where no answer came in the time that is measured, that is told, and a longer one is measured.
    for seconds in ["2", "8", "32"] {
        let of_calls = ["--calls", "6", "--seconds", seconds, "--ramp", "0.2", "--speed", "4", "--connections", "2"];
        let output = bench(&[&of_calls[..], &["--config", config.to_str().unwrap(), "--json", "-"]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for (name, expected) in [("calls", 6), ("admitted", 6), ("refused", 0), ("errors", 0), ("out_of_order", 0)] {
            assert_eq!(told[name], expected, "{name} in {told}\n{stderr}");
        }
        if told["latency_ms"]["p95"].is_null() {
            assert!(told["shed"] != 0 || stderr.contains("set --seconds higher"), "{told}\n{stderr}");
            continue;
        }
        assert!(told["latency_ms"]["p95"].as_f64().unwrap() > 0.0, "{told}");
        for name in ["messages_per_second", "windows_per_second"] {
            assert!(told[name].as_f64().unwrap() > 0.0, "{name} in {told}");
        }
        #[cfg(target_os = "linux")]
        assert!(told["server_cpu_seconds_per_call_second"].as_f64().unwrap() > 0.0, "{told}");
        return;
    }
    panic!("nothing was scored while it was measured");
}

#[test]
fn the_limit_is_found_where_calls_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, "max_legs = 1\n");
    let file = dir.path().join("out.json");
    let (config, out) = (config.to_str().unwrap(), file.to_str().unwrap());
    let output = bench(&[
        "--calls",
        "2",
        "--seconds",
        "1",
        "--ramp",
        "0",
        "--speed",
        "8",
        "--find-limit",
        "--config",
        config,
        "--json",
        out,
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // Never two, since one of them is refused; one, unless this machine has too much else to do for it in time, which its steps say.
    let steps = |of: &str| stderr.lines().filter(|line| line.starts_with(of)).collect::<Vec<_>>();
    let (of_two, of_one) = (steps("2 calls: 1 admitted, 1 refused"), steps("1 calls: 1 admitted, 0 refused"));
    assert!(!of_two.is_empty() && of_two.iter().all(|step| step.ends_with("does not hold")), "{stderr}");
    let held = of_one.iter().any(|step| step.ends_with(": holds"));
    assert_eq!(told["limit_calls"].as_u64(), Some(u64::from(held)), "{told}\n{stderr}");
    // One step that holds is enough, and one that does not is tried again.
    assert_eq!(told["calls"].as_u64(), Some(1), "the report is of the last, or of what held: {told}\n{stderr}");
    assert!(held || of_one.len() == 2, "{stderr}");
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let output = bench(&["--to", "http://127.0.0.1:9", "--calls", "1", "--seconds", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("undertone serve") && stderr.lines().count() == 1, "{stderr}");
    let output = bench(&["--calls", "1", "--seconds", "1", "--chunk-ms", "2000"]);
    assert_eq!(output.status.code(), Some(2), "a chunk that does not fit");
    let output = bench(&["--calls", "1", "--seconds", "280", "--ramp", "6", "--find-limit"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && stderr.contains("5 minutes at most"), "{stderr}");
}

#[test]
fn what_keeps_a_bench_from_measuring_is_told() {
    let failed = |args: &[&str]| {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let load = ["--calls", "1", "--seconds", "1"];
    let (out, told) = failed(&[&load[..], &["--config", "/nope", "--json", "/nope/figures"]].concat());
    assert!(out.is_empty() && told.starts_with("undertone: cannot write /nope/figures"), "first of all: {told}");
    let (_, told) = failed(&[&load[..], &["--config", "/nope"]].concat());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].contains("/nope") && lines[1].ends_with("what kept it stands above"), "{told}");

    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, "");
    let of = ["--config", config.to_str().unwrap()];
    let (out, told) = failed(&[&load[..], &of, &["--model", "absent"]].concat());
    assert!(out.is_empty() && told.contains("(NOT_FOUND)") && told.contains("1 answer was"), "{told}");
    let step = ["--calls", "1", "--seconds", "0.1", "--ramp", "0", "--chunk-ms", "20", "--find-limit"];
    let (out, told) = failed(&[&step[..], &of].concat());
    assert!(out.is_empty() && told.contains("nothing was scored within a step of 0.1 s"), "{told}");
}

#[test]
fn calls_whose_streams_grow_old_go_on_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, "max_stream_age = '1s'\n");
    let config = config.to_str().unwrap();
    let output = bench(&["--calls", "4", "--seconds", "3", "--ramp", "0.2", "--config", config, "--json", "-"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, expected) in [("admitted", 4), ("errors", 0), ("out_of_order", 0)] {
        assert_eq!(told[name], expected, "{name} in {told}\n{stderr}");
    }
    assert!(told["resumed"].as_u64().unwrap() >= 4, "{told}");
}
