//! Calls that are traced: their spans, brought to a collector by OTLP, and what a collector that is not there costs.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};
use undertone::{
    server::proto::{
        AnalyzeConfig, AnalyzeRequest, AudioChunk, ClassifyRequest, EndReason, Role, analyze_request::Message,
        emotion_service_client::EmotionServiceClient,
    },
    telemetry::metrics::STAGES,
};

use crate::{
    harness::{Call, PATIENCE, connect, customer, get, notice, telephone, voice, within},
    startup::Program,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Of both, by a client that has it sampled.
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that keeps what it is told, or never answers.
#[derive(Clone, Default)]
struct Collector {
    told: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    deaf: bool,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.deaf {
            std::future::pending::<()>().await;
        }
        self.told.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn spans(&self) -> Vec<Span> {
        let told = self.told.lock().unwrap();
        let resources = told.iter().flat_map(|told| &told.resource_spans);
        resources.flat_map(|spans| &spans.scope_spans).flat_map(|spans| spans.spans.clone()).collect()
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        Value::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

/// A request whose client traces it so.
fn traced<T>(message: T, traceparent: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

/// A call whose client traces it so, and begins it with this.
async fn traced_call(grpc: SocketAddr, first: Message, traceparent: &str) -> Call {
    let (requests, to_send) = mpsc::channel::<AnalyzeRequest>(64);
    let mut client = EmotionServiceClient::new(connect(grpc).await);
    let opening = client.analyze(traced(ReceiverStream::new(to_send), traceparent));
    let responses = within("opening a call", opening).await.unwrap().into_inner();
    let call = Call { requests, responses };
    call.send(first).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_span_of_its_clients_trace_with_every_windows_way_in_it() {
    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.listen().await);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (program, grpc, _) = Program::start_logging(
        &[
            ("UNDERTONE_TELEMETRY__OTLP_ENDPOINT", &endpoint),
            ("UNDERTONE_TELEMETRY__SAMPLING_RATIO", "0.0"),
            ("UNDERTONE_TELEMETRY__ONE_WINDOW_IN", "1"),
            ("UNDERTONE_TELEMETRY__SERVICE_NAME", "undertone-test"),
            ("UNDERTONE_LOG__FORMAT", "json"),
        ],
        &log,
    );
    // One that its client samples, and one that it does not.
    let sampled = traced_call(grpc, Message::Config(customer("call-secret")), SAMPLED).await;
    let not_sampled = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";
    let other = traced_call(grpc, Message::Config(customer("other")), not_sampled).await;
    for call in [&sampled, &other] {
        call.speak(&voice(3.0)).await;
    }
    for call in [sampled, other] {
        let closed = call.end().await;
        assert!(closed.status.is_ok());
        closed.summaries(EndReason::Completed);
    }
    let count = |spans: &[Span], name: &str| named(spans, name).len();
    eventually!(count(&collector.spans(), "call"), 1);
    program.signal("-TERM");
    assert!(program.ended().await.success());

    let spans = collector.spans();
    let resource = collector.told.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    assert!(format!("{resource:?}").contains("undertone-test"), "{resource:?}");
    let call = named(&spans, "call")[0];
    assert_eq!((attribute(call, "model"), attribute(call, "refused")), (Some("tiny"), None), "{call:?}");
    assert!(attribute(call, "session_id").is_some(), "{call:?}");
    assert_eq!((hex(&call.trace_id), hex(&call.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    let batches: HashMap<&[u8], &Span> =
        named(&spans, "batch run").into_iter().map(|span| (&*span.span_id, span)).collect();
    let windows = named(&spans, "window");
    assert!(windows.len() >= 3, "{spans:#?}");
    for window in &windows {
        assert_eq!((&window.trace_id, &window.parent_span_id), (&call.trace_id, &call.span_id));
        assert!(call.start_time_unix_nano <= window.end_time_unix_nano);
        let [link] = window.links.as_slice() else { panic!("not one link: {window:?}") };
        let batch = batches[&*link.span_id];
        assert_eq!(batch.trace_id, link.trace_id);
        assert_ne!(batch.trace_id, window.trace_id, "a batch is of many traces");
        assert!(batch.links.iter().any(|back| back.span_id == window.span_id), "{batch:?}");
        let stages: HashMap<&str, &Span> = spans
            .iter()
            .filter(|span| span.parent_span_id == window.span_id)
            .map(|span| (span.name.as_str(), span))
            .collect();
        let expected: Vec<&str> = if stages.contains_key("decode") { STAGES.to_vec() } else { STAGES[2..].to_vec() };
        assert_eq!(stages.len(), expected.len(), "{stages:?}");
        let mut end = 0;
        for stage in expected {
            let span = stages[stage];
            assert!(end <= span.start_time_unix_nano, "{stage} begins before the stage before it ends");
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{stage}");
            end = span.end_time_unix_nano;
        }
        assert!(end <= window.end_time_unix_nano);
    }
    assert!(spans.iter().any(|span| span.name == "features"));
    let text = format!("{spans:?}");
    assert!(!text.contains("call-secret"), "{text}");
    let logs = fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> =
        logs.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let ended: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "call ended").collect();
    assert_eq!(ended.len(), 2, "{logs}");
    assert!(ended.iter().all(|line| line["span"]["session_id"].is_string() && line["level"] == "INFO"), "{ended:?}");
    let is_traced = |line: &&&serde_json::Value| line.to_string().contains(TRACE);
    assert_eq!(ended.iter().filter(is_traced).count(), 1, "{ended:?}");
    assert_eq!(ended.iter().filter(|line| !line.to_string().contains("trace_id")).count(), 1, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_and_recordings_are_spans_of_their_clients_trace() {
    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.listen().await);
    let folder = tempfile::tempdir().unwrap();
    let (program, grpc, _) = Program::start_logging(
        &[
            ("UNDERTONE_TELEMETRY__OTLP_ENDPOINT", &endpoint),
            ("UNDERTONE_TELEMETRY__SAMPLING_RATIO", "0.0"),
            ("UNDERTONE_TELEMETRY__ONE_WINDOW_IN", "1"),
        ],
        &folder.path().join("log"),
    );
    let unnoticed = Message::Config(AnalyzeConfig { notice: None, ..customer("call") });
    traced_call(grpc, unnoticed, SAMPLED).await.closed().await.refused(Code::FailedPrecondition);
    let before_config = Message::Audio(AudioChunk::default());
    traced_call(grpc, before_config, SAMPLED).await.closed().await.refused(Code::FailedPrecondition);
    let recording = ClassifyRequest {
        audio: Some(telephone()),
        data: voice(3.0).into(),
        role: Role::Customer.into(),
        notice: Some(notice()),
        ..ClassifyRequest::default()
    };
    let mut client = EmotionServiceClient::new(connect(grpc).await);
    within("an answer", client.classify(traced(recording.clone(), SAMPLED))).await.unwrap();
    // Of what no client asks to be traced, nothing is told where the ratio is 0.
    within("an answer", client.classify(recording.clone())).await.unwrap();
    for refused in [
        ClassifyRequest { notice: None, ..recording.clone() },
        ClassifyRequest { model: Some("huge".to_owned()), ..recording.clone() },
        ClassifyRequest { audio: None, ..recording },
    ] {
        within("an answer", client.classify(traced(refused, SAMPLED))).await.unwrap_err();
    }
    program.signal("-TERM");
    assert!(program.ended().await.success());

    let spans = collector.spans();
    for (name, expected) in [
        ("call", vec![Some("invalid"), Some("policy")]),
        ("classify", vec![None, Some("invalid"), Some("model"), Some("policy")]),
    ] {
        let roots = named(&spans, name);
        for root in &roots {
            assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
        }
        let mut refused: Vec<_> = roots.iter().map(|root| attribute(root, "refused")).collect();
        refused.sort_unstable();
        assert_eq!(refused, expected, "{roots:#?}");
    }
    let classified = named(&spans, "classify").into_iter().find(|span| attribute(span, "refused").is_none()).unwrap();
    assert_eq!(attribute(classified, "model"), Some("tiny"));
    let windows = named(&spans, "window");
    assert!(windows.len() >= 3, "{spans:#?}");
    for window in windows {
        assert_eq!(window.parent_span_id, classified.span_id);
        let stages = spans.iter().filter(|span| span.parent_span_id == window.span_id);
        let mut stages: Vec<&str> = stages.map(|span| span.name.as_str()).collect();
        stages.sort_by_key(|stage| STAGES.iter().position(|known| known == stage));
        let expected = if stages.contains(&"decode") { &STAGES[..] } else { &STAGES[2..] };
        assert_eq!(stages, expected);
    }
}

/// Takes calls through a server whose collector takes nothing, and gives how long the server's end took.
async fn call_with_collector(endpoint: &str, told: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (program, grpc, admin) = Program::start_logging(
        &[
            ("UNDERTONE_TELEMETRY__OTLP_ENDPOINT", endpoint),
            ("UNDERTONE_TELEMETRY__SAMPLING_RATIO", "1.0"),
            ("UNDERTONE_TELEMETRY__ONE_WINDOW_IN", "1"),
            ("UNDERTONE_TELEMETRY__QUEUE_SPANS", "4"),
            ("UNDERTONE_TELEMETRY__EXPORT_TIMEOUT", "500ms"),
        ],
        &log,
    );
    for _ in 0..3 {
        let call = traced_call(grpc, Message::Config(customer("call")), SAMPLED).await;
        call.speak(&voice(4.0)).await;
        let closed = call.end().await;
        assert!(closed.status.is_ok());
        assert!(closed.events().len() >= 8, "{closed:?}");
        closed.summaries(EndReason::Completed);
    }
    for result in ["failed", "dropped"] {
        let none = format!("undertone_spans_total{{result=\"{result}\"}} 0\n");
        eventually!(get(admin, "/metrics").1.contains(&none), false);
    }
    let began = Instant::now();
    program.signal("-TERM");
    assert!(program.ended().await.success());
    let logs = fs::read_to_string(&log).unwrap();
    assert_eq!(logs.matches("the collector took no spans").count(), 1, "{told}: {logs}");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_or_never_answers_disturbs_no_call_and_no_end() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let deaf = Collector { deaf: true, ..Collector::default() };
    let never_answers = deaf.listen().await;
    for (endpoint, told) in [(address, "not there"), (never_answers, "never answers")] {
        let took = call_with_collector(&format!("http://{endpoint}"), told).await;
        assert!(took < PATIENCE / 2, "{told}: the end took {took:?}");
    }
}
