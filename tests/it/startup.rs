//! The program itself: what it prints, how it ends, and what it says when it cannot start.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use tonic::Code;
use undertone::server::proto::{EndReason, emotion_service_client::EmotionServiceClient};

use crate::{
    harness::{Call, connect, customer, get, tiny, voice, within},
    slow_reader::narrow_call,
};

fn undertone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).stdin(Stdio::null());
    command
}

/// The one line on standard error of a server that must not start.
fn complaint(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stdout.is_empty());
    let lines: Vec<&str> = stderr.lines().collect();
    let [line] = lines.as_slice() else { panic!("not one line:\n{stderr}") };
    (*line).to_owned()
}

/// Complains of a model that has these files.
fn model_complaint(manifest: Option<&str>, network: Option<&[u8]>) -> String {
    let dir = tempfile::tempdir().unwrap();
    if let Some(manifest) = manifest {
        fs::write(dir.path().join("manifest.toml"), manifest).unwrap();
    }
    if let Some(network) = network {
        fs::write(dir.path().join("model.onnx"), network).unwrap();
    }
    let line = complaint(undertone().arg("--model").arg(dir.path()));
    assert!(line.contains(&*dir.path().to_string_lossy()), "{line}");
    line
}

#[test]
fn a_model_that_is_missing_or_corrupt_is_told() {
    let manifest = fs::read_to_string(tiny().join("manifest.toml")).unwrap();
    let network = fs::read(tiny().join("model.onnx")).unwrap();
    let line = complaint(undertone().args(["--model", "no/such/model"]));
    assert!(line.contains("no/such/model"), "{line}");
    let line = model_complaint(Some(&manifest), None);
    assert!(line.contains("model.onnx"), "{line}");
    let line = model_complaint(Some(&manifest), Some(&network[..network.len() / 2]));
    assert!(line.contains("sha256") || line.contains("SHA-256"), "{line}");
    let line = model_complaint(Some("format = 1"), Some(&network));
    assert!(line.contains("manifest.toml"), "{line}");
}

#[test]
fn a_manifest_that_does_not_fit_its_model_is_told() {
    let manifest = fs::read_to_string(tiny().join("manifest.toml")).unwrap();
    let network = fs::read(tiny().join("model.onnx")).unwrap();
    let other = manifest.replace("output = \"logits\"", "output = \"scores\"");
    let line = model_complaint(Some(&other), Some(&network));
    assert!(line.contains("scores") && line.contains("logits"), "{line}");
}

#[test]
fn rules_that_are_missing_or_wrong_are_told_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.toml");
    let complain = || complaint(undertone().env("UNDERTONE_ALERTS__RULES", &rules).arg("--model").arg(tiny()));
    let line = complain();
    assert!(line.contains("rules.toml") && line.contains("alerts.rules"), "{line}");
    fs::write(&rules, "[[rule]]\nname = 'anger'\nemotions = ['angry']\nenter = 2.0\n").unwrap();
    let line = complain();
    assert!(line.contains("rules.toml, line 4") && line.contains("enter"), "{line}");
    fs::write(&rules, "[[rule]]\nname = 'anger'\nemotions = ['furious']\nenter = 0.5\n").unwrap();
    let line = complain();
    assert!(line.contains("furious") && line.contains("angry"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_by_which_no_alert_can_rise_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (rules, log) = (dir.path().join("rules.toml"), dir.path().join("log"));
    let of_agents = "[[rule]]\nname = 'stress'\nemotions = ['angry']\nenter = 0.5\nroles = ['AGENT']\n";
    for (text, warning) in [
        ("half_life_seconds = 3.0\n", "rules.toml holds no [[rule]]: no alert will ever rise"),
        (of_agents, "rule \"stress\" is for AGENT alone, whom the policy (CUSTOMER_ONLY) does not let be analysed"),
    ] {
        fs::write(&rules, text).unwrap();
        let (program, ..) = Program::start_logging(&[("UNDERTONE_ALERTS__RULES", rules.to_str().unwrap())], &log);
        program.signal("-TERM");
        assert!(program.ended().await.success());
        let told = fs::read_to_string(&log).unwrap();
        assert!(told.contains(warning), "{told}");
    }
}

#[test]
fn a_missing_onnx_runtime_is_told() {
    let nowhere = Path::new("/nowhere/libonnxruntime.so");
    let line = complaint(undertone().env("ORT_DYLIB_PATH", nowhere).arg("--model").arg(tiny()));
    assert!(line.contains("/nowhere/libonnxruntime.so") && line.contains("make setup"), "{line}");
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
        command.args(["serve", "--model"]).arg(tiny());
        let free = if flag == "--listen" { "--admin" } else { "--listen" };
        let line = complaint(command.args([flag, &address, free, "127.0.0.1:0"]).env("UNDERTONE_LOG__FILTER", "warn"));
        assert!(line.contains(&address) && line.contains(&flag[2..]), "{line}");
    }
}

#[test]
fn a_wrong_configuration_is_told_before_anything_is_loaded() {
    let line = complaint(undertone().args(["--model", "no/such/model"]).env("UNDERTONE_SESSION__MAX_LEGS", "0"));
    assert!(line.contains("session.max_legs"), "{line}");
    for (variable, value, told) in [
        (
            "UNDERTONE_SESSION__MAXLEGS",
            "1",
            "UNDERTONE_SESSION__MAXLEGS is not known; did you mean UNDERTONE_SESSION__MAX_LEGS?",
        ),
        (
            "UNDERTONE_SESSION__MAX_LEGS",
            "many",
            "UNDERTONE_SESSION__MAX_LEGS is \"many\"; expected a whole number, 0 or more",
        ),
        (
            "UNDERTONE_ADMIN",
            "9600",
            "UNDERTONE_ADMIN is 9600; expected an IP address and a port, such as \"127.0.0.1:50051\"",
        ),
    ] {
        let line = complaint(Command::new(env!("CARGO_BIN_EXE_undertone")).arg("serve").env(variable, value));
        assert_eq!(line, format!("undertone: {told}"));
    }
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undertone.toml");
    fs::write(&file, "listen = '127.0.0.1:1'\nadmin = '127.0.0.1:2'\n[session]\nmax_legs = 3\nevent_buffer = 4")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_undertone"))
        .args(["serve", "--dump-config", "--listen", "127.0.0.1:7", "--config"])
        .arg(&file)
        .env("UNDERTONE_LISTEN", "127.0.0.1:8")
        .env("UNDERTONE_ADMIN", "127.0.0.1:9")
        .env("UNDERTONE_SESSION__MAX_LEGS", "5")
        .env("UNDERTONE_SESSION__IDLE_TIMEOUT", "1m")
        .output()
        .unwrap();
    assert!(output.status.success());
    let dumped = dir.path().join("dumped.toml");
    fs::write(&dumped, output.stdout).unwrap();
    let config = undertone::config::Config::load(Some(&dumped), &Default::default()).unwrap();
    assert_eq!((config.listen.port(), config.admin.port()), (7, 9));
    assert_eq!((config.session.max_legs, config.session.event_buffer), (5, 4));
    assert_eq!(config.session.idle_timeout.as_secs(), 60);
}

#[test]
fn logs_that_no_terminal_shows_have_no_colours() {
    let mut child = undertone()
        .arg("--model")
        .arg(tiny())
        .env("UNDERTONE_LOG__FILTER", "info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let logs = String::from_utf8(output.stderr).unwrap();
    assert!(logs.contains("serving") && !logs.contains('\x1b'), "{logs:?}");
}

/// A server in a process of its own; killed when it is dropped.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it and reads both addresses from its one line.
    pub(crate) fn start() -> (Self, SocketAddr, SocketAddr) {
        Self::start_with(&[])
    }

    /// The same, with these variables.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> (Self, SocketAddr, SocketAddr) {
        Self::start_on(&tiny(), variables)
    }

    /// The same, on another model.
    pub(crate) fn start_on(model: &Path, variables: &[(&str, &str)]) -> (Self, SocketAddr, SocketAddr) {
        Self::start_telling(model, variables, Stdio::null())
    }

    /// The same, on the tiny model, with its log in a file.
    pub(crate) fn start_logging(variables: &[(&str, &str)], log: &Path) -> (Self, SocketAddr, SocketAddr) {
        Self::start_telling(&tiny(), variables, fs::File::create(log).unwrap().into())
    }

    fn start_telling(model: &Path, variables: &[(&str, &str)], log: Stdio) -> (Self, SocketAddr, SocketAddr) {
        let mut command = undertone();
        command.arg("--model").arg(model).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |key: &str| told[key].as_str().unwrap().parse().unwrap();
        let (grpc, admin) = (address("grpc"), address("admin"));
        (Self(child), grpc, admin)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        let waiting = tokio::task::spawn_blocking(move || self.0.wait().unwrap());
        within("the end of the program", waiting).await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_drains_the_program() {
    for signal in ["-TERM", "-INT"] {
        let (program, grpc, admin) = Program::start();
        assert_eq!(get(admin, "/readyz").0, 200);
        let mut call = Call::open(EmotionServiceClient::new(connect(grpc).await)).await;
        call.send(undertone::server::proto::analyze_request::Message::Config(customer("c"))).await;
        call.speak(&voice(2.0)).await;
        call.event().await;
        program.signal(signal);
        let closed = call.closed().await;
        assert_eq!(closed.summaries(EndReason::Draining).len(), 1);
        closed.refused(Code::Unavailable);
        assert!(program.ended().await.success(), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_program_at_once() {
    let (program, grpc, admin) = Program::start();
    // Who never reads is waited for, to the deadline of 20 s.
    let call = narrow_call(grpc).await;
    call.speak(&voice(20.0)).await;
    eventually!(get(admin, "/metrics").1.contains("undertone_audio_received_seconds_total 20"), true);
    program.signal("-TERM");
    eventually!(get(admin, "/readyz").0, 503);
    let began = std::time::Instant::now();
    program.signal("-TERM");
    assert_eq!(program.ended().await.code(), Some(1));
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
    drop(call);
}
