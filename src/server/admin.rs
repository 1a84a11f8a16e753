//! The admin port: /livez, /readyz, /metrics and /reload over HTTP/1.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::sync::watch;

use super::{
    health::Readiness,
    reload::{Refused, Reloader, Trigger},
};
use crate::telemetry::metrics::process;

/// The text format that Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Sources {
    readiness: watch::Receiver<Readiness>,
    metrics: PrometheusHandle,
    reloader: Arc<Reloader>,
}

/// The routes of the admin port.
pub(super) fn router(
    readiness: watch::Receiver<Readiness>,
    metrics: PrometheusHandle,
    reloader: Arc<Reloader>,
) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .route("/reload", post(reload))
        .with_state(Sources { readiness, metrics, reloader })
}

async fn readyz(State(sources): State<Sources>) -> impl IntoResponse {
    match *sources.readiness.borrow() {
        Readiness::Ready => {
            let lines = std::iter::once("ready".to_owned()).chain(sources.reloader.fallbacks());
            (StatusCode::OK, lines.map(|line| line + "\n").collect())
        }
        Readiness::Draining => unready("draining"),
        Readiness::JournalNotWritable => unready("the journal cannot be written; calls are analysed, see the logs"),
        Readiness::Failed => unready("inference failed for good; see the logs"),
    }
}

fn unready(why: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}

/// 200 with what changed, 422 with why nothing did, as JSON.
async fn reload(State(sources): State<Sources>) -> impl IntoResponse {
    let (status, told) = match sources.reloader.reload(Trigger::Admin).await {
        Ok(told) => (StatusCode::OK, serde_json::to_value(told).unwrap_or_default()),
        Err(refused) => {
            let status = match refused {
                Refused::Draining(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (status, json!({ "result": "refused", "error": refused.to_string() }))
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{told}\n"))
}

async fn prometheus(State(sources): State<Sources>) -> impl IntoResponse {
    // All values since the last time are counted first, more than an executor has the time for.
    let page = tokio::task::spawn_blocking(move || sources.metrics.render() + &process::render()).await;
    page.map(|page| ([(header::CONTENT_TYPE, PROMETHEUS)], page)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
