//! [`Call`]: the legs of one call under one clock.

use std::{cell::Cell, collections::VecDeque, sync::Arc, time::Instant};

use zeroize::Zeroizing;

use super::{
    Chunk, Control, EndReason, Options, Output, Resumption, Status, Warning, WindowId,
    leg::Leg,
    measure::{Measure, Worked},
    timeline::{Before, Placement, Timeline},
};
use crate::{
    audio::{
        codec::Decoder,
        label::{self, Finding},
    },
    decision::{
        NotOpen, Rules,
        alert::{Attribution, Snooze},
    },
    features::{self, Buffers},
    model::Outcome,
};

/// Samples that there is room for from chunk to chunk: 200 ms of the highest rate, twice what chunks commonly hold.
const MOST_KEPT_SAMPLES: usize = 48_000 / 5;

thread_local! {
    /// Decoded samples of the present chunk, one `Vec` a channel. The thread's, so that no call keeps them; empty and wiped between two chunks.
    static PLANES: Cell<Zeroizing<Vec<Vec<f32>>>> = Cell::default();
}

/// One call.
pub struct Call {
    options: Options,
    timeline: Timeline,
    decoder: Decoder,
    legs: Vec<Leg>,
    /// What looks at how the audio is written, until that is clear.
    watch: Option<label::Watch>,
    warnings: Vec<Warning>,
    outputs: VecDeque<Output>,
    last_message: Instant,
    next_status: Instant,
    split_samples: u64,
    measure: Measure,
    phase: Phase,
}

enum Phase {
    Open,
    Closing(EndReason, Instant),
    Closed,
}

impl Call {
    /// A call that begins now.
    pub fn new(options: Options, now: Instant) -> Result<Self, features::Error> {
        let legs = (0..options.legs.len()).map(|index| Leg::new(index, &options)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            timeline: Timeline::new(options.sample_rate_hz),
            decoder: Decoder::new(options.encoding, legs.len()),
            watch: Some(label::Watch::new(options.encoding, legs.len(), options.sample_rate_hz)),
            warnings: Vec::new(),
            legs,
            outputs: VecDeque::new(),
            last_message: now,
            next_status: now + options.status_interval,
            split_samples: 0,
            measure: Measure::new(options.encoding, options.sample_rate_hz, options.legs.len()),
            phase: Phase::Open,
            options,
        })
    }

    /// Decides at `samples`, which lie below a stride, and at every stride after it, instead of at whole strides. Before any audio.
    #[must_use]
    pub fn put_off_by(mut self, samples: u64) -> Self {
        self.legs.iter_mut().for_each(|leg| leg.put_off_by(samples));
        self
    }

    /// Windows take their memory from there.
    #[must_use]
    pub fn lend(mut self, buffers: &Buffers) -> Self {
        self.legs.iter_mut().for_each(|leg| leg.lend(buffers));
        self
    }

    /// Tells what its work takes ([`Output::Spent`]), by this clock, the same that `now` comes from. Nothing that it decides depends on it.
    #[must_use]
    pub fn timed_by(mut self, clock: fn() -> Instant) -> Self {
        self.measure.clock = Some(clock);
        self
    }

    /// When the last chunk was worked on, where it is timed; told once.
    pub fn take_worked(&mut self) -> Option<Worked> {
        self.measure.take_worked()
    }

    /// Whether it takes more in.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Bytes that it keeps of what its legs hear: samples, frames and all that is heard with. What is decided of them is not counted, nor what
    /// legs share.
    pub fn bytes(&self) -> usize {
        let legs: usize = self.legs.iter().map(|leg| size_of::<Leg>() + leg.bytes()).sum();
        legs + self.watch.as_ref().map_or(0, label::Watch::bytes)
    }

    /// Legs it has.
    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    /// Takes audio in; tells how many samples its legs took, those of gaps that were filled among them.
    pub fn push(&mut self, chunk: Chunk<'_>, now: Instant) -> u64 {
        if !matches!(self.phase, Phase::Open) {
            return 0;
        }
        self.last_message = now;
        let stands_alone = chunk.media_offset_samples.is_some() || self.timeline.jumps_to(&chunk);
        if stands_alone && self.decoder.pending_bytes() > 0 {
            // A position counts whole samples, so what was split before it can have no other half; nor has what was split before a chunk
            // that never came.
            self.split_samples += 1;
            self.realign();
        }
        let group_bytes = self.options.encoding.bytes_per_sample() * self.legs.len();
        let samples = (self.decoder.pending_bytes() + chunk.data.len()) / group_bytes;
        let Placement::Take { skip, before } = self.timeline.place(&chunk, samples as u64) else {
            for leg in &mut self.legs {
                leg.discard(samples as u64);
            }
            return 0;
        };
        self.look(chunk.data, now);
        let mut planes = PLANES.take();
        if planes.len() < self.legs.len() {
            planes.resize_with(self.legs.len(), Vec::new);
        }
        self.decoder.push(chunk.data, &mut planes[..self.legs.len()]);
        let mut taken = 0;
        let decoded = self.measure.read();
        let of_legs = planes.iter().zip(&mut self.measure.meters);
        for (leg, (plane, meter)) in self.legs.iter_mut().zip(of_legs) {
            match before {
                Before::Nothing => {}
                Before::Start(position) => leg.skip(position),
                Before::Silence(missing) => {
                    leg.fill(missing, now, &mut self.outputs);
                    taken += missing;
                }
                Before::Gap(missing) => leg.gap(missing, now, &mut self.outputs),
            }
            leg.discard(skip);
            let fresh = usize::try_from(skip).map_or(&[][..], |skip| &plane[skip..]);
            if leg.listens() {
                meter.push(fresh, |block| self.outputs.push_back(Output::Level(block)));
            }
            leg.push(fresh, now, &mut self.outputs);
            taken += fresh.len() as u64;
        }
        self.measure.count(samples as u64, now, decoded, &mut self.outputs);
        give_back(planes);
        taken
    }

    /// Changes the state of one leg, or of all. While it closes consent can still be withdrawn: no window that is out then is judged.
    pub fn control(&mut self, control: Control, leg: Option<usize>, now: Instant) {
        match self.phase {
            Phase::Open => {}
            Phase::Closing(..) if control == Control::WithdrawConsent => {}
            Phase::Closing(..) | Phase::Closed => return,
        }
        self.last_message = now;
        for (index, state) in self.legs.iter_mut().enumerate() {
            if leg.is_some_and(|leg| leg != index) {
                continue;
            }
            match control {
                Control::Hold => state.hold(now, &mut self.outputs),
                Control::Resume => state.resume(),
                Control::Flush => state.flush(now, &mut self.outputs),
                Control::WithdrawConsent => state.withdraw(now, &mut self.outputs),
            }
        }
        self.finish_closing();
    }

    /// Its stream broke, or goes on after a break: the idle time-out counts from now. A sample of which a part came is to be sent whole.
    pub fn rejoin(&mut self, now: Instant) -> Resumption {
        self.last_message = now;
        self.realign();
        Resumption {
            position_samples: self.timeline.position_samples(),
            next_sequence: self.timeline.next_sequence(),
            next_events: self.legs.iter().map(|leg| leg.next_event).collect(),
        }
    }

    /// Goes on under other rules, from the next window on.
    pub fn set_rules(&mut self, rules: &Arc<Rules>) {
        if Arc::ptr_eq(&self.options.rules, rules) || matches!(self.phase, Phase::Closed) {
            return;
        }
        self.options.rules = Arc::clone(rules);
        for leg in &mut self.legs {
            leg.set_rules(rules, &mut self.outputs);
        }
    }

    /// Somebody takes an alert over. It is not critical any more, and is still resolved when its time comes.
    ///
    /// # Errors
    /// [`NotOpen`] when this call has no such alert, or it is over.
    pub fn acknowledge(&mut self, alert_id: &str, by: &Attribution) -> Result<(), NotOpen> {
        let outputs = &mut self.outputs;
        self.legs.iter_mut().find_map(|leg| leg.acknowledge(alert_id, by, outputs)).unwrap_or(Err(NotOpen::Unknown))
    }

    /// Somebody wants to hear no more of an alert, nor of another one of its rule on this leg, for a while from `now` on.
    ///
    /// # Errors
    /// [`NotOpen`] when this call has no such alert, or it is over.
    pub fn snooze(&mut self, alert_id: &str, snooze: &Snooze, now: Instant) -> Result<(), NotOpen> {
        let outputs = &mut self.outputs;
        self.legs.iter_mut().find_map(|leg| leg.snooze(alert_id, snooze, now, outputs)).unwrap_or(Err(NotOpen::Unknown))
    }

    /// Takes in what became of a window. An unknown id is ignored.
    pub fn apply(&mut self, id: WindowId, outcome: Outcome, now: Instant) {
        if let Some(leg) = self.legs.get_mut(id.leg) {
            leg.apply(id.number, outcome, now, &mut self.outputs);
        }
        self.finish_closing();
    }

    /// Lets time-outs expire.
    pub fn tick(&mut self, now: Instant) {
        for leg in &mut self.legs {
            leg.tick(now, &mut self.outputs);
        }
        match self.phase {
            Phase::Open => {
                if now >= self.idle_deadline() {
                    self.close(EndReason::Idle, now);
                } else if now >= self.next_status {
                    self.tell_status(now);
                }
            }
            Phase::Closing(_, deadline) if now >= deadline => {
                for leg in &mut self.legs {
                    leg.abandon(now, &mut self.outputs);
                }
                self.finish_closing();
            }
            Phase::Closing(..) | Phase::Closed => {}
        }
    }

    /// Ends the call: summaries follow when all windows are back, or at the close time-out. A second time has no effect.
    pub fn close(&mut self, reason: EndReason, now: Instant) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.phase = Phase::Closing(reason, now + self.options.close_timeout);
        for leg in &mut self.legs {
            leg.finish(now, &mut self.outputs);
        }
        self.finish_closing();
    }

    /// The next output, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Call::tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open => {
                let snoozes = self.legs.iter().filter_map(Leg::deadline);
                snoozes.chain([self.idle_deadline(), self.next_status]).min()
            }
            Phase::Closing(_, deadline) => Some(deadline),
            Phase::Closed => None,
        }
    }

    /// Looks at how the audio is written, where anybody listens to it.
    fn look(&mut self, data: &[u8], now: Instant) {
        if !self.legs.iter().any(Leg::listens) {
            return;
        }
        let Some(finding) = self.watch.as_mut().and_then(|watch| watch.push(data)) else { return };
        self.watch = None;
        if let Finding::LooksLike(looks_like) = finding {
            let warning = Warning::Mislabelled { label: self.options.encoding, looks_like };
            self.warnings.push(warning);
            self.outputs.push_back(Output::Warning(warning));
            self.tell_status(now);
        }
    }

    fn tell_status(&mut self, now: Instant) {
        let legs = self.legs.iter().map(Leg::status).collect();
        self.outputs.push_back(Output::Status(Status { legs, warnings: self.warnings.clone() }));
        self.next_status = now + self.options.status_interval;
    }

    /// What comes next begins with a whole sample.
    fn realign(&mut self) {
        self.decoder = Decoder::new(self.options.encoding, self.legs.len());
        if let Some(watch) = &mut self.watch {
            watch.realign();
        }
    }

    /// A hold may be silent for longer: while every leg that is analysed is on hold, its time-out counts.
    fn idle_deadline(&self) -> Instant {
        let mut analysed = self.legs.iter().filter(|leg| leg.is_analysed()).peekable();
        let on_hold = analysed.peek().is_some() && analysed.all(|leg| !leg.listens());
        self.last_message + if on_hold { self.options.hold_timeout } else { self.options.idle_timeout }
    }

    /// Closes, if nothing is out any more.
    fn finish_closing(&mut self) {
        let Phase::Closing(reason, _) = self.phase else { return };
        if self.legs.iter().any(Leg::has_windows_out) {
            return;
        }
        let warnings = self.warnings();
        for leg in &mut self.legs {
            leg.end(&mut self.outputs);
        }
        for leg in &self.legs {
            self.outputs.push_back(Output::Summary(leg.summary(reason, warnings.clone())));
        }
        self.outputs.push_back(Output::Closed(reason));
        self.phase = Phase::Closed;
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.warnings.iter().map(Warning::to_string).collect();
        let pending = self.decoder.pending_bytes();
        if pending > 0 {
            warnings.push(format!("{pending} byte(s) at the end are no whole sample of all channels and were dropped"));
        }
        if self.split_samples > 0 {
            warnings.push(format!(
                "{} sample(s) were split before a chunk with a position, or one that never came, and were dropped",
                self.split_samples
            ));
        }
        warnings.extend(self.timeline.warnings());
        warnings
    }
}

/// Wipes what a chunk was decoded to, and keeps the room, unless it was longer than chunks commonly are.
fn give_back(mut planes: Zeroizing<Vec<Vec<f32>>>) {
    for plane in planes.iter_mut() {
        plane.fill(0.0);
        plane.clear();
        plane.shrink_to(MOST_KEPT_SAMPLES);
    }
    PLANES.set(planes);
}
