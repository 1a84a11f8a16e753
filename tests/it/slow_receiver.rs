//! A receiver of alerts that answers late, by a gate that the test opens.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use undertone::server::proto::{EndReason, analyze_response::Message};

use crate::{
    supervise::{Watcher, from},
    webhook::{Receiver, alarming, harness, posts_total},
};

/// A receiver that accepts every post, and answers none before its gate is opened.
struct Slow {
    address: SocketAddr,
    gate: Arc<Gate>,
    serving: JoinHandle<()>,
}

struct Gate {
    open: Semaphore,
    /// Call and state of each post that came, and of each that was answered.
    came: Mutex<Vec<(String, String)>>,
    answered: Mutex<Vec<(String, String)>>,
}

impl Slow {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate { open: Semaphore::new(0), came: Mutex::default(), answered: Mutex::default() });
        let router = Router::new().fallback(answer_late).with_state(Arc::clone(&gate));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, gate, serving }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer_late(State(gate): State<Arc<Gate>>, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let post = (text("callId"), text("state"));
    gate.came.lock().unwrap().push(post.clone());
    gate.open.acquire().await.unwrap().forget();
    gate.answered.lock().unwrap().push(post);
    StatusCode::OK
}

/// All that must not wait for a receiver happens while it has a post in hand, and has answered none.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_delays_nothing_but_its_own_posts() {
    let (slow, prompt) = (Slow::start().await, Receiver::start([]).await);
    let urls = [format!("http://{}/", slow.address), prompt.url()];
    let harness = harness(&urls, |config| config.webhook.timeout = Duration::from_secs(600)).await;
    let mut watcher = Watcher::of(&mut harness.supervisor().await, from(0)).await;
    let fire_and_end = ["ALERT_STATE_FIRING", "ALERT_STATE_RESOLVED"];
    alarming(&harness, "first").await;
    // It has the first in hand, and everything else happens now.
    eventually!(
        slow.gate.came.lock().unwrap().first().cloned(),
        Some(("first".to_owned(), fire_and_end[0].to_owned()))
    );
    let calls = ["first", "second", "third", "fourth"];
    for call in &calls[1..] {
        let closed = alarming(&harness, call).await;
        let sequences: Vec<i64> = closed.events().iter().map(|event| event.sequence).collect();
        assert!(sequences.len() >= 12 && sequences.iter().copied().eq(1..=sequences.len() as i64), "{sequences:?}");
        let summary = closed.summaries(EndReason::Completed)[0];
        assert_eq!((summary.dropped_events, summary.shed_windows), (0, 0), "{summary:?}");
        let alerts = closed.responses.iter().filter(|response| matches!(response, Message::Alert(_))).count();
        assert_eq!(alerts, 2, "on the call's own stream");
    }
    let told = watcher.changes(2 * calls.len()).await;
    assert!(told.iter().map(|(call, _)| call.as_str()).eq(calls.iter().flat_map(|call| [*call; 2])), "{told:?}");
    eventually!(prompt.taken().len(), 2 * calls.len());
    let kept = harness.server.sessions().journal().call("fourth").await.unwrap();
    assert!(kept.len() >= 4, "the journal is written: {kept:?}");
    assert_eq!(harness.get("/readyz").0, 200);
    assert_eq!(*slow.gate.answered.lock().unwrap(), [], "all that was while it had answered nothing");
    assert_eq!(posts_total(&harness, "delivered"), (2 * calls.len()).to_string(), "the prompt one's");

    // Then it gets all that it was to get, each alert in its order.
    slow.gate.open.add_permits(1000);
    eventually!(slow.gate.answered.lock().unwrap().len(), 2 * calls.len());
    let answered = slow.gate.answered.lock().unwrap().clone();
    for call in calls {
        let states: Vec<&str> = answered.iter().filter(|(of, _)| of == call).map(|(_, state)| state.as_str()).collect();
        assert_eq!(states, fire_and_end, "{call} in {answered:?}");
    }
    eventually!(harness.metric("undertone_webhook_lag_seconds "), "0");
    harness.stop().await;
}
