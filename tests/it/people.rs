//! The commands for people, as they are typed: what they print, and how they end.

use std::{
    fs,
    io::{BufRead as _, BufReader, Cursor},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use undertone::decision::Rules;

use crate::{
    harness::{Harness, tiny},
    startup::Program,
};

fn undertone(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.args(args).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Standard output and standard error of a command that ended with this status.
fn ended(status: i32, output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
    (out, err)
}

/// The demo's call: 54 s of µ-law.
fn call_wav() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/call.wav")
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn classify_tells_the_fields_of_its_contract_and_keeps_every_window() {
    let dir = tempfile::tempdir().unwrap();
    let scores = dir.path().join("scores.jsonl");
    let mut command = undertone(&["classify", "--json", "--model"]);
    let output = command.arg(tiny()).arg("--scores").arg(&scores).arg(call_wav()).output().unwrap();
    let (out, err) = ended(0, &output);
    assert_eq!(err, "");
    let [heard] = json_lines(&out).try_into().unwrap();
    let seconds = heard["speech_seconds"].to_string();
    assert!(seconds.len() <= "12.345678".len(), "{seconds}");
    assert!(heard["file"].as_str().unwrap().ends_with("call.wav"));
    assert!(heard["label"].is_string());
    assert!((20.0..54.0).contains(&heard["speech_seconds"].as_f64().unwrap()), "{heard}");
    let probabilities = heard["probabilities"].as_object().unwrap();
    let sum: f64 = probabilities.values().map(|value| value.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{heard}");
    let most = probabilities.values().map(|value| value.as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(heard["confidence"].as_f64(), Some(most));

    let scores = json_lines(&fs::read_to_string(&scores).unwrap());
    let scored: Vec<_> = scores.iter().filter(|score| score["not_scored_reason"].is_null()).collect();
    assert_eq!(scored.len() as u64, heard["windows"].as_u64().unwrap());
    assert!(scored.iter().all(|score| score["probabilities"].is_object() && score["role"] == "CUSTOMER"));
    let mean = |label: &str| {
        let values = scored.iter().map(|score| score["probabilities"][label].as_f64().unwrap());
        values.sum::<f64>() / scored.len() as f64
    };
    assert!((mean("angry") - probabilities["angry"].as_f64().unwrap()).abs() < 1e-4);
}

#[test]
fn classify_keeps_the_scores_of_all_files_though_nobody_reads_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let clips = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d");
    let clips: Vec<PathBuf> = fs::read_dir(clips).unwrap().map(|entry| entry.unwrap().path()).take(3).collect();
    let classify = |out: Stdio, scores: &PathBuf| {
        let mut command = undertone(&["classify", "--json", "--model"]);
        command.arg(tiny()).arg("--scores").arg(scores).args(&clips).stdout(out).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let (read, unread) = (dir.path().join("read.jsonl"), dir.path().join("unread.jsonl"));
    ended(0, &classify(Stdio::piped(), &read).wait_with_output().unwrap());
    let mut command = classify(Stdio::piped(), &unread);
    drop(command.stdout.take());
    ended(0, &command.wait_with_output().unwrap());
    assert_eq!(fs::read_to_string(unread).unwrap(), fs::read_to_string(read).unwrap());
}

#[test]
fn a_name_takes_one_line_and_a_folder_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("two\nlines.wav");
    fs::copy(call_wav(), &odd).unwrap();
    let (out, _) = ended(0, &undertone(&["classify", "--model"]).arg(tiny()).arg(&odd).output().unwrap());
    assert!(out.lines().count() == 2 && out.contains("two\\nlines.wav"), "{out}");
    let (_, err) = ended(1, &undertone(&["classify", "--model"]).arg(tiny()).arg(dir.path()).output().unwrap());
    assert!(err.contains("is a folder; name files, such as") && err.lines().count() == 1, "{err}");
}

#[test]
fn more_channels_than_a_call_has_are_refused_whatever_is_said_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let three = dir.path().join("three.wav");
    let spec =
        hound::WavSpec { channels: 3, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(&three, spec).unwrap();
    (0..2400).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();
    for roles in ["customer", "customer,agent,bot"] {
        let mut command = undertone(&["call", "--to", "127.0.0.1:9", "--roles", roles]);
        let (_, err) = ended(2, &command.arg(&three).output().unwrap());
        assert!(err.contains("three.wav has 3 channels; a call has 1 or 2"), "{err}");
    }
}

#[test]
fn replay_says_that_there_is_nothing_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let (none, rules) = (dir.path().join("none"), PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/rules.toml"));
    fs::write(&none, "").unwrap();
    let (out, err) = ended(0, &undertone(&["replay"]).arg(&rules).arg(&none).output().unwrap());
    assert!(out.is_empty() && err.lines().count() == 1 && err.contains("none hold no row"), "{err}");
    let (out, err) = ended(0, &undertone(&["replay"]).arg(&none).arg(&none).output().unwrap());
    assert!(out.is_empty() && err.lines().count() == 2 && err.contains("none hold no [[rule]]"), "{err}");
}

#[test]
fn replay_says_that_no_alert_fires_and_what_is_no_file_of_scores() {
    let dir = tempfile::tempdir().unwrap();
    let (scores, rules) = (dir.path().join("scores.jsonl"), dir.path().join("rules.toml"));
    let row = "{\"file\":\"a.wav\",\"leg\":\"customer\",\"role\":\"CUSTOMER\",\"start_seconds\":0,\"end_seconds\":9,\
        \"speech_seconds\":9,\"not_scored_reason\":null,\"probabilities\":{\"angry\":0.1,\"calm\":0.9},\"model\":\"m\",\"sha256\":\"0\"}\n";
    fs::write(&scores, row).unwrap();
    let rule = |emotion: &str, enter: &str| {
        let more = "min_windows = 1\nmin_speech_seconds = 0.0\n";
        fs::write(&rules, format!("[[rule]]\nname = 'r'\nemotions = ['{emotion}']\nenter = {enter}\n{more}")).unwrap();
        undertone(&["replay"]).arg(&rules).arg(&scores).output().unwrap()
    };
    let (out, err) = ended(0, &rule("angry", "0.4"));
    assert!(out.is_empty() && err.lines().count() == 1 && err.contains("no alert fires under the rules"), "{err}");
    let (out, err) = ended(0, &rule("calm", "0.4"));
    assert!(out.contains("r FIRING") && err.is_empty(), "{out}{err}");
    let (_, err) = ended(1, &rule("joyful", "0.4"));
    assert!(err.contains("which these scores do not tell; they tell angry, calm") && !err.contains("service"), "{err}");
    let (_, err) = ended(1, &undertone(&["replay"]).arg(&rules).arg(&rules).output().unwrap());
    assert!(err.contains("rules.toml, line 1: this is no JSON object; expected a row of scores"), "{err}");
}

#[test]
fn classify_does_the_other_files_when_one_is_bad() {
    let dir = tempfile::tempdir().unwrap();
    let noise = dir.path().join("noise.wav");
    fs::write(&noise, "this is no audio").unwrap();
    let mut command = undertone(&["classify", "--model"]);
    let output = command.arg(tiny()).arg("absent.wav").arg(call_wav()).arg(&noise).output().unwrap();
    let (out, err) = ended(1, &output);
    assert!(out.lines().next().unwrap().contains("confidence") && out.contains("call.wav"), "{out}");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].contains("absent.wav") && lines[1].contains("noise.wav") && lines[2].contains("2 of 3"), "{err}");
}

#[test]
fn one_bad_file_is_one_line() {
    for (args, told) in [
        (["classify", "absent.wav"], "absent.wav"),
        (["classify", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], "Cargo.toml"),
    ] {
        let (out, err) = ended(1, &undertone(&args).arg("--model").arg(tiny()).output().unwrap());
        assert_eq!((out.as_str(), err.lines().count()), ("", 1), "{err}");
        assert!(err.contains(told), "{err}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    ended(2, &undertone(&["classify"]).output().unwrap());
    ended(2, &undertone(&["call", "x.wav"]).output().unwrap());
    let mut command = undertone(&["call", "--to", "127.0.0.1:9", "--roles", "customer,agent"]);
    let (_, err) = ended(2, &command.arg(call_wav()).output().unwrap());
    assert!(err.contains("1 channel") && err.lines().count() == 1, "{err}");
    let mut command = undertone(&["call", "--to", "https://127.0.0.1:9"]);
    let (_, err) = ended(2, &command.arg(call_wav()).output().unwrap());
    assert!(err.contains("TLS") && err.lines().count() == 1, "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_prints_every_response_as_proto3_json() {
    let harness = Harness::start().await;
    let to = harness.server.grpc().to_string();
    for encoding in ["mulaw", "alaw", "linear16"] {
        let mut command = undertone(&["call", "--json", "--speed", "50", "--chunk-ms", "100", "--to", &to]);
        command.args(["--encoding", encoding]).arg(call_wav());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (out, err) = ended(0, &output);
        assert_eq!(err, "");
        let lines = json_lines(&out);
        assert!(lines[0]["acknowledgement"]["sessionId"].is_string(), "{}", lines[0]);
        assert_eq!(lines[0]["acknowledgement"]["stride"], "0.500s");
        let events: Vec<_> = lines.iter().filter_map(|line| line.get("event")).collect();
        assert_eq!(events[0]["sequence"], "1");
        assert!(events.iter().any(|event| event["emotion"]["label"].is_string()));
        let summary = &lines.last().unwrap()["summary"];
        assert_eq!(summary["endReason"], "END_REASON_COMPLETED");
        // The file's bytes without the header of 58 and the padding of one.
        assert_eq!(summary["receivedSamples"], "429929");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_says_what_the_server_refuses() {
    let harness = Harness::start().await;
    let to = format!("http://{}", harness.server.grpc());
    let mut command = undertone(&["call", "--model", "absent", "--to", &to]);
    command.arg(call_wav());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (_, err) = ended(1, &output);
    assert!(err.contains("NOT_FOUND") && err.contains("tiny") && err.lines().count() == 1, "{err}");
    harness.stop().await;
}

#[test]
fn call_says_where_nobody_answers() {
    // Bound and let go: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (_, err) = ended(1, &undertone(&["call", "--to", &address]).arg(call_wav()).output().unwrap());
    assert!(err.contains(&address) && err.contains("undertone serve") && err.lines().count() == 1, "{err}");
}

#[test]
fn call_says_that_the_connection_broke_off() {
    let (server, grpc, _) = Program::start();
    let mut command = undertone(&["call", "--to", &grpc.to_string()]);
    let mut call = command.arg(call_wav()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It lasts 54 s, and the server is gone once it has begun.
    let mut line = String::new();
    BufReader::new(call.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("model tiny"), "{line}");
    drop(server);
    let (_, err) = ended(1, &call.wait_with_output().unwrap());
    assert!(err.contains("broke off") && err.contains("call again") && err.lines().count() == 1, "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_says_that_something_else_answers() {
    let harness = Harness::start().await;
    let mut command = undertone(&["call", "--to", &harness.server.admin().to_string()]);
    command.arg(call_wav());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (_, err) = ended(1, &output);
    assert!(err.contains("gRPC port") && err.lines().count() == 1, "{err}");
    harness.stop().await;
}

#[test]
fn a_damaged_file_is_told_in_one_line_without_what_the_reader_logs() {
    let dir = tempfile::tempdir().unwrap();
    let whole = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d/1002_DFA_DIS_XX.flac");
    let bytes = fs::read(whole).unwrap();
    let cut_short = dir.path().join("cut short.flac");
    fs::write(&cut_short, &bytes[..bytes.len() / 2]).unwrap();
    let mut header = hound_wav();
    header[22..24].copy_from_slice(&0xFF01_u16.to_le_bytes());
    let nonsense = dir.path().join("nonsense.wav");
    fs::write(&nonsense, header).unwrap();
    for file in [cut_short, nonsense] {
        let (_, err) = ended(1, &undertone(&["classify", "--model"]).arg(tiny()).arg(&file).output().unwrap());
        assert!(err.contains("no readable") && err.lines().count() == 1, "{err}");
    }
}

/// The bytes of a WAV of a tenth of a second.
fn hound_wav() -> Vec<u8> {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    (0..800).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

#[test]
fn demo_that_stays_prints_a_command_that_works() {
    let mut command = undertone(&["demo", "--keep", "--speed", "30", "--model"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg(tiny()).stdout(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let told = lines.find(|line| line.contains(" call ") && line.contains("--to")).expect("a command to try");
    let words: Vec<&str> = told.split_whitespace().collect();
    let [program, call, recording, to, url] = words[..] else { panic!("{told}") };
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args([call, recording, to, url, "--speed", "50"]);
    ended(0, &command.output().unwrap());
    assert!(lines.any(|line| line.contains("/metrics")), "where metrics are");
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(demo.wait().unwrap().success());
}

/// Of a line such as `   14.4 s to 19.5 s, 7 windows: level 0.74, at most 0.74 at 19.5 s`: its numbers.
fn numbers(line: &str) -> Vec<f64> {
    line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

/// What `make demo` is for: with the model and the rules that are shipped, the acted anger is told, with what it rests on, and is over
/// when the caller has calmed down.
#[test]
fn demo_shows_an_alert_rising_its_evidence_and_its_end_with_the_shipped_model_and_rules() {
    let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/telephone");
    let (out, err) = ended(0, &undertone(&["demo", "--speed", "20", "--model"]).arg(model).output().unwrap());
    assert_eq!(err, "");
    assert!(out.contains("model telephone "), "{out}");
    let truth = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/call.tsv")).unwrap();
    let acted: Vec<(f64, f64)> = truth
        .lines()
        .filter(|line| line.split('\t').nth(2) == Some("angry"))
        .map(|line| {
            let mut fields = line.split('\t').map(|field| field.parse().unwrap_or_default());
            (fields.next().unwrap(), fields.next().unwrap())
        })
        .collect();
    let (begins, ends) = (acted[0].0, acted[acted.len() - 1].1);
    let rules = Rules::shipped();
    let rule = &rules.rules[0];

    let lines: Vec<&str> = out.lines().collect();
    let alerts: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains("ALERT")).collect();
    let [rose, over] = alerts[..] else { panic!("{} alerts in\n{out}", alerts.len()) };
    let told = |at: usize, what: &str| {
        assert!(lines[at].contains(&format!("customer  ALERT {} {what}", rule.name)), "{}", lines[at]);
        numbers(lines[at])[0]
    };
    let rose_at = told(rose, "firing (warning, rose)");
    assert!(begins < rose_at && rose_at <= ends, "it rose at {rose_at} s, acted {begins} to {ends} s:\n{out}");
    assert_eq!(numbers(lines[rose - 1])[0], rose_at, "after the decision that made it: {}", lines[rose - 1]);
    let [from, to, windows, level, peak, peak_at] = numbers(lines[rose + 1])[..] else { panic!("{}", lines[rose + 1]) };
    assert!(begins - 2.0 <= from && from < to && (to - rose_at).abs() < 0.1 && peak_at <= to, "{}", lines[rose + 1]);
    assert!(
        windows >= f64::from(rule.min_windows) && level + 0.01 >= rule.enter && peak >= level,
        "{}",
        lines[rose + 1]
    );

    let over_at = told(over, "resolved (warning, calmed)");
    assert!(over_at >= rose_at + rule.keep_firing_seconds, "{over_at} s after {rose_at} s");
    let [again_from, until, _, level, highest, _] = numbers(lines[over + 1])[..] else { panic!("{}", lines[over + 1]) };
    // It may calm in a pause: what it rests on ends with the last window before.
    assert!(again_from == from && to < until && until < over_at + 0.1 && highest >= peak, "{}", lines[over + 1]);
    assert!(level < rule.leave() + 0.01, "{}", lines[over + 1]);
    let summary = lines.iter().position(|line| line.starts_with("summary of customer (completed)")).unwrap();
    assert!(over < summary, "it is over before the call is");
}

#[test]
fn demo_prints_a_timeline_and_ends_well() {
    let (out, err) = ended(0, &undertone(&["demo", "--speed", "30", "--model"]).arg(tiny()).output().unwrap());
    assert_eq!(err, "");
    for told in ["model tiny", "acted", "decisions", "summary of customer (completed)"] {
        assert!(out.contains(told), "no {told} in\n{out}");
    }
    for label in ["neutral", "angry", "sad", "happy"] {
        assert!(out.lines().any(|line| line.contains(&format!(" s  {label} "))), "no {label} in\n{out}");
    }
}
