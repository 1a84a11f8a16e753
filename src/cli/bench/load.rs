//! Plays many calls at once, for a time, and reports.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use undertone::server::proto::{self as pb, AnalyzeConfig, emotion_service_client::EmotionServiceClient};
use uuid::Uuid;

use super::{
    call,
    material::Material,
    report::Report,
    source::Sent,
    tally::{Classes, Tally},
    target::{Target, Usage},
};
use crate::cli::client;

/// After the last chunk: how long a call may take to get its summary.
pub(super) const GRACE: Duration = Duration::from_secs(15);
/// Between connecting and the first call.
const LEAD: Duration = Duration::from_millis(100);
/// In what pieces of time arriving windows are counted.
pub(super) const ARRIVALS: Duration = Duration::from_millis(50);

/// What is to be played.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) calls: usize,
    /// How long all calls are there, in real time.
    pub(super) seconds: Duration,
    /// How long it takes until they are.
    pub(super) ramp: Duration,
    /// Times real time.
    pub(super) speed: f64,
    pub(super) connections: usize,
    pub(super) model: Option<String>,
    pub(super) stride: Option<Duration>,
}

/// What all calls of one run share.
pub(super) struct Plan {
    pub(super) material: Arc<Material>,
    options: Options,
    run: Uuid,
    /// While all calls are there.
    pub(super) measured: Range<Instant>,
    /// What is not answered then is an error.
    pub(super) deadline: Instant,
    /// How much later than due chunks were sent.
    pub(super) late: Classes,
    /// When the events of scored windows came, while measured.
    pub(super) arrivals: Classes,
}

impl Plan {
    fn new(material: Arc<Material>, options: Options) -> Self {
        let begin = Instant::now() + LEAD + options.ramp;
        let measured = begin..begin + options.seconds;
        let pieces = options.seconds.as_millis() / ARRIVALS.as_millis();
        Self {
            material,
            run: Uuid::new_v4(),
            deadline: measured.end + GRACE,
            measured,
            late: Classes::new(Duration::from_millis(1), 1000),
            arrivals: Classes::new(ARRIVALS, usize::try_from(pieces).unwrap_or(1)),
            options,
        }
    }

    /// What a call begins with.
    pub(super) fn config(&self, call: usize) -> AnalyzeConfig {
        AnalyzeConfig {
            call_id: format!("bench-{}-{call}", self.run),
            audio: Some(self.material.format()),
            legs: vec![pb::Leg { role: pb::Role::Customer.into(), ..pb::Leg::default() }],
            notice: Some(pb::Notice { given_at: Some(SystemTime::now().into()), method: "recording".to_owned() }),
            stride: self.options.stride.and_then(|stride| stride.try_into().ok()),
            model: self.options.model.clone(),
            ..AnalyzeConfig::default()
        }
    }

    /// When a call begins: one after the other over the ramp.
    fn begin(&self, call: usize) -> Instant {
        let part = call as f64 / self.options.calls as f64;
        self.measured.start - self.options.ramp + self.options.ramp.mul_f64(part)
    }

    /// Time between two chunks of a call.
    fn spacing(&self) -> Duration {
        self.material.chunk_duration().div_f64(self.options.speed)
    }

    /// Chunks that a call sends: until the measured time is over.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by hours of chunks")]
    fn chunks(&self, call: usize) -> u64 {
        let lasts = self.measured.end - self.begin(call);
        (lasts.as_secs_f64() / self.spacing().as_secs_f64()).floor() as u64
    }
}

/// Plays the calls and reports what came of them.
pub(super) async fn run(target: &Target, material: &Arc<Material>, options: &Options) -> anyhow::Result<Report> {
    let mut clients = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let endpoint = client::endpoint(target.url())?;
        let channel = endpoint.connect().await;
        let channel =
            channel.with_context(|| format!("cannot reach {}; is `undertone serve` running there", target.url()))?;
        clients.push(EmotionServiceClient::new(channel));
    }
    let plan = Arc::new(Plan::new(Arc::clone(material), options.clone()));
    let mut calls = JoinSet::new();
    let mut sent = Vec::with_capacity(options.calls);
    for number in 0..options.calls {
        let (begin, chunks) = (plan.begin(number), plan.chunks(number));
        let of_call = Arc::new(Sent::new(begin, plan.spacing()));
        sent.push(Arc::clone(&of_call));
        let (plan, client) = (Arc::clone(&plan), clients[number % clients.len()].clone());
        calls.spawn(async move {
            sleep_until(begin).await;
            call::play(plan, client, number, of_call, chunks).await
        });
    }
    let chunks = || sent.iter().map(|sent| sent.chunks()).sum::<u64>();
    sleep_until(plan.measured.start).await;
    let before = (Instant::now(), chunks(), target.usage().await?);
    sleep_until(plan.measured.end).await;
    let after = (Instant::now(), chunks(), target.usage().await?);
    let mut tally = Tally::default();
    while let Some(call) = calls.join_next().await {
        tally.merge(call.context("a call's task failed")?);
    }
    let seconds = after.0 - before.0;
    Ok(Report::new(Measured {
        options: options.clone(),
        seconds,
        audio: plan.material.chunk_duration().mul_f64((after.1 - before.1) as f64),
        chunks: after.1 - before.1,
        usage: before.2.zip(after.2),
        memory_before: target.memory_before(),
        late: [0.5, 0.95, 1.0].map(|part| plan.late.quantile(part)),
        arrivals: plan.arrivals.counts(),
        tally,
    }))
}

/// All that was measured in one run.
pub(super) struct Measured {
    pub(super) options: Options,
    /// How long it was measured.
    pub(super) seconds: Duration,
    /// Audio sent meanwhile.
    pub(super) audio: Duration,
    /// In so many chunks.
    pub(super) chunks: u64,
    /// What the server had used at the beginning and at the end.
    pub(super) usage: Option<(Usage, Usage)>,
    /// The server's memory before any call.
    pub(super) memory_before: Option<f64>,
    /// Median, 95 % and most of how much later than due chunks were sent.
    pub(super) late: [Duration; 3],
    /// Scored windows in each piece of time.
    pub(super) arrivals: Vec<u64>,
    pub(super) tally: Tally,
}
