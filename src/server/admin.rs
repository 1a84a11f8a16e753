//! The admin port: /livez, /readyz and /metrics over HTTP/1.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::health::Readiness;
use crate::telemetry::metrics::process;

/// The text format that Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Sources {
    readiness: watch::Receiver<Readiness>,
    metrics: PrometheusHandle,
}

/// The routes of the admin port.
pub(super) fn router(readiness: watch::Receiver<Readiness>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .with_state(Sources { readiness, metrics })
}

async fn readyz(State(sources): State<Sources>) -> impl IntoResponse {
    match *sources.readiness.borrow() {
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Readiness::JournalNotWritable => {
            (StatusCode::SERVICE_UNAVAILABLE, "the journal cannot be written; calls are analysed, see the logs\n")
        }
        Readiness::Failed => (StatusCode::SERVICE_UNAVAILABLE, "inference failed for good; see the logs\n"),
    }
}

async fn prometheus(State(sources): State<Sources>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PROMETHEUS)], sources.metrics.render() + &process::render())
}
