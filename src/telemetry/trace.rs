//! A request's spans, for a collector that understands OpenTelemetry. A leaf, as [`super::metrics`] is: it knows nothing of what is traced.
//!
//! | span | parent | made for |
//! |---|---|---|
//! | `call` | what the client's `traceparent` names, or none | a call's stream, one that is refused too |
//! | `classify` | the same | a short recording, one that is refused too |
//! | `window` | `call`, `classify` | one window in so many of a request that is sampled; linked to its `batch run` |
//! | `decode`, `features`, `queue`, `batch`, `inference`, `decision` | `window` | the stages of its way |
//! | `batch run` | none, since its windows are of many traces | a batch with such a window in it; linked to each |
//!
//! `decode` and `features` are those of the chunk that completed the window. Whether a request is sampled is settled before its span is
//! made: until [`begin`], and of what is not sampled, only its log lines have a span, and no clock is read. Spans hold no call's id but the
//! session's, as logs do, and nothing that was heard.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Instant, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Link, SpanBuilder, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};
use tracing::{
    Metadata, Span,
    field::{Empty, display},
    info_span,
};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// What W3C Trace Context is written in.
const HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The target of spans that the collector is told of.
pub(super) const TRACED: &str = concat!(env!("CARGO_PKG_NAME"), "::traced");

/// The process's own, as its logs are.
static TRACING: OnceLock<Tracing> = OnceLock::new();

#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    sampling_ratio: f64,
    one_window_in: u32,
}

/// What caused a request, by its client's trace.
#[derive(Debug, Clone, Default)]
pub struct Parent(Option<Context>);

/// A request that is sampled: a call's stream, or a recording.
#[derive(Debug)]
pub struct Request {
    context: Context,
    /// Windows until the next one that is traced.
    until_next: u32,
}

/// A window that is traced. Cheap to clone: all clones are of one window.
#[derive(Clone)]
pub struct Window(Arc<Mutex<Way>>);

/// The windows of a batch that are traced.
pub struct Batch {
    context: Context,
    windows: Vec<Window>,
    taken: Instant,
}

/// When the last chunk of a window was worked on.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    /// Decoding began.
    pub began: Instant,
    /// Decoding ended, features began.
    pub decoded: Instant,
    /// Features ended.
    pub heard: Instant,
}

struct Way {
    context: Context,
    clock: Clock,
    chunk: Option<Chunk>,
    queued: Instant,
    run: Option<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    taken: Instant,
    gathered: Instant,
    ended: Instant,
}

/// [`HEADERS`] and what they say.
struct Headers<'a>([(&'static str, Option<&'a str>); 2]);

/// The time of day at a moment of the monotonic clock.
#[derive(Clone, Copy)]
struct Clock(Instant, SystemTime);

/// Makes spans from now on, of such a part of the requests whose client does not say, and of one window in so many. Only the first tracer
/// of a process counts.
pub(super) fn begin(tracer: SdkTracer, sampling_ratio: f64, one_window_in: u32) {
    let _ = TRACING.set(Tracing { tracer, sampling_ratio, one_window_in });
}

/// Whether the collector is told of this span.
pub(super) fn is_traced(told: &Metadata<'_>) -> bool {
    told.is_span() && told.target() == TRACED
}

/// A request's span, for log lines alone or for the collector too; its fields are told as they become known.
macro_rules! span {
    ($name:literal, $parent:expr) => {
        if $parent.is_sampled() {
            let span = info_span!(
                target: TRACED, $name, session_id = Empty, model = Empty, refused = Empty, trace_id = Empty
            );
            let request = Request::begin(&span, $parent);
            (span, request)
        } else {
            (info_span!($name, session_id = Empty, model = Empty, refused = Empty), None)
        }
    };
}

/// The span of a call's stream, which its task is to run in, and what traces its windows where it is sampled.
pub fn call(parent: &Parent) -> (Span, Option<Request>) {
    span!("call", parent)
}

/// The same of a short recording.
pub fn classify(parent: &Parent) -> (Span, Option<Request>) {
    span!("classify", parent)
}

/// Tells of the request whose span this is in that it was refused.
pub fn refused(reason: &'static str) {
    Span::current().record("refused", reason);
}

impl Parent {
    /// As W3C Trace Context has it, from headers by their name; none where nothing is traced, or what stands there is none.
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        if TRACING.get().is_none() {
            return Self::default();
        }
        let headers = Headers(HEADERS.map(|name| (name, header(name))));
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        Self(context.span().span_context().is_valid().then_some(context))
    }

    /// Whether what it causes is traced: as the client says, else such a part of it.
    fn is_sampled(&self) -> bool {
        let Some(tracing) = TRACING.get() else { return false };
        match &self.0 {
            Some(context) => context.span().span_context().is_sampled(),
            None => rand::random::<f64>() < tracing.sampling_ratio,
        }
    }
}

impl Request {
    /// Gives a request's span its parent and its field `trace_id`. None where nobody is told of it.
    fn begin(span: &Span, parent: &Parent) -> Option<Self> {
        if let Some(parent) = &parent.0 {
            // A span that logs alone are made of has no parent.
            let _ = span.set_parent(parent.clone());
        }
        let context = span.context();
        let of_span = context.span().span_context().clone();
        if !of_span.is_sampled() {
            return None;
        }
        span.record("trace_id", display(of_span.trace_id()));
        Some(Self { context, until_next: 0 })
    }

    /// The next window, which is handed in now, if it is one that is traced.
    pub fn window(&mut self, chunk: Option<Chunk>) -> Option<Window> {
        let tracing = TRACING.get()?;
        if self.until_next > 0 {
            self.until_next -= 1;
            return None;
        }
        self.until_next = tracing.one_window_in - 1;
        let queued = Instant::now();
        let clock = Clock(queued, SystemTime::now());
        let began = chunk.map_or(queued, |chunk| chunk.began);
        let builder = SpanBuilder::from_name("window").with_start_time(clock.at(began));
        let span = tracing.tracer.build_with_context(builder, &self.context);
        let context = Context::new().with_span(span);
        Some(Window(Arc::new(Mutex::new(Way { context, clock, chunk, queued, run: None }))))
    }
}

impl Window {
    /// What became of it is told, by a decision that began then and ends now: the end of its way.
    pub fn decided(&self, began: Instant, outcome: &'static str) {
        let (Some(tracing), ended) = (TRACING.get(), Instant::now()) else { return };
        let way = self.way();
        let stage = |name: &'static str, from: Instant, to: Instant| {
            let builder = SpanBuilder::from_name(name).with_start_time(way.clock.at(from));
            let span = tracing.tracer.build_with_context(builder, &way.context);
            Context::new().with_span(span).span().end_with_timestamp(way.clock.at(to));
        };
        if let Some(chunk) = way.chunk {
            stage("decode", chunk.began, chunk.decoded);
            stage("features", chunk.decoded, chunk.heard);
        }
        match way.run {
            Some(run) => {
                stage("queue", way.queued, run.taken);
                stage("batch", run.taken, run.gathered);
                stage("inference", run.gathered, run.ended);
            }
            // Given up, or refused.
            None => stage("queue", way.queued, began),
        }
        stage("decision", began, ended);
        let span = way.context.span();
        span.set_attribute(KeyValue::new("outcome", outcome));
        span.end_with_timestamp(way.clock.at(ended));
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// A batch of `size` windows, these of them traced, that was taken then. None where none is.
    pub fn begin<'a>(windows: impl Iterator<Item = &'a Window>, size: usize, taken: Instant) -> Option<Self> {
        let windows: Vec<Window> = windows.cloned().collect();
        let (tracing, first) = (TRACING.get()?, windows.first()?);
        let started = first.way().clock.at(taken);
        let links = windows.iter().map(|window| Link::with_context(window.way().context.span().span_context().clone()));
        let builder = SpanBuilder::from_name("batch run")
            .with_start_time(started)
            .with_links(links.collect())
            .with_attributes([KeyValue::new("windows", i64::try_from(size).unwrap_or(i64::MAX))]);
        let span = tracing.tracer.build_with_context(builder, &Context::new());
        let context = Context::new().with_span(span);
        for window in &windows {
            window.way().context.span().add_link(context.span().span_context().clone(), Vec::new());
        }
        Some(Self { context, windows, taken })
    }

    /// It was put together then, and its run ends now.
    pub fn ran(self, gathered: Instant) {
        let ended = Instant::now();
        for window in &self.windows {
            window.way().run = Some(Run { taken: self.taken, gathered, ended });
        }
        if let Some(window) = self.windows.first() {
            self.context.span().end_with_timestamp(window.way().clock.at(ended));
        }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|(name, value)| if *name == key { *value } else { None })
    }

    fn keys(&self) -> Vec<&str> {
        HEADERS.to_vec()
    }
}

impl Clock {
    fn at(self, moment: Instant) -> SystemTime {
        let Self(instant, time) = self;
        let (later, earlier) = (moment.saturating_duration_since(instant), instant.saturating_duration_since(moment));
        time + later - earlier
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Window").field(&self.way().context).finish()
    }
}
