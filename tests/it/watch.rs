//! `undertone watch` against a real server: what it prints, over a break too, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::mpsc;
use undertone::{decision::Rules, server::proto::EndReason};

use crate::harness::{ALWAYS, Call, Harness, PATIENCE, customer, voice, within};

/// The command, and its lines as they come.
struct Watch {
    child: Child,
    lines: mpsc::UnboundedReceiver<Value>,
    seen: Vec<Value>,
}

fn command(to: SocketAddr, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.args(["watch", "--to", &format!("http://{to}")]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
    command
}

impl Watch {
    fn start(to: SocketAddr, more: &[&str]) -> Self {
        let mut child = command(to, more).arg("--json").stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let out: ChildStdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // The test may have seen enough.
                let _ = sender.send(serde_json::from_str(&line).expect("a line is one JSON object"));
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Reads on until a line is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = within(what, self.lines.recv()).await.unwrap_or_else(|| panic!("no {what} in {:?}", self.seen));
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    async fn until_alert(&mut self, call_id: &str, state: &str) -> Value {
        let wanted = |line: &Value| {
            let alert = &line["alert"]["alert"];
            alert["callId"] == call_id && alert["state"] == format!("ALERT_STATE_{state}")
        };
        self.until(state, wanted).await
    }

    /// Call, revision and sequence of each change that was printed.
    fn changes(&self) -> Vec<(String, i64, i64)> {
        let alerts = self.seen.iter().filter_map(|line| line.get("alert"));
        let change = |entry: &Value| {
            let sequence = entry["sequence"].as_str().unwrap().parse().unwrap();
            (
                entry["alert"]["callId"].as_str().unwrap().to_owned(),
                entry["alert"]["revision"].as_i64().unwrap(),
                sequence,
            )
        };
        alerts.map(change).collect()
    }

    /// Sends the signal of Ctrl-C. The exit status.
    async fn interrupted(mut self) -> Option<i32> {
        let interrupt = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(interrupt.success());
        ended(&mut self.child).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ended(child: &mut Child) -> Option<i32> {
    let began = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(began.elapsed() < PATIENCE, "it did not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server whose alerts fire on any speech, with its journal in this file.
async fn server(path: PathBuf, listen: Option<SocketAddr>) -> Harness {
    let harness = Harness::with(|config| {
        config.listen = listen.unwrap_or(config.listen);
        config.journal.path = Some(path);
        config.journal.node = Some("a".to_owned());
    })
    .await;
    harness.server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
    harness
}

async fn speaking(harness: &Harness, call_id: &str) -> Call {
    let call = harness.call(customer(call_id)).await;
    call.speak(&voice(6.0)).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_its_alert_are_printed_as_they_happen() {
    let dir = tempfile::tempdir().unwrap();
    let harness = server(dir.path().join("journal.db"), None).await;
    let mut watch = Watch::start(harness.server.grpc(), &[]);
    // It watches once it says that nothing happened.
    watch.until("heartbeat", |line| line.get("heartbeat").is_some()).await;
    let call = speaking(&harness, "c").await;
    let fired = watch.until_alert("c", "FIRING").await;
    let alert = &fired["alert"]["alert"];
    assert_eq!((&alert["rule"], &alert["evidence"]["model"]), (&Value::from("always"), &Value::from("tiny")));
    assert_eq!(fired["sequence"], fired["alert"]["sequence"]);
    let heard = |line: &Value| line["calls"][0]["legs"][0]["smoothed"].is_object();
    let told = if let Some(line) = watch.seen.iter().find(|line| heard(line)) {
        line.clone()
    } else {
        watch.until("a smoothed emotion", heard).await
    };
    assert_eq!(
        (&told["calls"][0]["callId"], &told["calls"][0]["legs"][0]["role"]),
        (&"c".into(), &"ROLE_CUSTOMER".into())
    );
    call.end().await.summaries(EndReason::Completed);
    watch.until_alert("c", "RESOLVED").await;
    let session_id = told["calls"][0]["sessionId"].clone();
    let ended = |line: &Value| line["endedSessionIds"].as_array().is_some_and(|ids| ids.contains(&session_id));
    if !watch.seen.iter().any(ended) {
        watch.until("the call's end", ended).await;
    }
    assert_eq!(watch.interrupted().await, Some(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_server_nothing_is_printed_twice_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let harness = server(path.clone(), None).await;
    let address = harness.server.grpc();
    // What was before is told too.
    speaking(&harness, "before").await.end().await.summaries(EndReason::Completed);
    let mut watch = Watch::start(address, &["--from", "0"]);
    watch.until_alert("before", "RESOLVED").await;
    let call = speaking(&harness, "during").await;
    watch.until_alert("during", "FIRING").await;
    // The call ends with the server, and its alert with it.
    harness.stop().await;
    drop(call);
    let harness = server(path, Some(address)).await;
    speaking(&harness, "after").await.end().await.summaries(EndReason::Completed);
    watch.until_alert("after", "RESOLVED").await;
    let changes = watch.changes();
    let calls: Vec<(&str, i64)> = changes.iter().map(|(call, revision, _)| (call.as_str(), *revision)).collect();
    let expected = [("before", 1), ("before", 2), ("during", 1), ("during", 2), ("after", 1), ("after", 2)];
    assert_eq!(calls, expected);
    assert!(changes.is_sorted_by(|a, b| a.2 < b.2), "{changes:?}");
    assert_eq!(watch.interrupted().await, Some(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_are_open_are_printed_first_and_a_closed_pipe_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let harness = server(dir.path().join("journal.db"), None).await;
    speaking(&harness, "over").await.end().await.summaries(EndReason::Completed);
    let call = speaking(&harness, "open").await;
    eventually!(harness.metric("undertone_journal_entries_total{kind=\"alert\"}"), "3");
    let mut child = command(harness.server.grpc(), &["--json"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["alert"]["alert"]["callId"], "open", "{line}");
    drop(out);
    call.end().await.summaries(EndReason::Completed);
    assert_eq!(ended(&mut child).await, Some(0));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, "");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_watched_is_told_in_one_line() {
    let harness = Harness::start().await;
    let complaint = |to, more: &[&str]| {
        let output = command(to, more).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty() && text.lines().count() == 1, "{text}");
        (output.status.code(), text)
    };
    let (status, text) = complaint(harness.server.grpc(), &[]);
    assert!(status == Some(2) && text.contains("--json"), "{text}");
    let (status, text) = complaint(harness.server.grpc(), &["--json", "--from", "999"]);
    assert!(status == Some(1) && text.contains("999") && text.contains("OUT_OF_RANGE"), "{text}");
    let (status, text) = complaint(harness.server.admin(), &["--json"]);
    assert!(status == Some(1), "{text}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, text) = complaint(nobody, &["--json"]);
    assert!(status == Some(1) && text.contains("cannot reach"), "{text}");
    harness.stop().await;
}
