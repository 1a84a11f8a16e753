//! What supervisors see and do over gRPC.

use std::collections::HashMap;

use tonic::{Status, Streaming, transport::Channel};
use undertone::{
    decision::Rules,
    server::proto::{
        self as pb, Alert, AlertState, AnalyzeConfig, supervision_service_client::SupervisionServiceClient,
        watch_alerts_response::Message,
    },
};

use crate::harness::{ALWAYS, Call, Harness, connect, customer, voice, within};

mod acts;
mod crowd;
mod filters;
mod lists;
mod nodes;
mod rates;
mod registers;
mod watches;
mod withdraws;

/// A supervisor's client.
pub(crate) type Client = SupervisionServiceClient<Channel>;

/// What a watcher of alerts is told.
pub(crate) struct Watcher(Streaming<pb::WatchAlertsResponse>);

impl Harness {
    /// A server whose every call has an alert.
    pub(crate) async fn alarmed() -> Self {
        Self::start().await.alarms()
    }

    pub(crate) fn alarms(self) -> Self {
        self.server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
        self
    }

    pub(crate) async fn supervisor(&self) -> Client {
        SupervisionServiceClient::new(connect(self.server.grpc()).await)
    }

    /// A call of this queue, in which an alert fires.
    pub(crate) async fn alarming(&self, call_id: &str, queue: &str) -> Call {
        let call = self.call(tagged(call_id, queue)).await;
        call.speak(&voice(6.0)).await;
        call
    }
}

pub(crate) fn tagged(call_id: &str, queue: &str) -> AnalyzeConfig {
    AnalyzeConfig { tags: tags(queue), ..customer(call_id) }
}

pub(crate) fn tags(queue: &str) -> HashMap<String, String> {
    HashMap::from([("queue".to_owned(), queue.to_owned())])
}

/// Everything after a sequence.
pub(crate) fn from(sequence: i64) -> pb::WatchAlertsRequest {
    pb::WatchAlertsRequest { after_sequence: Some(sequence), ..Default::default() }
}

impl Watcher {
    /// Watches, and takes the heartbeat that says so.
    pub(crate) async fn of(client: &mut Client, request: pb::WatchAlertsRequest) -> Self {
        let mut watcher = Self(within("watching", client.watch_alerts(request)).await.unwrap().into_inner());
        let first = watcher.next().await.unwrap();
        assert!(matches!(first.message, Some(Message::Heartbeat(_))), "{first:?}");
        watcher
    }

    pub(crate) async fn next(&mut self) -> Result<pb::WatchAlertsResponse, Status> {
        within("a word", self.0.message()).await.map(|told| told.expect("a watcher's stream ends with a status"))
    }

    /// The next change, whatever heartbeats come before it, and its sequence.
    pub(crate) async fn alert(&mut self) -> (i64, Alert) {
        loop {
            let told = self.next().await.unwrap();
            match told.message.unwrap() {
                Message::Alert(entry) => {
                    assert_eq!(entry.sequence, told.sequence);
                    return (entry.sequence, entry.alert.unwrap());
                }
                Message::Heartbeat(_) => {}
                Message::Missed(missed) => panic!("{missed:?}"),
            }
        }
    }

    /// The call and state of the next changes.
    pub(crate) async fn changes(&mut self, count: usize) -> Vec<(String, AlertState)> {
        let mut changes = Vec::new();
        for _ in 0..count {
            let (_, alert) = self.alert().await;
            changes.push((alert.call_id.clone(), alert.state()));
        }
        changes
    }
}

pub(crate) fn acknowledge(alert_id: &str) -> pb::AcknowledgeAlertRequest {
    let (actor, reason) = ("supervisor-7".to_owned(), "I listen in".to_owned());
    pb::AcknowledgeAlertRequest { alert_id: alert_id.to_owned(), actor, reason }
}
