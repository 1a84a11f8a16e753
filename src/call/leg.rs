//! One party's audio: its pipeline, the windows that are out, and the events that wait for them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::{Event, Options, Output, WindowId};
use crate::{
    decision::{self, Calibration, Decider, Observation, position},
    features::{self, Buffers, NotScored, Pipeline, PipelineOptions, Stride},
    model::Outcome,
    policy::{Permit, Role},
};

mod account;
mod alerts;

pub(super) struct Leg {
    index: usize,
    /// Begins the ids of its alerts.
    alert_prefix: String,
    rate_hz: u32,
    calibration: Calibration,
    /// What analyses it; `None` when it may not be, or no longer.
    pipeline: Option<Pipeline>,
    /// What the client's positions are ahead of the pipeline's: audio that never reached it.
    skew_samples: u64,
    on_hold: bool,
    /// Samples that passed while it was on hold.
    held_samples: u64,
    received_samples: u64,
    dropped_samples: u64,
    /// Samples that never came and were heard as silence.
    filled_samples: u64,
    next_window: u64,
    pub(super) next_event: u64,
    /// Decisions in media order; the first waits for its window, or would have left.
    pending: VecDeque<Pending>,
    decider: Decider,
    speech_seconds: f64,
    not_scored: BTreeMap<NotScored, u64>,
    last_not_scored: Option<NotScored>,
    shed_windows: u64,
    withdrawn: bool,
}

/// A decision that has not left yet. Positions are the client's. Its logits are wiped when it is dropped.
struct Pending {
    start_samples: u64,
    end_samples: u64,
    depends_on_samples: u64,
    held_samples: u64,
    speech_seconds: f32,
    speech_ratio: f32,
    snr_db: Option<f32>,
    arrived: Instant,
    finding: Finding,
}

/// What is known of a stretch.
enum Finding {
    /// Its window, by number, is out.
    Waiting(u64),
    /// Its window is back.
    Back(Outcome),
    /// There was no window.
    NotScored(NotScored),
}

impl Finding {
    fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }
}

impl Leg {
    pub(super) fn new(index: usize, options: &Options) -> Result<Self, features::Error> {
        let model = &options.model;
        let permit = &options.legs[index].permit;
        let of_decider = decision::Options {
            labels: model.labels.clone(),
            calibration: model.calibration,
            // Of a leg that is dropped nothing is ever decided.
            role: permit.as_ref().map_or(Role::Unspecified, Permit::role),
            tags: options.tags.clone(),
        };
        let pipeline = match permit {
            Ok(_) => Some(Pipeline::new(
                &model.front_end,
                &model.window,
                &model.standardization,
                &PipelineOptions {
                    source_hz: options.sample_rate_hz,
                    stride_seconds: options.stride.as_secs_f64(),
                    gate: true,
                },
            )?),
            Err(_) => None,
        };
        Ok(Self {
            index,
            alert_prefix: format!("{}-{index}-", options.session_id),
            rate_hz: options.sample_rate_hz,
            calibration: model.calibration,
            pipeline,
            skew_samples: 0,
            on_hold: false,
            held_samples: 0,
            received_samples: 0,
            dropped_samples: 0,
            filled_samples: 0,
            next_window: 0,
            next_event: 1,
            pending: VecDeque::new(),
            decider: Decider::new(of_decider, &options.rules),
            speech_seconds: 0.0,
            not_scored: BTreeMap::new(),
            last_not_scored: permit.as_ref().err().copied(),
            shed_windows: 0,
            withdrawn: false,
        })
    }

    /// Decides at `samples` and every stride after it. Before any audio.
    pub(super) fn put_off_by(&mut self, samples: u64) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.put_off_by(samples);
        }
    }

    /// Bytes that its frames take.
    pub(super) fn bytes(&self) -> usize {
        self.pipeline.as_ref().map_or(0, Pipeline::bytes)
    }

    /// Windows take their memory from there.
    pub(super) fn lend(&mut self, buffers: &Buffers) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.lend(buffers.clone());
        }
    }

    /// Whether its audio reaches the features now.
    pub(super) fn listens(&self) -> bool {
        self.pipeline.is_some() && !self.on_hold
    }

    pub(super) fn is_analysed(&self) -> bool {
        self.pipeline.is_some()
    }

    pub(super) fn has_windows_out(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes samples in that the client sent.
    pub(super) fn push(&mut self, samples: &[f32], now: Instant, out: &mut VecDeque<Output>) {
        self.received_samples += samples.len() as u64;
        match &mut self.pipeline {
            Some(pipeline) if !self.on_hold => pipeline.push(samples),
            _ => {
                self.dropped_samples += samples.len() as u64;
                self.skip(samples.len() as u64);
            }
        }
        self.decide(now, out);
    }

    /// Counts samples that the client sent and that were there already.
    pub(super) fn discard(&mut self, samples: u64) {
        self.received_samples += samples;
        self.dropped_samples += samples;
    }

    /// Takes silence in for samples that never came, and counts it.
    pub(super) fn fill(&mut self, samples: u64, now: Instant, out: &mut VecDeque<Output>) {
        match &mut self.pipeline {
            Some(pipeline) if !self.on_hold => {
                let silence = vec![0.0; usize::try_from(samples).expect("a gap that is filled is short")];
                pipeline.push(&silence);
                self.filled_samples += samples;
            }
            _ => self.skip(samples),
        }
        self.decide(now, out);
    }

    /// Moves its position on without audio.
    pub(super) fn skip(&mut self, samples: u64) {
        self.skew_samples = self.skew_samples.saturating_add(samples);
        if self.on_hold {
            self.held_samples = self.held_samples.saturating_add(samples);
        }
    }

    /// Jumps over samples that never came, too many to fill, and says so.
    pub(super) fn gap(&mut self, samples: u64, now: Instant, out: &mut VecDeque<Output>) {
        let listens = self.listens();
        let start_samples = self.position_samples();
        self.skip(samples);
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.clear();
        }
        if listens {
            self.tell(NotScored::Gap, start_samples, now, out);
        }
    }

    pub(super) fn hold(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if !self.listens() {
            return;
        }
        self.on_hold = true;
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.clear();
        }
        self.tell(NotScored::OnHold, self.position_samples(), now, out);
    }

    pub(super) fn resume(&mut self) {
        self.on_hold = false;
    }

    pub(super) fn flush(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if self.on_hold {
            return;
        }
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.flush();
        }
        self.decide(now, out);
    }

    /// Stops the analysis and forgets what was heard.
    pub(super) fn withdraw(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        let Some(pipeline) = self.pipeline.take() else { return };
        self.skew_samples = self.skew_samples.saturating_add(pipeline.position_samples());
        drop(pipeline);
        self.on_hold = false;
        self.withdrawn = true;
        self.pending.clear();
        self.decider.purge();
        self.tell_alerts(out);
        self.tell(NotScored::ConsentWithdrawn, self.position_samples(), now, out);
    }

    /// Decides on the rest.
    pub(super) fn finish(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if self.on_hold {
            return;
        }
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.finish();
        }
        self.decide(now, out);
    }

    /// Takes in what became of window `number`.
    pub(super) fn apply(&mut self, number: u64, outcome: Outcome, now: Instant, out: &mut VecDeque<Output>) {
        if let Some(pending) = self
            .pending
            .iter_mut()
            .find(|pending| matches!(pending.finding, Finding::Waiting(waiting) if waiting == number))
        {
            pending.finding = Finding::Back(outcome);
            self.release(now, out);
        }
    }

    /// Gives up what is still out.
    pub(super) fn abandon(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        for pending in &mut self.pending {
            if pending.finding.is_waiting() {
                pending.finding = Finding::NotScored(NotScored::Failed);
            }
        }
        self.release(now, out);
    }

    fn position_samples(&self) -> u64 {
        self.skew_samples.saturating_add(self.pipeline.as_ref().map_or(0, Pipeline::position_samples))
    }

    /// Takes the strides that are due: sends their windows out, and queues what is to be told of them.
    fn decide(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        while let Some(stride) = self.pipeline.as_mut().and_then(Pipeline::poll) {
            self.speech_seconds += f64::from(stride.speech_seconds);
            let Stride { start_samples, end_samples, depends_on_samples, .. } = stride;
            let Stride { speech_ratio, speech_seconds, snr_db, outcome, .. } = stride;
            let finding = match outcome {
                Ok(window) => {
                    let id = WindowId { leg: self.index, number: self.next_window };
                    self.next_window += 1;
                    out.push_back(Output::Infer { id, window });
                    Finding::Waiting(id.number)
                }
                Err(reason) => Finding::NotScored(reason),
            };
            self.pending.push_back(Pending {
                start_samples: start_samples.saturating_add(self.skew_samples),
                end_samples: end_samples.saturating_add(self.skew_samples),
                depends_on_samples: depends_on_samples.saturating_add(self.skew_samples),
                held_samples: self.held_samples,
                speech_seconds,
                speech_ratio,
                snr_db,
                arrived: now,
                finding,
            });
        }
        self.release(now, out);
    }

    /// Queues a decision that no window is behind, from `start_samples` to the present position.
    fn tell(&mut self, reason: NotScored, start_samples: u64, now: Instant, out: &mut VecDeque<Output>) {
        let end_samples = self.position_samples();
        self.pending.push_back(Pending {
            start_samples,
            end_samples,
            depends_on_samples: end_samples,
            held_samples: self.held_samples,
            speech_seconds: 0.0,
            speech_ratio: 0.0,
            snr_db: None,
            arrived: now,
            finding: Finding::NotScored(reason),
        });
        self.release(now, out);
    }

    /// Lets go of the decisions that no earlier one holds back.
    fn release(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        while let Some(pending) = self.pending.pop_front_if(|pending| !pending.finding.is_waiting()) {
            let Pending { start_samples, end_samples, depends_on_samples, speech_ratio, arrived, .. } = pending;
            let outcome = match pending.finding {
                Finding::Waiting(_) => unreachable!("only what is known leaves"),
                Finding::Back(Outcome::Logits(logits)) => Ok(self.calibration.judge(&logits)),
                Finding::Back(Outcome::Shed) => {
                    self.shed_windows += 1;
                    Err(NotScored::Overloaded)
                }
                Finding::Back(Outcome::Failed(_)) => Err(NotScored::Failed),
                Finding::NotScored(reason) => Err(reason),
            };
            self.last_not_scored = outcome.as_ref().err().copied();
            if let Err(reason) = outcome {
                *self.not_scored.entry(reason).or_default() += 1;
            }
            let at = |samples| position::of_samples(samples, self.rate_hz);
            self.decider.observe(&Observation {
                start: at(start_samples),
                end: at(end_samples),
                held: at(pending.held_samples),
                speech_seconds: pending.speech_seconds,
                speech_ratio,
                snr_db: pending.snr_db,
                outcome: outcome.as_ref().map(|judgement| &judgement.probabilities[..]).map_err(|reason| *reason),
            });
            out.push_back(Output::Event(Event {
                leg: self.index,
                sequence: self.next_event,
                start_samples,
                end_samples,
                depends_on_samples,
                outcome,
                smoothed: self.decider.smoothed(),
                speech_ratio,
                processing_latency: now.saturating_duration_since(arrived),
                received_samples: self.received_samples,
                dropped_samples: self.dropped_samples,
                filled_samples: self.filled_samples,
            }));
            self.next_event += 1;
            self.tell_alerts(out);
        }
    }
}
