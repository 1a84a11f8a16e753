//! Alerts posted to real receivers on the loopback.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};
use undertone::{
    config::Config,
    decision::{Rules, alert},
    journal::Options,
    server::{
        json::Writer,
        proto::{Alert, ControlAction, EndReason, analyze_response::Message},
    },
};

use crate::{
    harness::{ALWAYS, Call, Closed, Harness, customer, voice},
    nats::Nats,
};

const SECRET: &str = "sixteen letters, and some more";

/// A receiver of posts, which answers as it was told to, and 200 afterwards.
pub(crate) struct Receiver {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    serving: JoinHandle<()>,
}

/// A status and where it leads or how long it asks for.
type Answer = (u16, Option<(header::HeaderName, String)>);

#[derive(Debug, Clone)]
struct Post {
    headers: HeaderMap,
    body: Bytes,
    answered: u16,
}

type Shared = (Arc<Mutex<Vec<Post>>>, Arc<Mutex<VecDeque<Answer>>>);

impl Receiver {
    pub(crate) async fn start(answers: impl IntoIterator<Item = u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (posts, answers) = (Arc::default(), answers.into_iter().map(|status| (status, None)).collect());
        let shared: Shared = (posts, Arc::new(Mutex::new(answers)));
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, posts: shared.0, answers: shared.1, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?token=t", self.address)
    }

    fn answer(&self, status: u16, name: header::HeaderName, value: &str) {
        self.answers.lock().unwrap().push_back((status, Some((name, value.to_owned()))));
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// What it took, as the state of each.
    pub(crate) fn taken(&self) -> Vec<String> {
        self.posts().iter().filter(|post| post.answered == 200).map(|post| post.text("state")).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State((posts, answers)): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let (answered, header) = answers.lock().unwrap().pop_front().unwrap_or((200, None));
    posts.lock().unwrap().push(Post { headers, body, answered });
    let header = header.unwrap_or((header::SERVER, "receiver".to_owned()));
    (StatusCode::from_u16(answered).unwrap(), [header], "told").into_response()
}

impl Post {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn text(&self, field: &str) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}")).to_owned()
    }

    /// As a receiver checks it.
    #[track_caller]
    fn assert_signed(&self) {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut code = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        code.update([format!("{id}.{timestamp}.").as_bytes(), &self.body].concat().as_slice());
        let expected = format!("v1,{}", BASE64_STANDARD.encode(code.finalize().into_bytes()));
        assert_eq!(self.header("webhook-signature"), expected);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(timestamp.parse().unwrap()) < 60, "{timestamp}");
    }
}

/// Posts to these, and waits for nothing long.
fn posting(config: &mut Config, urls: &[String]) {
    config.webhook.urls = urls.to_vec();
    config.webhook.secret = Some(SECRET.into());
    config.webhook.first_wait = Duration::from_millis(5);
    config.webhook.longest_wait = Duration::from_millis(20);
}

pub(crate) async fn harness(urls: &[String], change: impl FnOnce(&mut Config)) -> Harness {
    let harness = Harness::with(|config| {
        posting(config, urls);
        change(config);
    })
    .await;
    harness.server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
    harness
}

/// A call in which an alert fires, and is over with the call.
pub(crate) async fn alarming(harness: &Harness, call_id: &str) -> Closed {
    let call = harness.call(customer(call_id)).await;
    call.speak(&voice(6.0)).await;
    let closed = call.end().await;
    closed.summaries(EndReason::Completed);
    closed
}

/// A call whose alert fires.
async fn fired(harness: &Harness, call_id: &str) -> (Call, Alert) {
    let mut call = harness.call(customer(call_id)).await;
    call.speak(&voice(6.0)).await;
    loop {
        match call.next().await {
            Some(Ok(Message::Alert(alert))) => return (call, alert),
            Some(Ok(_)) => {}
            closed => panic!("no alert, but {closed:?}"),
        }
    }
}

pub(crate) fn posts_total(harness: &Harness, result: &str) -> String {
    harness.metric(&format!("undertone_webhook_posts_total{{result=\"{result}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_posted_signed_as_the_calls_own_stream_told_it() {
    let receiver = Receiver::start([]).await;
    let harness = harness(&[receiver.url()], |_| ()).await;
    let closed = alarming(&harness, "c").await;
    eventually!(receiver.taken(), ["FIRING", "RESOLVED"].map(|state| format!("ALERT_STATE_{state}")));
    let writer = Writer::<Alert>::new("Alert").unwrap();
    let mut told = Vec::new();
    for response in &closed.responses {
        if let Message::Alert(alert) = response {
            told.push(serde_json::from_str::<Value>(&writer.line(alert).unwrap()).unwrap());
        }
    }
    let posts = receiver.posts();
    for (post, told) in posts.iter().zip(&told) {
        post.assert_signed();
        assert_eq!(post.header("content-type"), "application/json");
        assert!(post.header("user-agent").starts_with("undertone/"));
        let mut posted: Value = serde_json::from_slice(&post.body).unwrap();
        // The journal keeps milliseconds.
        let millis = |value: &Value| value.as_str().unwrap()[.."2026-01-01T00:00:00.000".len()].to_owned();
        assert_eq!(millis(&posted["changedAt"]), millis(&told["changedAt"]));
        posted["changedAt"] = told["changedAt"].clone();
        assert_eq!(&posted, told);
    }
    assert_ne!(posts[0].header("webhook-id"), posts[1].header("webhook-id"));
    let sequences = [0, 1].map(|at: usize| posts[at].header("undertone-sequence").parse::<u64>().unwrap());
    assert!(sequences[0] < sequences[1]);
    eventually!(posts_total(&harness, "delivered"), "2");
    eventually!(harness.metric("undertone_webhook_lag_seconds "), "0");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_failed_is_made_again_and_one_that_was_refused_is_not() {
    let receiver = Receiver::start([500, 503, 410]).await;
    let harness = harness(&[receiver.url()], |_| ()).await;
    alarming(&harness, "c").await;
    eventually!(receiver.posts().iter().map(|post| post.answered).collect::<Vec<_>>(), [500, 503, 410, 200]);
    let posts = receiver.posts();
    let ids: Vec<&str> = posts.iter().map(|post| post.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    assert!(posts.iter().take(3).all(|post| post.body == posts[0].body));
    posts.iter().for_each(Post::assert_signed);
    assert_eq!(posts[3].text("state"), "ALERT_STATE_RESOLVED");
    eventually!(posts_total(&harness, "delivered"), "1");
    assert_eq!(
        (posts_total(&harness, "refused").as_str(), harness.metric("undertone_webhook_retries_total ").as_str()),
        ("1", "2")
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_gets_it() {
    let receiver = Receiver::start([]).await;
    receiver.answer(429, header::RETRY_AFTER, "1");
    let harness = harness(&[receiver.url()], |_| ()).await;
    let began = std::time::Instant::now();
    alarming(&harness, "c").await;
    eventually!(receiver.taken().len(), 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_delays_neither_calls_nor_other_receivers() {
    // Takes connections, and never answers.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", dead.local_addr().unwrap());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let receiver = Receiver::start([]).await;
    let harness = harness(&[silent, format!("http://{gone}/"), receiver.url()], |_| ()).await;
    for call in 0..3 {
        let closed = alarming(&harness, &format!("c{call}")).await;
        assert!(closed.events().len() >= 10, "{}", closed.events().len());
    }
    eventually!(receiver.taken().len(), 6);
    eventually!(harness.metric("undertone_webhook_lag_seconds ") == "0", false);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_posts_go_on_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(std::iter::repeat_n(503, 10_000)).await;
    let start =
        async |path: &Path| harness(&[receiver.url()], |config| config.journal.path = Some(path.to_owned())).await;
    let path = dir.path().join("journal.db");
    let first = start(&path).await;
    alarming(&first, "away").await;
    eventually!(receiver.posts().is_empty(), false);
    first.stop().await;
    assert_eq!(receiver.taken(), [""; 0]);

    receiver.answers.lock().unwrap().clear();
    let second = start(&path).await;
    eventually!(receiver.taken(), ["ALERT_STATE_FIRING", "ALERT_STATE_RESOLVED"]);
    second.stop().await;

    let third = start(&path).await;
    alarming(&third, "later").await;
    eventually!(receiver.taken().len(), 4);
    third.stop().await;
    let posts = receiver.posts();
    let mut ids: Vec<&str> =
        posts.iter().filter(|post| post.answered == 200).map(|post| post.header("webhook-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "something was posted twice");
    assert_eq!(posts.last().unwrap().text("callId"), "later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let (receiver, other) = (Receiver::start([]).await, Receiver::start([]).await);
    for status in [307, 301] {
        receiver.answer(status, header::LOCATION, &other.url());
    }
    let harness = harness(&[receiver.url()], |_| ()).await;
    alarming(&harness, "c").await;
    eventually!(posts_total(&harness, "refused"), "2");
    assert_eq!((receiver.posts().len(), other.posts().len()), (2, 0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_chosen_is_posted() {
    let (some, none) = (Receiver::start([]).await, Receiver::start([]).await);
    let a = harness(&[some.url()], |config| config.webhook.states = vec![alert::State::Resolved]).await;
    let b = harness(&[none.url()], |config| config.webhook.rules = vec!["another".to_owned()]).await;
    for harness in [a, b] {
        alarming(&harness, "c").await;
        harness.stop().await;
    }
    assert_eq!((some.taken(), none.posts().len()), (vec!["ALERT_STATE_RESOLVED".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_before_it_could_be_posted_never_is() {
    let receiver = Receiver::start(std::iter::repeat_n(500, 10_000)).await;
    let harness = harness(&[receiver.url()], |_| ()).await;
    let (call, alert) = fired(&harness, "c").await;
    eventually!(receiver.posts().is_empty(), false);
    call.control(ControlAction::WithdrawConsent).await;
    eventually!(posts_total(&harness, "purged"), "1");
    receiver.answers.lock().unwrap().clear();
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    eventually!(receiver.taken(), ["ALERT_STATE_RESOLVED"]);
    let last = receiver.posts().pop().unwrap();
    assert_eq!(
        (last.text("alertId"), last.text("reason")),
        (alert.alert_id, "ALERT_REASON_CONSENT_WITHDRAWN".to_owned())
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_secret_it_can_read_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let refusal = async |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let mut config = crate::harness::config();
        config.webhook.urls = vec!["http://127.0.0.1:9/".to_owned()];
        config.webhook.secret_file = Some(file.clone());
        undertone::server::Server::launch(&config).await.err().unwrap().to_string()
    };
    assert!(refusal(None).await.contains("cannot read webhook.secret_file"));
    let short = refusal(Some("short")).await;
    assert!(short.contains("has 5 bytes, expected at least 16") && !short.contains("short\""), "{short}");
}

/// Of servers that share a journal each posts the alerts of its own calls, so that each is posted once.
#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_journal_post_an_alert_once() {
    let Some(nats) = Nats::start() else { return };
    let receiver = Receiver::start([]).await;
    let on = async |node: &str| {
        let options = Options { node: Some(node.to_owned()), ..nats.options() };
        harness(&[receiver.url()], |config| config.journal = options).await
    };
    let (a, b) = (on("a").await, on("b").await);
    alarming(&a, "on-a").await;
    alarming(&b, "on-b").await;
    eventually!(receiver.taken().len(), 4);
    a.stop().await;
    b.stop().await;
    let mut calls: Vec<String> = receiver.posts().iter().map(|post| post.text("callId")).collect();
    calls.sort_unstable();
    assert_eq!(calls, ["on-a", "on-a", "on-b", "on-b"]);
}
