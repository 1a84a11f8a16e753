//! What an operator sees: logs on standard error, metrics by [`metrics`], traces by [`trace`] where a collector is configured.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt as _, registry::LookupSpan,
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
    /// Levels by module, as tracing's `EnvFilter` reads them: "info", "undertone=debug,warn".
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
        let filter = EnvFilter::try_new(&self.filter).unwrap_or_else(|_| EnvFilter::new(Self::default().filter));
        // Colours in a file or a journal are noise.
        let colours = std::io::stderr().is_terminal();
        let Some((tracer, export)) = telemetry.tracer() else {
            let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
            let logs = logs.with_ansi(colours);
            let _ = match self.format {
                LogFormat::Text => logs.try_init(),
                LogFormat::Json => logs.json().try_init(),
            };
            return None;
        };
        // What is logged and what is traced are filtered apart.
        let spans = tracing_subscriber::registry().with(spans(tracer.clone()));
        let logs = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
        let started = match self.format {
            LogFormat::Text => spans.with(logs.with_filter(filter)).try_init(),
            LogFormat::Json => spans.with(logs.json().with_filter(filter)).try_init(),
        };
        started.ok()?;
        trace::begin(tracer, telemetry.sampling_ratio, telemetry.one_window_in);
        Some(export)
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

    use tracing::{Id, span::Attributes, subscriber::with_default};
    use tracing_subscriber::{layer::Context, registry};

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
        with_default(registry().with(counting.clone().with_filter(filter_fn(trace::is_traced))), || {
            let (call, traced) = trace::call(&trace::Parent::default());
            for _ in 0..100 {
                call.in_scope(|| tracing::info!("told to logs"));
            }
            assert!(traced.is_none() && !call.is_none());
            assert_eq!(count(), 0);
            let sampled = tracing::info_span!(target: "undertone::traced", "call");
            sampled.in_scope(|| tracing::info!("told to logs"));
            assert_eq!(count(), 3, "made, entered, left");
        });
    }
}
