//! `undertone call` that is ended before its recording is: by a signal, by whoever read its output, or by force; and the same call again.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{
    harness::{Harness, within},
    startup::Program,
};

/// A call that is played, its responses as JSON.
struct Played {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Played {
    fn begin(to: &str, speed: &str) -> Self {
        let recording = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/call.wav");
        let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
        command.args(["call", "--json", "--call-id", "demo", "--to", to, "--speed", speed]).arg(recording);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Reads until so many events have come.
    fn hear(&mut self, events: usize) {
        (0..events).for_each(|_| while self.line().get("event").is_none() {});
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What else was printed, the status, and standard error.
    async fn ended(mut self) -> (Vec<Value>, Option<i32>, String) {
        let reading = tokio::task::spawn_blocking(move || {
            let lines = self.lines.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
            let mut told = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            (lines, self.child.wait().unwrap().code(), told)
        });
        within("the end of the call", reading).await.unwrap()
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// A server that keeps broken calls for as long as it does by default.
async fn keeping() -> (Harness, String) {
    let harness = Harness::with(|config| config.session.resume_grace = Duration::from_secs(30)).await;
    let to = harness.server.grpc().to_string();
    (harness, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_call_with_its_summary() {
    let (harness, to) = keeping().await;
    for name in ["-INT", "-TERM"] {
        let mut call = Played::begin(&to, "1");
        let begun = call.line();
        assert!(begun["acknowledgement"].get("resumption").is_none(), "{begun}");
        call.hear(1);
        call.signal(name);
        let (lines, status, told) = call.ended().await;
        let summary = &lines.last().unwrap()["summary"];
        assert_eq!(summary["endReason"], "END_REASON_COMPLETED", "{lines:?}");
        let received: u64 = summary["receivedSamples"].as_str().unwrap().parse().unwrap();
        assert!((4000..200_000).contains(&received), "{received}");
        assert_eq!((status, told.as_str()), (Some(0), ""), "{name}");
        eventually!(harness.live_legs(), 0);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_call() {
    let (harness, to) = keeping().await;
    let mut call = Played::begin(&to, "4");
    call.hear(2);
    drop(call.lines);
    let ended = tokio::task::spawn_blocking(move || call.child.wait_with_output().unwrap());
    let output = within("the end of the call", ended).await.unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    eventually!(harness.live_legs(), 0);
    // It has not vanished: the same again is another call.
    let mut again = Played::begin(&to, "1");
    assert!(again.line()["acknowledgement"].get("resumption").is_none());
    again.signal("-INT");
    assert_eq!(again.ended().await.1, Some(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_kept_goes_on_and_says_so() {
    let (harness, to) = keeping().await;
    let mut call = Played::begin(&to, "4");
    call.hear(4);
    call.child.kill().unwrap();
    call.child.wait().unwrap();
    eventually!(harness.metric("undertone_legs_kept "), "1");
    let mut again = Played::begin(&to, "50");
    let from = again.line()["acknowledgement"]["resumption"]["mediaOffsetSamples"].as_str().unwrap().to_owned();
    let (lines, status, told) = again.ended().await;
    let seconds = from.parse::<f64>().unwrap() / 8000.0;
    let expected = format!("goes on with call demo, which broke off and was kept, from {seconds:.2} s\n");
    assert_eq!((status, told), (Some(0), expected));
    // Each sample of the file once: the server was not sent again what it had.
    assert_eq!(lines.last().unwrap()["summary"]["receivedSamples"], "429929");
    harness.stop().await;
}

/// An address that leads to the first server by its first connection, and to the second by all others: as one that was started again.
async fn relay(first: SocketAddr, second: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut servers = std::iter::once(first).chain(std::iter::repeat(second));
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(servers.next().unwrap()).await.unwrap();
            // A server that is killed is no error of the relay's.
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_server_was_killed_begins_anew_and_its_alert_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.toml");
    let labels = "['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad']";
    let always = format!("[[rule]]\nname = 'always'\nemotions = {labels}\nenter = 0.9\ngrace_seconds = 0.0\n");
    fs::write(&rules, always).unwrap();
    let variables = [("UNDERTONE_ALERTS__RULES", rules.to_str().unwrap())];
    let (killed, first, _) = Program::start_with(&variables);
    let (_started, second, _) = Program::start_with(&variables);
    let mut call = Played::begin(&relay(first, second).await.to_string(), "4");
    while call.line().get("alert").is_none() {}
    killed.signal("-KILL");
    let (lines, status, told) = call.ended().await;
    assert_eq!(status, Some(0), "{told}");
    let told: Vec<&str> = told.lines().collect();
    assert!(told[0].contains("begins anew, from ") && told.len() == 2, "{told:?}");
    assert_eq!(told[1], "the alert always on customer is over with what came before");
    let anew = lines.iter().find(|line| line.get("acknowledgement").is_some()).expect("it is acknowledged anew");
    assert!(anew["acknowledgement"].get("resumption").is_none());
    assert_eq!(lines.last().unwrap()["summary"]["endReason"], "END_REASON_COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_live_is_refused_in_words_of_the_command_line() {
    let (harness, to) = keeping().await;
    let mut call = Played::begin(&to, "1");
    call.hear(1);
    let (_, status, told) = Played::begin(&to, "1").ended().await;
    assert_eq!(status, Some(1));
    assert!(told.contains("call demo is live") && told.contains("another --call-id"), "{told}");
    call.signal("-INT");
    assert_eq!(call.ended().await.1, Some(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait_for_the_server() {
    let (program, grpc, _) = Program::start();
    let mut call = Played::begin(&grpc.to_string(), "1");
    call.hear(1);
    // It will not answer.
    signal(program.id(), "-STOP");
    call.signal("-INT");
    call.signal("-TERM");
    assert_eq!(call.ended().await.1, Some(1));
}
