//! The whole board, on a terminal that is none, against a real server.

use std::{net::SocketAddr, path::Path, time::Instant};

use ratatui::{
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyModifiers},
};
use tokio_stream::wrappers::ReceiverStream;
use undertone::{
    audio::{self, Encoding},
    config::Config,
    decision::{Rules, alert::State},
    journal::{Kind, Query, Record},
    server::{
        Server,
        proto::{
            AnalyzeConfig, AnalyzeRequest, AudioChunk, Leg, Notice, Role, analyze_request::Message,
            emotion_service_client::EmotionServiceClient,
        },
    },
};

use super::*;
use crate::cli::{client::Audio, demo};

/// Longer than any machine needs for what is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fires as soon as anything is scored, whatever it is.
const ALWAYS: &str = "
    [[rule]]
    name = 'always'
    emotions = ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad']
    enter = 0.9
    min_speech_seconds = 0.0
    min_windows = 1
    grace_seconds = 0.0
";

/// Who looks at the board, and types.
struct Supervisor {
    app: App,
    terminal: Terminal<TestBackend>,
    keys: mpsc::Sender<io::Result<Input>>,
}

impl Supervisor {
    fn at(server: SocketAddr, actor: Option<&str>) -> Self {
        // All that a test types at once.
        let (keys, inputs) = mpsc::channel(256);
        let acting = Acting { actor: actor.map(str::to_owned), snooze: Duration::from_secs(300) };
        let app = App::new(Feed::new(&format!("http://{server}"), None).unwrap(), acting, inputs);
        Self { app, terminal: Terminal::new(TestBackend::new(140, 30)).unwrap(), keys }
    }

    async fn press(&self, code: KeyCode) {
        self.keys.send(Ok(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))).await.unwrap();
    }

    /// Types a line.
    async fn type_in(&self, text: &str) {
        for letter in text.chars() {
            self.press(KeyCode::Char(letter)).await;
        }
        self.press(KeyCode::Enter).await;
    }

    fn screen(&self) -> String {
        let buffer = self.terminal.backend().buffer();
        let line = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..buffer.area.height).map(line).collect::<Vec<_>>().join("\n")
    }

    /// Goes on until a line of the screen holds all of these.
    async fn sees(&mut self, parts: &[&str]) {
        let began = Instant::now();
        loop {
            self.app.draw(&mut self.terminal).unwrap();
            let screen = self.screen();
            if screen.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no line with {parts:?} on\n{screen}");
            if let Some(ended) = self.app.next().await {
                panic!("ended by {ended:?} before {parts:?} was seen on\n{screen}");
            }
        }
    }
}

async fn server(listen: Option<SocketAddr>, journal: &Path) -> Server {
    let free = ([127, 0, 0, 1], 0).into();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny");
    let mut config = Config { listen: listen.unwrap_or(free), admin: free, models: vec![tiny], ..Config::default() };
    (config.journal.path, config.journal.node) = (Some(journal.to_owned()), Some("a".to_owned()));
    config.session.resume_grace = Duration::ZERO;
    let server = Server::launch(&config).await.unwrap();
    server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
    server
}

/// Eight seconds of speech of a customer; the call lives for as long as this is held.
async fn call(server: SocketAddr, call_id: &str) -> mpsc::Sender<AnalyzeRequest> {
    let recording = audio::file::decode("the demo's call", demo::RECORDING).unwrap();
    let audio = Audio::new(&recording, Encoding::Mulaw).unwrap();
    let config = AnalyzeConfig {
        call_id: call_id.to_owned(),
        audio: Some(audio.format().unwrap()),
        legs: vec![Leg { role: Role::Customer.into(), ..Leg::default() }],
        notice: Some(Notice { given_at: Some(SystemTime::now().into()), method: "recording".to_owned() }),
        ..AnalyzeConfig::default()
    };
    let (sender, requests) = mpsc::channel(16);
    let mut messages = vec![Message::Config(config)];
    messages.extend(
        audio
            .data()
            .chunks(8_000)
            .take(8)
            .map(|second| Message::Audio(AudioChunk { data: audio.data().slice_ref(second), ..AudioChunk::default() })),
    );
    for message in messages {
        sender.send(AnalyzeRequest { message: Some(message) }).await.unwrap();
    }
    let mut client = EmotionServiceClient::connect(format!("http://{server}")).await.unwrap();
    let mut responses = client.analyze(ReceiverStream::new(requests)).await.unwrap().into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = responses.message().await {} });
    sender
}

/// State, actor and reason of every change of an alert that the journal holds.
async fn kept(server: &Server) -> Vec<(State, String, String)> {
    let query = Query { kinds: vec![Kind::Alert], ..Query::default() };
    let entries = server.sessions().journal().read_all(query).await.unwrap();
    let changes = entries.iter().filter_map(|entry| match &entry.draft.record {
        Record::Alert(alert) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            Some((alert.state, text(&alert.actor), text(&alert.actor_reason)))
        }
        _ => None,
    });
    changes.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_acknowledge_and_snooze_an_alert_of_a_real_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(None, &dir.path().join("journal.db")).await;
    let mut supervisor = Supervisor::at(server.grpc(), None);
    supervisor.sees(&["connected", "0 calls", "0 firing"]).await;
    let call = call(server.grpc(), "caller").await;
    supervisor.sees(&["firing", "warning", "always", "caller", "customer"]).await;
    supervisor.sees(&["connected", "1 call", "1 firing"]).await;

    // Left with Escape, nothing is done.
    supervisor.press(KeyCode::Char('a')).await;
    supervisor.sees(&["Who are you"]).await;
    supervisor.press(KeyCode::Esc).await;
    supervisor.sees(&["a: acknowledge", "s: snooze for 5 min"]).await;
    supervisor.press(KeyCode::Char('a')).await;
    supervisor.type_in("supervisor-7").await;
    supervisor.sees(&["Why do you acknowledge it?"]).await;
    supervisor.type_in("I listen in").await;
    supervisor.sees(&["acknowledged", "always", "caller", "supervisor-7: I listen in"]).await;
    supervisor.sees(&["connected", "0 firing"]).await;

    // Who it is is not asked again.
    supervisor.press(KeyCode::Char('s')).await;
    supervisor.sees(&["Why do you snooze it for 5 min?"]).await;
    supervisor.type_in("known to us").await;
    supervisor.sees(&["snoozed", "always", "caller", "supervisor-7: known to us"]).await;

    drop(call);
    supervisor.sees(&["resolved", "always", "caller", "call ended"]).await;
    // What is over is not acted on. That is said in place of what was done before, and what is typed then ends nothing.
    supervisor.press(KeyCode::Char('a')).await;
    supervisor.sees(&["This alert is over", "Enter, Esc: go on"]).await;
    supervisor.type_in("quite loud").await;
    supervisor.press(KeyCode::Esc).await;
    supervisor.sees(&["a: acknowledge", "q: quit"]).await;
    assert!(supervisor.screen().lines().all(|line| line.trim() != "snoozed"), "{}", supervisor.screen());
    supervisor.press(KeyCode::Char('q')).await;
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(ended) = supervisor.app.next().await {
                break ended;
            }
        }
    });
    ended.await.expect("q ends it").unwrap();
    let by = |state, reason: &str| (state, "supervisor-7".to_owned(), reason.to_owned());
    let expected = [
        (State::Firing, String::new(), String::new()),
        by(State::Acknowledged, "I listen in"),
        by(State::Snoozed, "known to us"),
        (State::Resolved, String::new(), String::new()),
    ];
    assert_eq!(kept(&server).await, expected);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_the_board_connects_again_and_keys_reach_the_new_server() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal.db");
    let before = server(None, &journal).await;
    let address = before.grpc();
    let mut supervisor = Supervisor::at(address, Some("ann"));
    let first = call(address, "first").await;
    supervisor.sees(&["firing", "always", "first"]).await;
    before.stop().await.unwrap();
    drop(first);
    supervisor.sees(&["DISCONNECTED for"]).await;
    // What was known stays to be seen.
    supervisor.sees(&["always", "first"]).await;
    // The server may just have told that it is over, before it went.
    let is_over = supervisor.screen().contains("call ended");
    supervisor.press(KeyCode::Char('a')).await;
    supervisor.type_in("too late").await;
    supervisor.sees(&[if is_over { "This alert is over" } else { "not done: " }]).await;
    if is_over {
        supervisor.press(KeyCode::Esc).await;
    }

    let after = server(Some(address), &journal).await;
    supervisor.sees(&["connected", "0 calls", "0 firing"]).await;
    assert!(!supervisor.screen().contains("not done"), "{}", supervisor.screen());
    supervisor.sees(&["resolved", "always", "first", "call ended"]).await;
    let second = call(address, "second").await;
    supervisor.sees(&["firing", "always", "second"]).await;
    // The selection stays with the first; the new one stands above it.
    supervisor.press(KeyCode::Up).await;
    supervisor.press(KeyCode::Char('a')).await;
    supervisor.type_in("mine").await;
    supervisor.sees(&["acknowledged", "always", "second", "ann: mine"]).await;
    drop(second);
    supervisor.sees(&["resolved", "always", "second"]).await;
    assert_eq!(kept(&after).await.len(), 5, "nothing is told or done twice");
    after.stop().await.unwrap();
}
