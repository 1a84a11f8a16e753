//! Classifies one short recording by the same way that a call takes, and without a live call's hearing it later: its audio is heard as
//! fast as there is room for it ([`Recordings`](super::recordings::Recordings)), and while a batch waits already only one window of it does.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tracing::Span;

use super::{
    Engine, Refusal, Sessions,
    driver::{Driver, Told},
    measure,
    open::bandwidth_warning,
    recordings::{Recordings, Room},
    turn::Turn,
};
use crate::{
    audio::Encoding,
    call::{Call, Chunk, EndReason, LegOptions, Options, Summary},
    decision::{Judgement, Rules},
    features::NotScored,
    inference::Pressure,
    model::Model,
    policy::{Circumstances, Consent, Role},
    telemetry::trace,
};

/// Time between two windows of a recording: a call's default.
const STRIDE: Duration = Duration::from_millis(500);

/// No time-out of a call may end a recording that is all there.
const NEVER: Duration = Duration::from_secs(3600);

/// Audio that comes too early by less than this is heard at once: a timer would have it wait for longer.
const EARLY: Duration = Duration::from_millis(5);

/// One short recording of one party.
#[derive(Debug, Clone)]
pub struct Recording {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// The samples.
    pub data: Bytes,
    /// Who is heard.
    pub role: Role,
    /// Whether the people in it were told.
    pub notice_given: bool,
    /// What the customer said to it.
    pub consent: Consent,
    /// A model's name; `None` for the default.
    pub model: Option<String>,
}

/// What was heard in it.
#[derive(Debug, Clone)]
pub struct Classification {
    /// What scored it.
    pub model: Arc<Model>,
    /// The mean over the windows, or why there is none.
    pub outcome: Result<Judgement, NotScored>,
    /// Windows that were scored.
    pub windows: u64,
    /// How much of it was speech.
    pub speech: Duration,
    /// What the client should know.
    pub warnings: Vec<String>,
}

/// A recording's place among those in work, while it is held.
struct Place {
    sessions: Sessions,
    weight: f64,
}

impl Sessions {
    /// Classifies a recording, or says why not. It runs in the span of [`trace::classify`], and `traced` is what came with that.
    pub async fn classify(
        &self,
        recording: Recording,
        traced: Option<trace::Request>,
    ) -> Result<Classification, Refusal> {
        let classified = self.classify_recording(recording, traced).await;
        match &classified {
            Ok(_) => self.metrics().classifications_total.increment(1),
            Err(refusal) => self.count_refusal(refusal.name()),
        }
        classified
    }

    async fn classify_recording(
        &self,
        recording: Recording,
        traced: Option<trace::Request>,
    ) -> Result<Classification, Refusal> {
        let terms = self.terms();
        let engine = self.engine_for(&terms, recording.model.as_deref())?;
        Span::current().record("model", &*engine.model.manifest.name);
        let Recording { role, notice_given, consent, encoding, sample_rate_hz, .. } = recording;
        let permits = terms.policy.judge_call(&[Circumstances { role, notice_given, consent }])?;
        let limits = &terms.limits;
        let place = self.place(&engine, limits.max_classifications)?;
        let manifest = Arc::clone(&engine.model.manifest);
        let legs = permits.into_iter().map(|permit| LegOptions { leg_id: String::new(), permit }).collect();
        // Rules are for calls: a recording is judged as a whole.
        let rules = Arc::new(Rules::none());
        let options = Options {
            session_id: String::new(),
            tags: BTreeMap::new(),
            rules: Arc::clone(&rules),
            encoding,
            sample_rate_hz,
            legs,
            model: Arc::clone(&manifest),
            stride: STRIDE,
            idle_timeout: NEVER,
            hold_timeout: NEVER,
            status_interval: NEVER,
            close_timeout: limits.close_timeout,
        };
        let call = Call::new(options, Instant::now())?.lend(engine.inference.buffers()).timed_by(Instant::now);
        let turn = Turn::new(sample_rate_hz, encoding.bytes_per_sample());
        let bytes_per_turn = turn.bytes();
        let bytes_per_second = f64::from(sample_rate_hz) * encoding.bytes_per_sample() as f64;
        let mut driver =
            Driver::new(call, Arc::new(ArcSwap::new(rules)), Arc::clone(&engine), self.number_legs(1), turn);
        driver.trace(traced);
        for data in recording.data.chunks(bytes_per_turn) {
            place.turn(data.len() as f64 / bytes_per_second).await;
            driver.push(Chunk { data, sequence: None, media_offset_samples: None });
            self.poll(&mut driver);
            while driver.windows_out() >= most_out(&engine, limits.max_windows_out) {
                driver.answer().await;
                self.poll(&mut driver);
                if driver.has_failed() {
                    return Err(Refusal::Failed);
                }
            }
            tokio::task::yield_now().await;
        }
        driver.close(EndReason::Completed);
        let mut summary = self.summary(&mut driver).await;
        if driver.has_failed() {
            return Err(Refusal::Failed);
        }
        let mut warnings = std::mem::take(&mut summary.warnings);
        warnings.extend(bandwidth_warning(&manifest, sample_rate_hz));
        // The commonest reason; for a recording shorter than one stride there is none yet.
        let commonest = summary.not_scored.iter().max_by_key(|(_, strides)| *strides);
        let reason = commonest.map_or(NotScored::TooShort, |(reason, _)| *reason);
        let outcome = summary.mean.take().map(|mean| manifest.calibration.judge_probabilities(mean)).ok_or(reason);
        Ok(Classification {
            model: Arc::clone(&engine.model),
            outcome,
            windows: summary.scored_windows,
            speech: summary.speech,
            warnings,
        })
    }

    /// A place for a recording that this engine is to score.
    fn place(&self, engine: &Engine, limit: usize) -> Result<Place, Refusal> {
        let weight = engine.windows_per_second(STRIDE);
        self.recordings().enter(weight, limit, self.room())?;
        Ok(Place { sessions: self.clone(), weight })
    }

    fn room(&self) -> Room {
        Room { most: self.most_windows_per_second(), taken: self.windows_per_second() }
    }

    fn recordings(&self) -> MutexGuard<'_, Recordings> {
        self.shared.recordings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a call that was closed.
    async fn summary(&self, driver: &mut Driver) -> Summary {
        loop {
            if let Some(summary) = self.poll(driver) {
                return summary;
            }
            let deadline = driver.deadline().expect("a call that has not given its summary has a deadline");
            tokio::select! {
                () = driver.answer() => {}
                () = tokio::time::sleep_until(deadline.into()) => driver.tick(),
            }
        }
    }

    /// Hands windows in, and counts what is to be counted of the rest, until there is nothing, or the summary.
    fn poll(&self, driver: &mut Driver) -> Option<Summary> {
        loop {
            match driver.poll()? {
                Told::Summary(summary) => return Some(summary),
                Told::Warning(warning) => measure::warning(warning, self.metrics()),
                // Judged as a whole, by the summary.
                Told::Event(_) | Told::Alert(_) | Told::Status(_) | Told::Closed(_) => {}
            }
        }
    }
}

impl Place {
    /// Waits until there is room for so many seconds of its audio; not while the server drains, so that it is over before the deadline of that.
    async fn turn(&self, seconds: f64) {
        let (room, now) = (self.sessions.room(), Instant::now());
        let turn = self.sessions.recordings().turn(seconds * self.weight, room, now);
        if turn > now + EARLY {
            self.sessions.draining().run_until_cancelled(tokio::time::sleep_until(turn.into())).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.recordings().leave(self.weight);
    }
}

/// Windows of a recording that may be out: while a full batch waits for the engine, one, so that a live call's waits for hardly more.
fn most_out(engine: &Engine, limit: usize) -> usize {
    if engine.inference.pressure() == Pressure::Low { limit } else { 1 }
}
