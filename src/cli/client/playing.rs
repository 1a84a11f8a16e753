//! A call that is played: chunk after chunk goes out when it is due, responses come back, and a stream that breaks goes on by another.
//!
//! | what happens | what is done |
//! |---|---|
//! | the connection breaks, or UNAVAILABLE: the server drains, starts again, or lets no stream be older | the same call is opened again, after waits that double |
//! | the server has kept the call | the recording goes on from where the acknowledgement says; that is not told, since the call is the same |
//! | the first stream already finds a call that was kept, which somebody else began | as above, and it is told |
//! | it begins anew | the recording goes on after what was decided on; that, the alerts that are over by it, and the acknowledgement are told |
//! | ALREADY_EXISTS meanwhile | the server has not noticed the break yet: again |
//! | nothing helps [`TRIES`] times in a row, or another status comes | that is the end |
//! | it is [stopped](Playing::stopping) | END takes the place of what was not sent; what comes until the stream closes is still told |
//! | it is stopped while its stream is broken | that is the end |

use std::{
    collections::{BTreeMap, HashMap},
    io::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use undertone::server::proto::{
    self as pb, AnalyzeRequest, AnalyzeResponse, analyze_request::Message, analyze_response::Message as Response,
    emotion_service_client::EmotionServiceClient,
};

use super::{Audio, Options, endpoint, failure};

/// Chunks that wait for the connection. When they are as many, the recording waits: a slow server slows the call down.
const CHUNKS_AHEAD: usize = 8;
/// Streams that are opened one after the other before it is given up: with the waits below about half a minute, as long as servers keep a call.
const TRIES: u32 = 12;
/// The wait before the second of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// And is never longer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A recording that is played as a call.
pub(crate) struct Playing {
    url: String,
    config: pb::AnalyzeConfig,
    pace: Pace,
    /// When its first sample was spoken; known once the call was acknowledged.
    begin: Option<Instant>,
    stream: Stream,
    progress: Progress,
    /// Streams opened since one was acknowledged.
    tries: u32,
}

/// One stream of the call.
struct Stream {
    responses: Streaming<AnalyzeResponse>,
    /// Says where the recording goes on, once that is known.
    go_on: Option<oneshot::Sender<Place>>,
}

/// Where a recording goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    instant: usize,
    sequence: i64,
    /// When the recording's first sample was spoken.
    begin: Instant,
}

/// What has come so far.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: bool,
    /// A summary came that is not a draining server's.
    ended: bool,
    /// Where the present session began to listen.
    session_begin: i64,
    /// One past the last sample that was decided on or summed up.
    reached: i64,
    /// The last event of each leg.
    last_events: HashMap<String, i64>,
    /// Alerts of the present session that are not resolved: rule and leg by id.
    open_alerts: BTreeMap<String, (String, String)>,
}

impl Playing {
    /// Connects to `http://host:port` and plays the call. The sending goes on beside the reading; both end when this is dropped.
    pub(crate) async fn begin(url: &str, audio: Audio, options: Options) -> anyhow::Result<Self> {
        let config = pb::AnalyzeConfig {
            call_id: options.call_id,
            audio: Some(audio.format()?),
            legs: options.roles.iter().map(|role| pb::Leg { role: role.0.into(), ..Default::default() }).collect(),
            // Whoever plays a recording answers for its speakers having been told, as whoever records them must.
            notice: Some(pb::Notice { given_at: Some(SystemTime::now().into()), method: "recording".to_owned() }),
            model: options.model,
            ..Default::default()
        };
        let channel = endpoint(url)?.connect().await.map_err(|error| {
            anyhow::Error::new(error).context(format!("cannot reach {url}; is `undertone serve` running there"))
        })?;
        let stopping = CancellationToken::new();
        let pace = Pace { audio: Arc::new(audio), chunk: options.chunk, speed: options.speed, stopping };
        let stream = open(EmotionServiceClient::new(channel), &config, pace.clone()).await;
        let stream = stream.map_err(|status| refused(&status, &config.call_id))?;
        let progress = Progress::default();
        Ok(Self { url: url.to_owned(), config, pace, begin: None, stream, progress, tries: 0 })
    }

    /// Cancelled, it ends the call; responses are to be read on until there are none.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.pace.stopping
    }

    /// The next response; `None` when the call has ended well.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<AnalyzeResponse>> {
        loop {
            match self.stream.responses.message().await {
                Ok(Some(response)) => {
                    if let Some(Response::Acknowledgement(acknowledgement)) = &response.message {
                        self.acknowledge(acknowledgement);
                    }
                    if self.progress.is_news(&response) {
                        return Ok(Some(response));
                    }
                }
                Ok(None) => return Ok(None),
                Err(status) => self.come_again(status).await?,
            }
        }
    }

    /// Sends the recording from where the server is.
    fn acknowledge(&mut self, acknowledgement: &pb::Acknowledgement) {
        self.tries = 0;
        let Some(go_on) = self.stream.go_on.take() else { return };
        let (instant, sequence) = match &acknowledgement.resumption {
            Some(kept) => (usize::try_from(kept.media_offset_samples).unwrap_or(0), kept.sequence.unwrap_or(0)),
            None => (usize::try_from(self.progress.reached).unwrap_or(0), 0),
        };
        let seconds = instant as f64 / f64::from(self.pace.audio.sample_rate_hz);
        match (self.begin.is_some(), acknowledgement.resumption.is_some()) {
            (true, true) => tell(format_args!("the call goes on by another stream, from {seconds:.2} s")),
            (true, false) => {
                tell(format_args!(
                    "the server knows nothing of the call any more: it begins anew, from {seconds:.2} s; what comes counts from there"
                ));
                for (rule, leg) in self.progress.open_alerts.values() {
                    tell(format_args!("the alert {rule} on {leg} is over with what came before"));
                }
            }
            (false, true) => {
                let call = &self.config.call_id;
                tell(format_args!("goes on with call {call}, which broke off and was kept, from {seconds:.2} s"));
            }
            (false, false) => {}
        }
        // Whatever was spoken before is not waited for.
        let spoken = Duration::from_secs_f64(seconds / self.pace.speed);
        let begin = *self.begin.get_or_insert_with(|| {
            let now = Instant::now();
            now.checked_sub(spoken).unwrap_or(now)
        });
        // Where nobody sends any more, the stream has broken again.
        let _ = go_on.send(Place { instant, sequence, begin });
    }

    /// Opens another stream of the call, if that can help.
    async fn come_again(&mut self, mut status: Status) -> anyhow::Result<()> {
        loop {
            let over = self.progress.ended || self.pace.stopping.is_cancelled();
            let failed = || refused(&status, &self.config.call_id);
            if !self.progress.acknowledged || over || !may_help(&status, self.tries) {
                return Err(failed());
            }
            if self.tries == TRIES {
                return Err(failed().context(format!("the call broke off and did not go on in {TRIES} tries")));
            }
            let wait = wait(self.tries, &status, spread());
            self.tries += 1;
            let stopping = self.pace.stopping.clone();
            match stopping.run_until_cancelled(self.open_again(wait)).await {
                Some(Ok(stream)) => {
                    self.stream = stream;
                    return Ok(());
                }
                Some(Err(next)) => status = next,
                None => {}
            }
        }
    }

    /// After a wait, another stream of the call.
    async fn open_again(&self, wait: Duration) -> Result<Stream, Status> {
        sleep(wait).await;
        let endpoint = endpoint(&self.url).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let channel = endpoint.connect().await.map_err(|error| Status::from_error(error.into()))?;
        open(EmotionServiceClient::new(channel), &self.config, self.pace.clone()).await
    }
}

impl Progress {
    /// Takes a response in; whether it tells anything that was not told.
    fn is_news(&mut self, response: &AnalyzeResponse) -> bool {
        match &response.message {
            Some(Response::Acknowledgement(acknowledgement)) => {
                let first = !self.acknowledged;
                self.acknowledged = true;
                let anew = acknowledgement.resumption.is_none();
                if anew {
                    self.session_begin = self.reached;
                    self.last_events.clear();
                    self.open_alerts.clear();
                }
                first || anew
            }
            Some(Response::Event(event)) => {
                self.reached = self.reached.max(event.end_samples);
                let last = self.last_events.insert(event.leg_id.clone(), event.sequence);
                last.is_none_or(|last| last < event.sequence)
            }
            Some(Response::Summary(summary)) => {
                self.reached = self.reached.max(self.session_begin + summary.received_samples);
                self.ended |= summary.end_reason() != pb::EndReason::Draining;
                true
            }
            Some(Response::Alert(alert)) => {
                if alert.state() == pb::AlertState::Resolved {
                    self.open_alerts.remove(&alert.alert_id);
                } else {
                    let what = (alert.rule.clone(), alert.leg_id.clone());
                    self.open_alerts.insert(alert.alert_id.clone(), what);
                }
                true
            }
            Some(Response::Status(_)) | None => true,
        }
    }
}

/// What is sent, how fast, and until when.
#[derive(Clone)]
struct Pace {
    audio: Arc<Audio>,
    chunk: Duration,
    speed: f64,
    stopping: CancellationToken,
}

impl Pace {
    /// Sends chunk after chunk from the place that is told, each when its last sample would have been spoken; ends when the recording does,
    /// which ends the call, or when nobody listens any more.
    async fn send(&self, place: oneshot::Receiver<Place>, sender: &mpsc::Sender<AnalyzeRequest>) {
        // Whoever was to tell it has gone: the stream has broken.
        let Ok(from) = place.await else { return };
        let (rate_hz, group) = (self.audio.sample_rate_hz, self.audio.bytes_per_instant());
        let instants = (self.chunk.as_millis() * u128::from(rate_hz) / 1000).max(1);
        let instants = usize::try_from(instants).unwrap_or(usize::MAX);
        let all = self.audio.data.len() / group;
        for (sequence, start) in (from.sequence..).zip((from.instant..all).step_by(instants)) {
            let end = all.min(start.saturating_add(instants));
            // The last is as long as the others, as a telephone system would send it.
            let due = start.saturating_add(instants) as f64 / f64::from(rate_hz) / self.speed;
            sleep_until(from.begin + Duration::from_secs_f64(due)).await;
            let chunk = pb::AudioChunk {
                data: self.audio.data.slice(start * group..end * group),
                sequence: Some(sequence),
                media_offset_samples: i64::try_from(start).ok(),
            };
            if sender.send(request(Message::Audio(chunk))).await.is_err() {
                return;
            }
        }
    }
}

/// Opens a stream of the call, whose audio follows once it is known from where.
async fn open(
    mut client: EmotionServiceClient<tonic::transport::Channel>,
    config: &pb::AnalyzeConfig,
    pace: Pace,
) -> Result<Stream, Status> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let (go_on, place) = oneshot::channel();
    let config = request(Message::Config(config.clone()));
    tokio::spawn(async move {
        if sender.send(config).await.is_err() {
            return;
        }
        if pace.stopping.run_until_cancelled(pace.send(place, &sender)).await.is_none() {
            let end = pb::Control { action: pb::ControlAction::End.into(), leg_id: None };
            // Where nobody listens any more, the call is over as well.
            let _ = sender.send(request(Message::Control(end))).await;
        }
    });
    let responses = client.analyze(ReceiverStream::new(receiver)).await?.into_inner();
    Ok(Stream { responses, go_on: Some(go_on) })
}

/// Why the call is not served, in one line.
fn refused(status: &Status, call_id: &str) -> anyhow::Error {
    // The server's advice is for the API: a takeover, another leg_id.
    if status.code() == Code::AlreadyExists {
        return anyhow::anyhow!(
            "call {call_id} is live on this server: wait until it ends, or give another --call-id (ALREADY_EXISTS)"
        );
    }
    failure(status)
}

/// Whether another stream may get further than the one that closed so.
fn may_help(status: &Status, tries: u32) -> bool {
    // A status that the server sent has no cause on this side.
    let broken = std::error::Error::source(status).is_some();
    let unnoticed = tries > 0 && status.code() == Code::AlreadyExists;
    broken || unnoticed || status.code() == Code::Unavailable
}

/// How long to wait before the next try: what the server asks for, at least the doubled wait, and some more at random (0 to 1), so that many
/// do not come together.
fn wait(tries: u32, status: &Status, random: f64) -> Duration {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    // The first follows at once where the server says so.
    let own = if tries == 0 { Duration::ZERO } else { FIRST_WAIT * 2_u32.saturating_pow(tries - 1) };
    let own = own.min(LONGEST_WAIT);
    asked.unwrap_or_default().max(own.mul_f64(0.5 + 0.5 * random))
}

/// 0 to 1, at random.
fn spread() -> f64 {
    let (random, ..) = uuid::Uuid::new_v4().as_fields();
    f64::from(random) / f64::from(u32::MAX)
}

/// Tells how it goes, beside the results.
fn tell(line: std::fmt::Arguments<'_>) {
    // Progress that nobody can read is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn request(message: Message) -> AnalyzeRequest {
    AnalyzeRequest { message: Some(message) }
}

#[cfg(test)]
mod tests;
