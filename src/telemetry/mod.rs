//! What an operator sees: logs on standard error, metrics by [`metrics`], traces by [`trace`] where a collector is configured.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing::{Level, Metadata, Subscriber};
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
        trace::begin(tracer, telemetry.one_window_in);
        Some(export)
    }
}

/// Our own spans alone, and none of what is logged in them.
fn spans<S>(tracer: opentelemetry_sdk::trace::SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let ours = |told: &Metadata<'_>| {
        told.is_span() && *told.level() <= Level::INFO && told.target().starts_with(env!("CARGO_PKG_NAME"))
    };
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_target(false);
    layer.with_filter(filter_fn(ours))
}
