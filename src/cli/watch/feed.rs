//! What a server tells, over as many connections as it takes.
//!
//! | state | what happens | next |
//! |---|---|---|
//! | beginning | the server cannot be reached, or refuses | the end, with what is wrong |
//! | beginning | open alerts are listed, both streams stand | connected |
//! | connected | a stream breaks, or says nothing for too long | waiting |
//! | waiting | the wait is over: twice as long each time, up to the longest | alerts after the last sequence, all calls anew |
//! | waiting | the journal does not know that sequence: it is another one | as beginning, all that was known is void |

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::{Code, Status, Streaming, transport::Channel};
use undertone::server::proto::{
    AlertFilter, AlertState, ListAlertsRequest, WatchAlertsRequest, WatchAlertsResponse, WatchCallsRequest,
    WatchCallsResponse, supervision_service_client::SupervisionServiceClient, watch_alerts_response::Message,
};

use crate::cli::client;

/// How often a server says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is gone: three heartbeats.
const SILENCE: Duration = Duration::from_secs(15);
/// The first wait after a break, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// Updates that wait for who shows them; at more, the server waits.
const UPDATES: usize = 64;

/// A connection that is made again.
pub(super) struct Feed {
    client: SupervisionServiceClient<Channel>,
    url: String,
    /// All up to and with it was told.
    after: Option<i64>,
    told: Told,
}

/// What has been told so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Something,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Update {
    /// The streams stand. What was known of calls is void, and told again.
    Connected,
    /// They do not, and are looked for after this wait.
    Disconnected { problem: String, again_in: Duration },
    /// The journal is another one: what was known of alerts is void.
    Anew,
    /// Of alerts.
    Alerts(Box<WatchAlertsResponse>),
    /// Of calls.
    Calls(WatchCallsResponse),
}

/// Who shows updates has gone.
struct Gone;

/// Why a connection ended.
enum End {
    Gone,
    Broken(Status),
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Broken(status)
    }
}

impl Feed {
    /// Of this server, after this sequence; otherwise alerts that are open, and what comes. Nothing is connected yet, but tokio must
    /// be there.
    pub(super) fn new(url: &str, after: Option<i64>) -> anyhow::Result<Self> {
        let endpoint = client::endpoint(url)?
            .http2_keep_alive_interval(HEARTBEAT)
            .keep_alive_timeout(HEARTBEAT)
            .keep_alive_while_idle(true);
        let client = SupervisionServiceClient::new(endpoint.connect_lazy());
        Ok(Self { client, url: url.to_owned(), after, told: Told::Nothing })
    }

    /// The server, as it was named.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The same connection, to act by.
    pub(super) fn client(&self) -> SupervisionServiceClient<Channel> {
        self.client.clone()
    }

    /// A way for updates.
    pub(super) fn channel() -> (mpsc::Sender<Update>, mpsc::Receiver<Update>) {
        mpsc::channel(UPDATES)
    }

    /// Tells what happens, until nobody listens any more, or the server says what no other try will change.
    pub(super) async fn run(mut self, updates: mpsc::Sender<Update>) -> anyhow::Result<()> {
        let mut wait = WAITS.0;
        loop {
            let before = self.told;
            let status = match self.connected(&updates, &mut wait).await {
                End::Gone => return Ok(()),
                End::Broken(status) => status,
            };
            if status.code() == Code::OutOfRange && before == Told::Something {
                (self.after, self.told) = (None, Told::Nothing);
                if updates.send(Update::Anew).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let first = before == Told::Nothing && self.told == Told::Nothing;
            let hopeless = [Code::OutOfRange, Code::InvalidArgument, Code::Unimplemented, Code::Unauthenticated];
            if hopeless.contains(&status.code()) || first && status.code() != Code::ResourceExhausted {
                return Err(client::refusal(&self.url, &status));
            }
            let problem = client::refusal(&self.url, &status).to_string();
            if updates.send(Update::Disconnected { problem, again_in: wait }).await.is_err() {
                return Ok(());
            }
            tokio::select! {
                () = sleep(wait) => wait = (2 * wait).min(WAITS.1),
                () = updates.closed() => return Ok(()),
            }
        }
    }

    /// Tells what happens for as long as one connection lasts.
    async fn connected(&mut self, updates: &mpsc::Sender<Update>, wait: &mut Duration) -> End {
        match self.stream(updates, wait).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn stream(
        &mut self,
        updates: &mpsc::Sender<Update>,
        wait: &mut Duration,
    ) -> Result<std::convert::Infallible, End> {
        if self.after.is_none() {
            self.list_open(updates).await?;
        }
        let heartbeat = prost_types::Duration::try_from(HEARTBEAT).ok();
        let request = WatchAlertsRequest { filter: None, after_sequence: self.after, heartbeat };
        let mut alerts = self.client.watch_alerts(request).await?.into_inner();
        let mut calls = self.client.watch_calls(WatchCallsRequest::default()).await?.into_inner();
        tell(updates, Update::Connected).await?;
        self.told = Told::Something;
        *wait = WAITS.0;
        loop {
            tokio::select! {
                told = next(&mut alerts) => {
                    let told = told?;
                    let sequence = told.sequence;
                    tell(updates, Update::Alerts(Box::new(told))).await?;
                    self.after = Some(sequence);
                }
                told = next(&mut calls) => tell(updates, Update::Calls(told?)).await?,
                () = updates.closed() => return Err(End::Gone),
            }
        }
    }

    /// Tells the alerts that are open, each as its last change.
    async fn list_open(&mut self, updates: &mpsc::Sender<Update>) -> Result<(), End> {
        let states = [AlertState::Firing, AlertState::Acknowledged, AlertState::Snoozed].map(i32::from).to_vec();
        let (mut page_token, mut last) = (String::new(), None);
        loop {
            let filter = Some(AlertFilter { states: states.clone(), ..AlertFilter::default() });
            let request = ListAlertsRequest { filter, page_token, ..ListAlertsRequest::default() };
            let page = self.client.list_alerts(request).await?.into_inner();
            for entry in page.alerts {
                let told = WatchAlertsResponse { sequence: entry.sequence, message: Some(Message::Alert(entry)) };
                tell(updates, Update::Alerts(Box::new(told))).await?;
            }
            // What came between two pages is told by the stream.
            last.get_or_insert(page.last_sequence);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                self.after = last;
                return Ok(());
            }
        }
    }
}

async fn tell(updates: &mpsc::Sender<Update>, update: Update) -> Result<(), Gone> {
    updates.send(update).await.map_err(|_| Gone)
}

/// The next message; silence and the end are failures.
async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    match timeout(SILENCE, stream.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Status::unavailable("the server ended the stream")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::unavailable(format!("the server said nothing for {SILENCE:?}"))),
    }
}
