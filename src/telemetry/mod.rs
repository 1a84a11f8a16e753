//! What an operator sees: logs on standard error, metrics by [`metrics`], traces by [`trace`] where a collector is configured.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, ParseError, Targets, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

pub mod metrics;
mod otlp;
pub mod trace;

pub use metrics::Metrics;
pub use otlp::{Export, Telemetry};

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Levels by module: "info", "undertone=debug,warn".
    pub filter: String,
    /// How a line is written.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Log {
    /// Sends the process's logs to standard error, and makes spans where a collector is configured: what is given back has to be run to
    /// bring them there. A filter that cannot be read (the configuration refuses it) logs what the default does; a process that logs
    /// already goes on as it does.
    pub fn start(&self, telemetry: &Telemetry) -> Option<Export> {
        let levels = self.levels().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
        let (tracer, export) = telemetry.tracer().unzip();
        // What is logged and what is traced are apart.
        let traced = tracer.as_ref().map(|_| (trace::TRACED, LevelFilter::INFO));
        // Colours in a file or a journal are noise.
        let logs = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let logs = match self.format {
            LogFormat::Text => logs.boxed(),
            LogFormat::Json => logs.json().boxed(),
        };
        let subscriber = registry().with(levels.with_targets(traced)).with(tracer.clone().map(spans)).with(logs);
        subscriber.try_init().ok()?;
        trace::begin(tracer?, telemetry.sampling_ratio, telemetry.one_window_in);
        export
    }

    /// What is logged. Not by tracing's `EnvFilter`: that takes a lock, which all calls share, whenever a span is entered or left, and a call's
    /// is at every poll of its task.
    ///
    /// # Errors
    /// The filter's text is none.
    pub fn levels(&self) -> Result<Targets, ParseError> {
        let words = self.filter.split(',').map(str::trim).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        // As `EnvFilter` has it.
        if words.is_empty() { "error".parse() } else { words.join(",").parse() }
    }
}

/// Spans of what is sampled alone, and none of what is logged in them. They are entered at every poll of a call's task: what happens then
/// must cost next to nothing, so no thread is told which context it is in.
fn spans<S>(tracer: opentelemetry_sdk::trace::SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_context_activation(false);
    let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_target(false);
    layer.with_filter(filter_fn(trace::is_traced))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing::{Id, Level, span::Attributes, subscriber::with_default};
    use tracing_subscriber::layer::Context;

    use super::*;

    /// Counts what a collector's layer has to do with spans.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Counting {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn on_enter(&self, _: &Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn on_exit(&self, _: &Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_collectors_layer_has_nothing_to_do_with_what_is_not_sampled() {
        let counting = Counting::default();
        let count = || counting.0.load(Ordering::Relaxed);
        let logs = fmt::layer().with_writer(std::io::sink);
        with_default(registry().with(counting.clone().with_filter(filter_fn(trace::is_traced))).with(logs), || {
            let (call, traced) = trace::call(&trace::Parent::default());
            for _ in 0..100 {
                call.in_scope(|| tracing::info!("told to logs"));
            }
            assert!(traced.is_none() && !call.is_none());
            assert_eq!(count(), 0);
            let sampled = tracing::info_span!(target: trace::TRACED, "call");
            sampled.in_scope(|| tracing::info!("told to logs"));
            assert_eq!(count(), 3, "made, entered, left");
        });
    }

    #[test]
    fn levels_are_by_module() {
        let enabled = |filter: &str, module: &str, level| {
            let log = Log { filter: filter.to_owned(), ..Log::default() };
            log.levels().unwrap().would_enable(module, &level)
        };
        assert!(enabled("info", "h2", Level::INFO) && !enabled("info", "undertone", Level::DEBUG));
        assert!(enabled(" undertone=debug, ,warn", "undertone::session", Level::DEBUG));
        assert!(!enabled("undertone=debug,warn", "h2", Level::INFO));
        assert!(enabled("", "undertone", Level::ERROR) && !enabled("", "undertone", Level::WARN));
    }
}
