//! A call's spans, for a collector that understands OpenTelemetry. A leaf, as [`super::metrics`] is: it knows nothing of what is traced.
//!
//! | span | parent | made for |
//! |---|---|---|
//! | `call` | what the client's `traceparent` names, or none | a call's stream |
//! | `window` | `call` | one window in so many of a call that is sampled; linked to its `batch run` |
//! | `decode`, `features`, `queue`, `batch`, `inference`, `decision` | `window` | the stages of its way |
//! | `batch run` | none, since its windows are of many traces | a batch with such a window in it; linked to each |
//!
//! `decode` and `features` are those of the chunk that completed the window. Until [`begin`], and for what is not sampled, nothing is made
//! and no clock is read. Spans hold no call's id but the session's, as logs do, and nothing that was heard.

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
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of a batch, which is sampled whenever one of its windows is.
pub(super) const BATCH_RUN: &str = "batch run";

/// What W3C Trace Context is written in.
const HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The process's own, as its logs are.
static TRACING: OnceLock<Tracing> = OnceLock::new();

#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    one_window_in: u32,
}

/// What caused a call, by its client's trace.
#[derive(Debug, Clone, Default)]
pub struct Parent(Option<Context>);

/// A call's stream that is sampled.
#[derive(Debug)]
pub struct Stream {
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

/// Makes spans from now on, of one window in so many. Only the first tracer of a process counts.
pub(super) fn begin(tracer: SdkTracer, one_window_in: u32) {
    let _ = TRACING.set(Tracing { tracer, one_window_in });
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
}

impl Stream {
    /// Gives a call's span its parent, and its field `trace_id` where it is sampled; only then is there a stream.
    pub fn begin(span: &tracing::Span, parent: &Parent) -> Option<Self> {
        TRACING.get()?;
        if let Some(parent) = &parent.0 {
            // A span that logs alone are made of has no parent.
            let _ = span.set_parent(parent.clone());
        }
        let context = span.context();
        let of_span = context.span().span_context().clone();
        if !of_span.is_sampled() {
            return None;
        }
        span.record("trace_id", tracing::field::display(of_span.trace_id()));
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
        let builder = SpanBuilder::from_name(BATCH_RUN)
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
