//! Spans on their way to a collector, by OTLP over gRPC. A collector that is down or slow costs nothing but the spans: they wait in a bounded
//! queue, what finds it full is dropped and counted, and nobody waits for the collector but the one task that exports.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor},
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::metrics::TraceMetrics;

/// Spans in one export, as OpenTelemetry's own default has it.
const EXPORT_SPANS: usize = 512;
/// Time between two exports: what a person who looks for a trace does not notice.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long the end waits for a collector.
const LAST_EXPORTS: Duration = Duration::from_secs(2);
/// Failures are logged once in so long at most; all are counted.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);

/// Whether calls are traced, and where to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The collector, such as "http://127.0.0.1:4317": OTLP over gRPC without TLS. Left out: nothing is traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// The part of calls that is traced, 0 to 1, where the client's `traceparent` does not say whether.
    pub sampling_ratio: f64,
    /// Of a call that is traced, one window in so many is followed on its way; at least 1.
    pub one_window_in: u32,
    /// The service, as traces name it.
    pub service_name: String,
    /// An export that takes longer has failed.
    #[serde(with = "humantime_serde")]
    pub export_timeout: Duration,
    /// Spans that may wait for the collector; one more is dropped and counted.
    pub queue_spans: usize,
}

/// What waits for the collector, and is to be brought there.
#[derive(Debug)]
pub struct Export {
    spans: mpsc::Receiver<SpanData>,
    dropped: Arc<AtomicU64>,
    options: Telemetry,
    endpoint: String,
}

/// Where spans that ended come in.
#[derive(Debug)]
struct Intake {
    spans: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            sampling_ratio: 0.01,
            // Ten seconds of a leg at the default stride.
            one_window_in: 20,
            service_name: "undertone".to_owned(),
            export_timeout: Duration::from_secs(5),
            // About 4 MB when it is full.
            queue_spans: 8192,
        }
    }
}

impl Telemetry {
    /// What makes spans, and what brings them to the collector; none where there is none.
    pub(super) fn tracer(&self) -> Option<(SdkTracer, Export)> {
        let endpoint = self.otlp_endpoint.clone()?;
        let (sender, spans) = mpsc::channel(self.queue_spans);
        let dropped = Arc::<AtomicU64>::default();
        let provider = SdkTracerProvider::builder()
            // Of what is not sampled nothing is made.
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(Intake { spans: sender, dropped: Arc::clone(&dropped) })
            .build();
        let export = Export { spans, dropped, options: self.clone(), endpoint };
        Some((provider.tracer("undertone"), export))
    }

    fn resource(&self) -> Resource {
        Resource::builder_empty()
            .with_service_name(self.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build()
    }
}

impl Export {
    /// Brings spans to the collector until `stop`, and then what waits for at most two seconds more.
    pub async fn run(self, metrics: TraceMetrics, stop: impl Future<Output = ()>) {
        let Self { mut spans, dropped, options, endpoint } = self;
        let exporter = match exporter(&options, endpoint) {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(%error, "spans cannot be exported: check telemetry.otlp_endpoint");
                return stop.await;
            }
        };
        let stopping = AtomicBool::new(false);
        let mut exporting = pin!(async {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut complained: Option<Instant> = None;
            loop {
                let last = stopping.load(Ordering::Relaxed);
                loop {
                    metrics.dropped(dropped.swap(0, Ordering::Relaxed));
                    let batch: Vec<SpanData> =
                        std::iter::from_fn(|| spans.try_recv().ok()).take(EXPORT_SPANS).collect();
                    if batch.is_empty() {
                        break;
                    }
                    let count = batch.len() as u64;
                    let exported = tokio::time::timeout(options.export_timeout, exporter.export(batch)).await;
                    match exported {
                        Ok(Ok(())) => metrics.exported(count),
                        failed => {
                            metrics.failed(count);
                            if complained.is_none_or(|at| at.elapsed() > COMPLAIN_AGAIN) {
                                complained = Some(Instant::now());
                                let error = match failed {
                                    Ok(Err(error)) => error.to_string(),
                                    _ => format!("no answer within {:?}", options.export_timeout),
                                };
                                tracing::warn!(error, spans = count, "the collector took no spans; calls go on");
                            }
                        }
                    }
                }
                if last {
                    return;
                }
                ticks.tick().await;
            }
        });
        tokio::select! {
            () = &mut exporting => return,
            () = stop => stopping.store(true, Ordering::Relaxed),
        }
        if tokio::time::timeout(LAST_EXPORTS, exporting).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

fn exporter(options: &Telemetry, endpoint: String) -> Result<SpanExporter, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(options.export_timeout);
    let mut exporter = exporter.build()?;
    exporter.set_resource(&options.resource());
    Ok(exporter)
}

impl SpanProcessor for Intake {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
