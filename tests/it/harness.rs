//! A server for one test, and a client that waits for nothing longer than [`PATIENCE`].

use std::{
    collections::BTreeMap,
    future::Future,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{io::copy_bidirectional, net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use undertone::{
    audio::{Encoding, codec},
    config::{Config, Source},
    inference::Backend,
    model::{
        Model, Registry,
        onnx::{Options, Runtime},
    },
    policy::Consent,
    server::{
        Deps, Server,
        proto::{
            AnalyzeConfig, AnalyzeRequest, AnalyzeResponse, AudioChunk, AudioFormat, Control, ControlAction,
            EmotionEvent, EndReason, Leg, Notice, Role, Summary, analyze_request::Message,
            analyze_response::Message as Response, emotion_service_client::EmotionServiceClient,
        },
    },
    session::{Engines, LegRequest, Request, shadow::Making},
    telemetry::{Metrics, metrics},
};

/// Fires as soon as anything is scored, whatever it is.
pub(crate) const ALWAYS: &str = "
    [[rule]]
    name = 'always'
    emotions = ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad']
    enter = 0.9
    min_speech_seconds = 0.0
    min_windows = 1
    grace_seconds = 0.0
";

/// Longer than any machine needs for what a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// 20 ms of G.711.
pub(crate) const CHUNK_BYTES: usize = 160;

/// Waits until both sides are equal; panics with the last that was not.
macro_rules! eventually {
    ($actual:expr, $expected:expr) => {{
        let (expected, began) = ($expected, std::time::Instant::now());
        loop {
            let actual = $actual;
            if actual == expected {
                break;
            }
            if began.elapsed() > $crate::harness::PATIENCE {
                panic!("{} is still {actual:?}, expected {expected:?}", stringify!($actual));
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }};
}

/// A server and a client of it.
pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) client: EmotionServiceClient<Channel>,
}

/// A call from its client's side.
pub(crate) struct Call {
    pub(crate) requests: mpsc::Sender<AnalyzeRequest>,
    pub(crate) responses: Streaming<AnalyzeResponse>,
}

/// All that came until a call's stream closed, and how it closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) responses: Vec<Response>,
    pub(crate) status: Result<(), Status>,
}

pub(crate) fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny")
}

/// The defaults on free ports with the tiny model, and no wait of minutes.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.listen.set_port(0);
    config.admin.set_port(0);
    config.models = vec![tiny()];
    // What an unoptimised build would be measured to carry says nothing, and takes time.
    config.session.max_windows_per_second = Some(1_000_000);
    // Who vanishes has gone; tests of breaks set it.
    config.session.resume_grace = Duration::ZERO;
    config
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    within("connecting", endpoint.connect()).await.unwrap()
}

/// A line to the server, which passes everything until it is aborted, and where it begins.
pub(crate) async fn line(server: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let line = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
        // A line that breaks is no error of the line's.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    (address, line)
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap();
        Self::of(Server::launch(&config).await.unwrap()).await
    }

    /// A server whose models are run by other backends than themselves.
    pub(crate) async fn with_backend<B: Backend>(config: &Config, backend: impl Fn(&Arc<Model>) -> B) -> Self {
        let runtime = Runtime::load(None).unwrap();
        let registry = Registry::load(runtime, &config.models, &Options::default()).unwrap();
        let recorder = metrics::recorder();
        let (engines, mut workers) = Engines::new(registry, &config.inference, &recorder, backend).unwrap();
        let making = Making { runtime, inference: &config.inference, recorder: &recorder };
        let (engines, of_shadow) = engines.with_shadow(None, &config.shadow, &making).unwrap();
        workers.extend(of_shadow);
        let deps = Deps {
            engines,
            workers,
            metrics: Metrics::new(&recorder),
            recorder,
            source: Source::fixed(config.clone()),
        };
        Self::of(Server::bind(config, deps).await.unwrap().start().await).await
    }

    pub(crate) async fn of(server: Server) -> Self {
        let client = EmotionServiceClient::new(connect(server.grpc()).await);
        Self { server, client }
    }

    /// Stops the server, and panics with what panicked in it.
    pub(crate) async fn stop(self) {
        drop(self.client);
        within("stopping", self.server.stop()).await.unwrap();
    }

    /// A call that has sent this configuration.
    pub(crate) async fn call(&self, config: AnalyzeConfig) -> Call {
        let call = self.silent_call().await;
        call.send(Message::Config(config)).await;
        call
    }

    /// A call that has sent nothing.
    pub(crate) async fn silent_call(&self) -> Call {
        Call::open(self.client.clone()).await
    }

    /// A call that was acknowledged.
    pub(crate) async fn acknowledged(&self, call_id: &str) -> Call {
        let mut call = self.call(customer(call_id)).await;
        assert!(matches!(call.next().await, Some(Ok(Response::Acknowledgement(_)))));
        call
    }

    pub(crate) fn live_legs(&self) -> usize {
        self.server.sessions().live_legs()
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(self.server.admin(), path)
    }

    /// The value of the metric whose line starts so.
    pub(crate) fn metric(&self, line: &str) -> String {
        let (_, text) = self.get("/metrics");
        let found = text.lines().find_map(|told| told.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no {line} in\n{text}")).trim().to_owned()
    }
}

impl Call {
    pub(crate) async fn open(mut client: EmotionServiceClient<Channel>) -> Self {
        let (requests, to_send) = mpsc::channel(64);
        let responses = within("opening a call", client.analyze(ReceiverStream::new(to_send))).await.unwrap();
        Self { requests, responses: responses.into_inner() }
    }

    pub(crate) async fn send(&self, message: Message) {
        let sent = within("sending", self.requests.send(AnalyzeRequest { message: Some(message) })).await;
        // A server that has closed the stream takes nothing more; what it said comes with `next`.
        drop(sent);
    }

    /// Sends audio in chunks of 20 ms of G.711.
    pub(crate) async fn speak(&self, audio: &[u8]) {
        for chunk in audio.chunks(CHUNK_BYTES) {
            self.send(audio_chunk(chunk)).await;
        }
    }

    pub(crate) async fn control(&self, action: ControlAction) {
        self.send(Message::Control(Control { action: action.into(), leg_id: None })).await;
    }

    /// The next response, the status that closes the stream, or nothing after OK.
    pub(crate) async fn next(&mut self) -> Option<Result<Response, Status>> {
        let next = within("a response", self.responses.message()).await;
        next.map(|response| response.map(|response| response.message.expect("a response has a message"))).transpose()
    }

    /// The next event, whatever comes before it.
    pub(crate) async fn event(&mut self) -> EmotionEvent {
        loop {
            match self.next().await {
                Some(Ok(Response::Event(event))) => return event,
                Some(Ok(_)) => {}
                closed => panic!("no event, but {closed:?}"),
            }
        }
    }

    /// Half-closes, then as [`Call::closed`].
    pub(crate) async fn end(self) -> Closed {
        let Self { requests, mut responses } = self;
        drop(requests);
        drain(&mut responses).await
    }

    /// All that comes until the server closes the stream, which the client leaves open.
    pub(crate) async fn closed(mut self) -> Closed {
        drain(&mut self.responses).await
    }
}

async fn drain(responses: &mut Streaming<AnalyzeResponse>) -> Closed {
    let mut came = Vec::new();
    loop {
        match within("a response", responses.message()).await {
            Ok(Some(response)) => came.push(response.message.expect("a response has a message")),
            Ok(None) => return Closed { responses: came, status: Ok(()) },
            Err(status) => return Closed { responses: came, status: Err(status) },
        }
    }
}

impl Closed {
    /// The status, which must be this one.
    pub(crate) fn refused(self, code: Code) -> Status {
        let status = self.status.expect_err("a status");
        assert_eq!(status.code(), code, "{status:?}");
        status
    }

    pub(crate) fn events(&self) -> Vec<&EmotionEvent> {
        let mut events = Vec::new();
        for response in &self.responses {
            if let Response::Event(event) = response {
                events.push(event);
            }
        }
        events
    }

    /// The summaries, which must be the last responses, one a leg, each with this reason.
    pub(crate) fn summaries(&self, reason: EndReason) -> Vec<&Summary> {
        let summaries = self.every_summary();
        assert!(summaries.iter().all(|summary| summary.end_reason() == reason), "{summaries:?}");
        summaries
    }

    /// The summaries, which must be the last responses, one a leg.
    pub(crate) fn every_summary(&self) -> Vec<&Summary> {
        let mut summaries = Vec::new();
        for response in &self.responses {
            match response {
                Response::Summary(summary) => summaries.push(summary),
                other => assert!(summaries.is_empty(), "{other:?} after a summary"),
            }
        }
        assert!(!summaries.is_empty(), "no summary in {self:?}");
        summaries
    }
}

/// A customer's call over a telephone line.
pub(crate) fn customer(call_id: &str) -> AnalyzeConfig {
    AnalyzeConfig {
        call_id: call_id.to_owned(),
        audio: Some(telephone()),
        legs: vec![leg(Role::Customer)],
        notice: Some(notice()),
        ..AnalyzeConfig::default()
    }
}

pub(crate) fn telephone() -> AudioFormat {
    let encoding = undertone::server::proto::Encoding::Mulaw.into();
    AudioFormat { encoding, sample_rate_hertz: 8000, channels: None }
}

pub(crate) fn leg(role: Role) -> Leg {
    Leg { role: role.into(), ..Leg::default() }
}

pub(crate) fn notice() -> Notice {
    Notice { given_at: Some(SystemTime::now().into()), method: "announcement".to_owned() }
}

pub(crate) fn audio_chunk(data: &[u8]) -> Message {
    Message::Audio(AudioChunk { data: data.to_vec().into(), sequence: None, media_offset_samples: None })
}

/// What an actor says, at 8 kHz, µ-law, over and over, without the silence around it.
pub(crate) fn voice(seconds: f32) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d/1015_IWW_ANG_XX.flac");
    let clip = undertone::audio::file::read(&path).expect("a readable clip").into_mono();
    let clip = undertone::audio::resample::resample(&clip, 16_000, 8_000).expect("both rates are supported");
    let loud = |sample: &f32| sample.abs() > 0.02;
    let from = clip.iter().position(loud).expect("the clip is loud");
    let to = clip.iter().rposition(loud).expect("the clip is loud");
    encoded((0..samples(seconds)).map(|index| clip[from + index % (to - from)]))
}

pub(crate) fn silence(seconds: f32) -> Vec<u8> {
    encoded((0..samples(seconds)).map(|_| 0.0))
}

fn samples(seconds: f32) -> usize {
    Duration::from_secs_f32(seconds).as_millis() as usize * 8
}

fn encoded(samples: impl Iterator<Item = f32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(Encoding::Mulaw, &samples.collect::<Vec<_>>(), &mut bytes);
    bytes
}

/// Status and body of a page.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, "GET", path)
}

/// Status and body of the answer to a request without a body.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

/// Call `c` of these legs over µ-law, as what is behind gRPC is asked for it.
pub(crate) fn request(legs: Vec<LegRequest>) -> Request {
    Request {
        call_id: "c".to_owned(),
        encoding: Encoding::Mulaw,
        sample_rate_hz: 8000,
        legs,
        tags: BTreeMap::new(),
        notice_given: true,
        consent: Consent::Unknown,
        stride: Duration::from_millis(500),
        model: None,
        takeover: false,
    }
}
