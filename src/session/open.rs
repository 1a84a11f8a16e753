//! Admits a call: model, policy, registry, and what the client should know before it begins.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    AcknowledgedLeg, Acknowledgement, Engine, Refusal, Request, Sessions,
    board::{Command, Posted},
    chronicle::Chronicle,
    driver::Driver,
    outbox::Outbox,
    registry::Slots,
    resume::Rejoined,
    spread::Place,
    turn::Turn,
};
use crate::{
    call::{Call, EndReason, LegOptions, Options},
    decision::Rules,
    features::NotScored,
    model::manifest::{Bandwidth, Manifest},
    policy::Permit,
    telemetry::{metrics, trace},
};

/// A call that was admitted. Its legs are live until it is dropped.
pub struct Session {
    pub(super) sessions: Sessions,
    pub(super) engine: Arc<Engine>,
    pub(super) driver: Driver,
    pub(super) acknowledgement: Arc<Acknowledgement>,
    pub(super) chronicle: Chronicle,
    pub(super) posted: Posted,
    /// What it is told from outside.
    pub(super) commands: mpsc::Receiver<Command>,
    /// Samples a second of all legs together, times the bytes of one.
    pub(super) bytes_per_second: usize,
    /// What it asked for.
    pub(super) request: Request,
    /// What waits for the client.
    pub(super) outbox: Outbox,
    /// Once it is closed, why.
    pub(super) closed: Option<EndReason>,
    _slots: Slots,
    _place: Spot,
    _live: metrics::Live,
    /// Those who wait for its end, to take its place; so the last to go.
    pub(super) successors: Vec<oneshot::Sender<Rejoined>>,
}

/// A call's place among the strides of the others, while it is held.
struct Spot {
    sessions: Sessions,
    place: Place,
}

impl Sessions {
    /// Admits a call, goes on with it after a break, or says why not.
    pub async fn open(&self, request: &Request) -> Result<Session, Refusal> {
        self.join(request).await.inspect_err(|refusal| {
            self.count_refusal(refusal.name());
            tracing::info!(reason = refusal.name(), "call refused");
        })
    }

    pub(super) fn admit(&self, request: &Request) -> Result<Session, Refusal> {
        let terms = self.terms();
        let engine = self.engine_for(&terms, request.model.as_deref())?;
        let permits = terms.policy.judge_call(&request.circumstances())?;
        let session_id = Uuid::new_v4();
        let leg_ids = request.legs.iter().map(|leg| leg.leg_id.as_str());
        let analysed = permits.iter().filter(|permit| permit.is_ok()).count();
        let load = analysed as f64 * engine.windows_per_second(request.stride);
        let slots = self.shared.registry.take(session_id, &request.call_id, leg_ids, load)?;
        let spot = self.take_spot(request.stride);
        let put_off_samples = samples(spot.place.offset, request.sample_rate_hz);
        let manifest = &engine.model.manifest;
        let with = |permits: Vec<Result<Permit, NotScored>>| -> Vec<LegOptions> {
            let legs = request.legs.iter().zip(permits);
            legs.map(|(leg, permit)| LegOptions { leg_id: leg.leg_id.clone(), permit }).collect()
        };
        let legs = with(permits);
        let acknowledged: Vec<AcknowledgedLeg> = legs
            .iter()
            .zip(&request.legs)
            .map(|(leg, asked)| AcknowledgedLeg {
                leg_id: leg.leg_id.clone(),
                role: asked.role,
                subject: asked.subject.clone(),
                analysed: leg.permit.is_ok(),
            })
            .collect();
        let acknowledgement = Acknowledgement {
            session_id,
            call_id: request.call_id.clone(),
            tags: request.tags.clone(),
            sample_rate_hz: request.sample_rate_hz,
            model: Arc::clone(&engine.model),
            stride: request.stride,
            put_off_samples,
            warnings: warnings(manifest, request.sample_rate_hz, &acknowledged),
            legs: acknowledged,
            resumption: None,
        };
        let limits = &terms.limits;
        let options = |manifest, legs, rules| Options {
            session_id: session_id.to_string(),
            tags: request.tags.clone(),
            rules,
            encoding: request.encoding,
            sample_rate_hz: request.sample_rate_hz,
            legs,
            model: Arc::clone(manifest),
            stride: request.stride,
            idle_timeout: limits.idle_timeout,
            hold_timeout: limits.hold_timeout,
            status_interval: limits.status_interval,
            close_timeout: limits.close_timeout,
        };
        let bytes_per_second =
            request.encoding.bytes_per_sample() * request.sample_rate_hz as usize * request.legs.len();
        let rules = Arc::clone(&self.shared.rules);
        let call = Call::new(options(manifest, legs, rules.load_full()), Instant::now())?;
        let call = call.put_off_by(put_off_samples).lend(engine.inference.buffers()).timed_by(Instant::now);
        let first_leg = self.number_legs(request.legs.len());
        let shadow = terms.engines.shadow_beside(&engine, session_id).map(|shadow| {
            // A permit is for one hearing, and the policy gives the same again.
            let legs = with(terms.policy.judge_call(&request.circumstances())?);
            let own = || options(&shadow.model.manifest, legs, Arc::new(Rules::none()));
            Ok::<_, Refusal>(shadow.hear(first_leg, put_off_samples, own)?)
        });
        let shadow = shadow.transpose()?;
        let live = self.metrics().live(request.legs.len(), load);
        let turn = Turn::new(request.sample_rate_hz, request.encoding.bytes_per_sample());
        let driver = Driver::new(call, rules, Arc::clone(&engine), first_leg, turn).beside(shadow);
        let driver = driver.weighed_by(self.metrics().legs_bytes());
        let acknowledgement = Arc::new(acknowledgement);
        let outbox = Outbox::new(request.legs.len(), limits.event_buffer, self.metrics().events_dropped_total.clone());
        let (posted, commands) = self.shared.board.post(Arc::clone(&acknowledgement));
        // Only now, for a withdrawal that comes from here on finds it on the board.
        self.refuse_withdrawn(request)?;
        Ok(Session {
            sessions: self.clone(),
            engine,
            driver,
            chronicle: Chronicle::begin(self.shared.feed.clone(), Arc::clone(&acknowledgement)),
            posted,
            commands,
            acknowledgement,
            bytes_per_second,
            request: request.clone(),
            outbox,
            closed: None,
            successors: Vec::new(),
            _slots: slots,
            _place: spot,
            _live: live,
        })
    }
}

impl Sessions {
    fn take_spot(&self, stride: Duration) -> Spot {
        let mut spread = self.shared.spread.lock().unwrap_or_else(PoisonError::into_inner);
        let place = spread.take(stride, self.shared.began.elapsed());
        Spot { sessions: self.clone(), place }
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        self.sessions.shared.spread.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.place);
    }
}

impl Session {
    /// The same by a stream that is traced, or by one that is not.
    #[must_use]
    pub fn traced(mut self, stream: Option<trace::Request>) -> Self {
        self.driver.trace(stream);
        self
    }

    /// The call as negotiated.
    pub fn acknowledgement(&self) -> &Arc<Acknowledgement> {
        &self.acknowledgement
    }
}

/// Whole samples in a time shorter than a stride.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a few seconds of samples")]
fn samples(time: Duration, sample_rate_hz: u32) -> u64 {
    (time.as_secs_f64() * f64::from(sample_rate_hz)) as u64
}

/// What a client should know of a recording at this rate.
pub(super) fn bandwidth_warning(manifest: &Manifest, sample_rate_hz: u32) -> Option<String> {
    // Audio below 16 kHz carries no more than the telephone's 4 kHz and a little.
    let (bandwidth, named) =
        if sample_rate_hz < 16_000 { (Bandwidth::Telephone, "telephone") } else { (Bandwidth::Wide, "wide-band") };
    if manifest.bandwidths.contains(&bandwidth) {
        return None;
    }
    let name = &manifest.name;
    Some(format!(
        "audio at {sample_rate_hz} Hz is {named} audio, which model {name:?} was not trained for: expect worse scores, or choose a \
         model whose bandwidths fit"
    ))
}

fn warnings(manifest: &Manifest, sample_rate_hz: u32, legs: &[AcknowledgedLeg]) -> Vec<String> {
    let dropped = legs.iter().filter(|leg| !leg.analysed).map(|leg| {
        let AcknowledgedLeg { leg_id, role, .. } = leg;
        format!("leg {leg_id:?} is not analysed, because the server's policy does not permit role {role}; its audio is dropped")
    });
    bandwidth_warning(manifest, sample_rate_hz).into_iter().chain(dropped).collect()
}
