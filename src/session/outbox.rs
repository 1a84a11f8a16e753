//! What waits for a client that reads slowly. Bounded: at the limit the oldest event goes, and is counted; a newer status takes an
//! older one's place; the acknowledgement, alerts and the summaries always stay. Where consent is withdrawn they stay too, without what
//! was heard. Without clock or I/O.

use std::{collections::VecDeque, time::Instant};

use metrics::Counter;

use super::Message;
use crate::{call::Event, features::NotScored};

/// The messages that wait, oldest first.
pub(super) struct Outbox {
    waiting: VecDeque<Message>,
    events: usize,
    /// What the events that wait keep beside themselves.
    event_bytes: usize,
    event_limit: usize,
    dropped_events: Vec<u64>,
    dropped_total: Counter,
    /// Since when the client has taken nothing, while something waits.
    waiting_since: Option<Instant>,
}

impl Outbox {
    /// Empty, for a call of so many legs.
    pub(super) fn new(legs: usize, event_limit: usize, dropped_total: Counter) -> Self {
        Self {
            waiting: VecDeque::new(),
            events: 0,
            event_bytes: 0,
            event_limit,
            dropped_events: vec![0; legs],
            dropped_total,
            waiting_since: None,
        }
    }

    /// A client begins to read: this first, then what waits.
    pub(super) fn begin(&mut self, acknowledgement: Message, now: Instant) {
        self.waiting.retain(|waiting| !matches!(waiting, Message::Acknowledgement(_)));
        self.waiting.push_front(acknowledgement);
        self.waiting_since = Some(now);
    }

    pub(super) fn push(&mut self, message: Message, now: Instant) {
        match &message {
            Message::Event(event) => {
                if self.events == self.event_limit {
                    self.drop_oldest_event();
                } else {
                    self.events += 1;
                }
                self.event_bytes += bytes(event);
            }
            Message::Status { .. } => self.waiting.retain(|waiting| !matches!(waiting, Message::Status { .. })),
            Message::Acknowledgement(_) | Message::Alert { .. } | Message::Summary { .. } => {}
        }
        self.waiting.push_back(message);
        self.waiting_since.get_or_insert(now);
    }

    /// The oldest message, taken by the client, with the count of dropped events as it is now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Message> {
        let mut message = self.waiting.pop_front()?;
        self.waiting_since = (!self.waiting.is_empty()).then_some(now);
        match &mut message {
            Message::Event(event) => {
                self.events -= 1;
                self.event_bytes -= bytes(event);
            }
            Message::Status { dropped_events, .. } => dropped_events.clone_from(&self.dropped_events),
            Message::Summary { summary, dropped_events } => *dropped_events = self.dropped_events[summary.leg],
            Message::Acknowledgement(_) | Message::Alert { .. } => {}
        }
        Some(message)
    }

    /// Consent of a leg, or of all, is withdrawn: what waits says nothing any more of what was heard.
    pub(super) fn forget(&mut self, leg: Option<usize>) {
        let of_leg = |index: usize| leg.is_none_or(|leg| leg == index);
        for message in &mut self.waiting {
            match message {
                Message::Event(event) if of_leg(event.leg) => {
                    self.event_bytes -= bytes(event);
                    event.smoothed = None;
                    if event.outcome.is_ok() {
                        event.outcome = Err(NotScored::ConsentWithdrawn);
                    }
                }
                Message::Alert { alert, .. } if of_leg(alert.leg) => alert.change.evidence.forget(),
                Message::Summary { summary, .. } if of_leg(summary.leg) => summary.forget(),
                Message::Acknowledgement(_)
                | Message::Status { .. }
                | Message::Event(_)
                | Message::Alert { .. }
                | Message::Summary { .. } => {}
            }
        }
    }

    /// Bytes of what waits: of its events, and of room for all messages. What alerts, statuses and summaries keep beside themselves, of
    /// which few wait, is not counted.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Message>() + self.event_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when the client has taken nothing, while something waits.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    fn drop_oldest_event(&mut self) {
        let oldest = self.waiting.iter().position(|waiting| matches!(waiting, Message::Event(_)));
        if let Some(Message::Event(event)) = oldest.and_then(|oldest| self.waiting.remove(oldest)) {
            self.event_bytes -= bytes(&event);
            self.dropped_events[event.leg] += 1;
            self.dropped_total.increment(1);
        }
    }
}

/// Bytes of the scores of an event.
fn bytes(event: &Event) -> usize {
    let judgements = event.outcome.iter().chain(&event.smoothed);
    judgements.map(|judgement| judgement.probabilities.capacity() * size_of::<f32>()).sum()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{
        call::{self, EndReason, Summary},
        decision::{
            self, Rules, Share,
            alert::{Evidence, Reason, Severity, State},
        },
    };

    /// What a call that nobody reads may take by default, as operators are told to count (docs/operating.md).
    const MOST_BYTES: usize = 128 * 1024;

    fn event(leg: usize, sequence: u64) -> Message {
        Message::Event(Event {
            leg,
            sequence,
            start_samples: 0,
            end_samples: 0,
            depends_on_samples: 0,
            outcome: Err(NotScored::Silence),
            smoothed: None,
            speech_ratio: 0.0,
            processing_latency: Duration::ZERO,
            received_samples: 0,
            dropped_samples: 0,
            filled_samples: 0,
        })
    }

    fn alert(revision: u32) -> Message {
        let at = Duration::ZERO;
        let evidence = Evidence {
            start: at,
            end: at,
            windows: 0,
            speech: at,
            speech_ratio: 0.0,
            level: 0.0,
            usual: 0.0,
            peak: 0.0,
            peak_at: at,
            scores: Vec::new(),
            snr_db: None,
        };
        let change = decision::Alert {
            number: 1,
            revision,
            rule: Arc::clone(&Rules::shipped().rules[0]),
            state: State::Firing,
            severity: Severity::Warning,
            reason: Reason::Rose,
            fired_at: at,
            at,
            by: None,
            snoozed_for: None,
            evidence,
        };
        let alert = call::Alert { leg: 0, alert_id: String::new(), change };
        Message::Alert { alert, changed_at: SystemTime::UNIX_EPOCH }
    }

    fn status() -> Message {
        let status = call::Status { legs: Vec::new(), warnings: Vec::new() };
        Message::Status { status, dropped_events: Vec::new() }
    }

    fn summary(leg: usize) -> Message {
        let summary = Summary {
            leg,
            end_reason: EndReason::Completed,
            received_samples: 0,
            dropped_samples: 0,
            filled_samples: 0,
            speech: Duration::ZERO,
            scored_windows: 0,
            not_scored: Vec::new(),
            mean: None,
            shares: Vec::new(),
            shed_windows: 0,
            warnings: Vec::new(),
        };
        Message::Summary { summary, dropped_events: 0 }
    }

    /// "e1" for an event, "s[2, 0]" for a status, "z2" for a summary.
    fn told(outbox: &mut Outbox) -> Vec<String> {
        let name = |message| match message {
            Message::Event(event) => format!("e{}", event.sequence),
            Message::Status { dropped_events, .. } => format!("s{dropped_events:?}"),
            Message::Summary { dropped_events, .. } => format!("z{dropped_events}"),
            Message::Alert { alert, .. } => format!("!{}", alert.change.revision),
            Message::Acknowledgement(_) => "a".to_owned(),
        };
        std::iter::from_fn(|| outbox.pop(Instant::now())).map(name).collect()
    }

    #[test]
    fn a_burst_drops_the_oldest_events_and_never_an_alert_or_a_summary() {
        let now = Instant::now();
        let mut outbox = Outbox::new(2, 3, Counter::noop());
        outbox.push(status(), now);
        for sequence in 1..=5 {
            outbox.push(event(0, sequence), now);
            if sequence < 3 {
                outbox.push(alert(sequence as u32), now);
            }
        }
        outbox.push(status(), now);
        outbox.push(event(1, 1), now);
        outbox.push(summary(0), now);
        outbox.push(summary(1), now);
        assert_eq!(told(&mut outbox), ["!1", "!2", "e4", "e5", "s[3, 0]", "e1", "z3", "z0"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_waits_says_nothing_of_who_withdrew_consent() {
        let judgement = || decision::Judgement { probabilities: vec![0.25, 0.75], label: Some(1), confidence: 0.75 };
        let now = Instant::now();
        let heard = |leg| {
            let Message::Event(event) = event(leg, 1) else { unreachable!("it is one") };
            Message::Event(Event { outcome: Ok(judgement()), smoothed: Some(judgement()), ..event })
        };
        let mut outbox = Outbox::new(2, 8, Counter::noop());
        let Message::Alert { mut alert, changed_at } = alert(1) else { unreachable!("it is one") };
        (alert.change.evidence.scores, alert.change.evidence.level) = (vec![0.25, 0.75], 0.75);
        let ended = |leg| {
            let Message::Summary { mut summary, .. } = summary(leg) else { unreachable!("it is one") };
            (summary.mean, summary.scored_windows, summary.speech) =
                (Some(vec![0.25, 0.75]), 7, Duration::from_secs(3));
            let share = Share { share: 0.75, peak: 0.75, peak_at: Duration::ZERO, trend: None };
            summary.shares.push(share);
            Message::Summary { summary, dropped_events: 0 }
        };
        for message in [heard(0), heard(1), Message::Alert { alert, changed_at }, event(0, 2), ended(0), ended(1)] {
            outbox.push(message, now);
        }
        outbox.forget(Some(0));
        let told: Vec<String> = std::iter::from_fn(|| outbox.pop(now)).map(|message| format!("{message:?}")).collect();
        assert!(told[0].contains("Err(ConsentWithdrawn)") && told[0].contains("smoothed: None"), "{}", told[0]);
        assert!(told[1].contains("0.75"), "another leg's: {}", told[1]);
        assert!(told[2].contains("Firing") && !told[2].contains("0.75"), "{}", told[2]);
        assert!(told[3].contains("Err(Silence)"), "{}", told[3]);
        let nothing = ["ConsentWithdrawn", "mean: None", "shares: []", "scored_windows: 0", "speech: 0ns"];
        assert!(nothing.iter().all(|nothing| told[4].contains(nothing)), "{}", told[4]);
        assert!(told[5].contains("0.75") && told[5].contains("Completed"), "another leg's: {}", told[5]);
    }

    #[test]
    fn what_waits_is_counted_and_bounded() {
        let judgement = || decision::Judgement { probabilities: vec![0.125; 8], label: Some(1), confidence: 0.125 };
        let now = Instant::now();
        let mut outbox = Outbox::new(1, 240, Counter::noop());
        let before = outbox.bytes();
        for sequence in 0..1_000 {
            let Message::Event(event) = event(0, sequence) else { unreachable!("it is one") };
            outbox.push(Message::Event(Event { outcome: Ok(judgement()), smoothed: Some(judgement()), ..event }), now);
        }
        let full = outbox.bytes();
        assert_eq!(outbox.event_bytes, 240 * 2 * 8 * 4);
        assert!(before < full && full <= MOST_BYTES, "{full} bytes");
        outbox.forget(None);
        assert_eq!(outbox.event_bytes, 0);
        outbox.push(event(0, 1_000), now);
        told(&mut outbox);
        assert_eq!((outbox.event_bytes, outbox.events), (0, 0));
    }

    #[test]
    fn a_client_that_reads_in_time_loses_nothing() {
        let now = Instant::now();
        let mut outbox = Outbox::new(1, 1, Counter::noop());
        for sequence in 1..=4 {
            outbox.push(event(0, sequence), now);
            assert_eq!(told(&mut outbox), [format!("e{sequence}")]);
        }
    }

    #[test]
    fn waiting_counts_from_the_last_message_taken() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut outbox = Outbox::new(1, 8, Counter::noop());
        assert_eq!(outbox.waiting_since(), None);
        outbox.push(event(0, 1), later(1));
        outbox.push(event(0, 2), later(2));
        assert_eq!(outbox.waiting_since(), Some(later(1)));
        outbox.pop(later(5));
        assert_eq!(outbox.waiting_since(), Some(later(5)));
        outbox.pop(later(6));
        assert_eq!(outbox.waiting_since(), None);
    }
}
