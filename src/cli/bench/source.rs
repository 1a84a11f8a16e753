//! What one call sends: its configuration, then chunk after chunk when it is due; and when each was sent.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};
use undertone::server::proto::{AnalyzeConfig, AnalyzeRequest, AudioChunk, analyze_request::Message};

use super::{load::Plan, material::Material};

/// For how long it is remembered when a chunk was sent. An event that comes later still counts from when its chunk was due.
const REMEMBERED: Duration = Duration::from_secs(30);

/// When a call's chunks were sent. One side notes, the other asks.
pub(super) struct Sent {
    begin: Instant,
    spacing: Duration,
    /// Microseconds after `begin`, a place a chunk, used again and again.
    times: Box<[AtomicU32]>,
    chunks: AtomicU64,
}

/// A call's side of the stream: ends, and so half-closes, when the call is over.
pub(super) struct Source {
    plan: Arc<Plan>,
    call: usize,
    sent: Arc<Sent>,
    config: Option<AnalyzeConfig>,
    next: u64,
    chunks: u64,
    due: Pin<Box<Sleep>>,
    /// Tells from which chunk to go on; nothing is sent before.
    from: Option<oneshot::Receiver<u64>>,
}

impl Sent {
    /// Nothing sent yet, of a call that begins then and sends a chunk every `spacing`.
    pub(super) fn new(begin: Instant, spacing: Duration) -> Self {
        let places = (REMEMBERED.as_micros() / spacing.as_micros().max(1)).clamp(4, 1 << 14);
        let places = usize::try_from(places).expect("clamped");
        Self { begin, spacing, times: (0..places).map(|_| AtomicU32::new(0)).collect(), chunks: AtomicU64::new(0) }
    }

    /// Chunks sent so far.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks.load(Ordering::Acquire)
    }

    /// When a chunk is to be sent: when its last sample would have been spoken.
    fn due(&self, chunk: u64) -> Instant {
        self.begin + Duration::from_secs_f64(self.spacing.as_secs_f64() * (chunk + 1) as f64)
    }

    fn note(&self, chunk: u64, now: Instant) {
        let micros = u32::try_from(now.saturating_duration_since(self.begin).as_micros()).unwrap_or(u32::MAX);
        self.place(chunk).store(micros, Ordering::Relaxed);
        // What is sent again has been counted.
        self.chunks.fetch_max(chunk + 1, Ordering::AcqRel);
    }

    /// When a chunk was sent; `None` if it was not yet.
    pub(super) fn at(&self, chunk: u64) -> Option<Instant> {
        let sent = self.chunks();
        if chunk >= sent {
            return None;
        }
        if sent - chunk > self.times.len() as u64 {
            return Some(self.due(chunk));
        }
        Some(self.begin + Duration::from_micros(self.place(chunk).load(Ordering::Relaxed).into()))
    }

    fn place(&self, chunk: u64) -> &AtomicU32 {
        let places = self.times.len() as u64;
        &self.times[usize::try_from(chunk % places).expect("less than the places")]
    }
}

impl Source {
    /// What call number `call` sends, until `chunks` are sent.
    pub(super) fn new(plan: Arc<Plan>, call: usize, config: AnalyzeConfig, sent: Arc<Sent>, chunks: u64) -> Self {
        let due = Box::pin(sleep_until(sent.due(0)));
        Self { plan, call, sent, config: Some(config), next: 0, chunks, due, from: None }
    }

    /// Goes on from a chunk that is yet to be told.
    pub(super) fn waiting_for(self, from: oneshot::Receiver<u64>) -> Self {
        Self { from: Some(from), ..self }
    }

    fn material(&self) -> &Material {
        &self.plan.material
    }
}

impl Stream for Source {
    type Item = AnalyzeRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AnalyzeRequest>> {
        let this = &mut *self;
        if let Some(config) = this.config.take() {
            return Poll::Ready(Some(AnalyzeRequest { message: Some(Message::Config(config)) }));
        }
        if let Some(from) = &mut this.from {
            // Whoever was to tell it has gone: the stream has broken, and nobody reads on.
            let Ok(next) = ready!(from.poll_unpin(context)) else { return Poll::Ready(None) };
            this.from = None;
            this.next = next.min(this.chunks);
            let due = this.sent.due(this.next);
            this.due.as_mut().reset(due);
        }
        if this.next == this.chunks {
            return Poll::Ready(None);
        }
        ready!(this.due.poll_unpin(context));
        let (index, now) = (this.next, Instant::now());
        let chunk = AudioChunk {
            data: this.material().chunk(this.call, index),
            sequence: Some(index.try_into().unwrap_or(i64::MAX)),
            media_offset_samples: None,
        };
        this.sent.note(index, now);
        this.plan.late.note(now.saturating_duration_since(this.sent.due(index)));
        this.next += 1;
        let next_due = this.sent.due(this.next);
        this.due.as_mut().reset(next_due);
        Poll::Ready(Some(AnalyzeRequest { message: Some(Message::Audio(chunk)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_long_ago_counts_from_when_it_was_due() {
        let begin = Instant::now();
        let sent = Sent::new(begin, Duration::from_secs(10));
        assert_eq!(sent.at(0), None);
        for chunk in 0..6 {
            sent.note(chunk, begin + Duration::from_secs(chunk * 10 + 11));
        }
        assert_eq!(sent.chunks(), 6);
        assert_eq!(sent.at(5), Some(begin + Duration::from_secs(61)));
        assert_eq!(sent.at(2), Some(begin + Duration::from_secs(31)));
        assert_eq!(sent.at(1), Some(begin + Duration::from_secs(20)), "its place was used again");
        assert_eq!(sent.at(6), None);
    }
}
