//! One call's responses: what they are checked for, and what is counted of them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use undertone::server::{
    REASON_DOMAIN, STREAM_AGE,
    proto::{
        Acknowledgement, AnalyzeResponse, EmotionEvent, NotScoredReason, Summary, analyze_response::Message,
        emotion_event::Outcome, emotion_service_client::EmotionServiceClient,
    },
};

use super::{
    load::Plan,
    source::{Sent, Source},
    tally::Tally,
};
use crate::cli::client::code_name;

/// A call from its client's side.
struct Call {
    plan: Arc<Plan>,
    number: usize,
    sent: Arc<Sent>,
    tally: Tally,
    acknowledged: bool,
    /// Samples of a stride, once acknowledged.
    stride_samples: f64,
    last_sequence: i64,
    last_depends_on: i64,
    dropped: i64,
    shed: u64,
    summary: Option<Summary>,
    /// Says to the source from which chunk it goes on, on a stream that takes another's place.
    go_on: Option<oneshot::Sender<u64>>,
}

/// Plays call number `number` to its end and counts what came.
pub(super) async fn play(
    plan: Arc<Plan>,
    mut client: EmotionServiceClient<Channel>,
    number: usize,
    sent: Arc<Sent>,
    chunks: u64,
) -> Tally {
    let deadline = plan.deadline;
    let mut call = Call {
        plan,
        number,
        sent,
        tally: Tally::default(),
        acknowledged: false,
        stride_samples: 0.0,
        last_sequence: 0,
        last_depends_on: 0,
        dropped: 0,
        shed: 0,
        summary: None,
        go_on: None,
    };
    let opened = Instant::now();
    let answered = timeout_at(deadline, async {
        loop {
            match call.converse(&mut client, chunks).await {
                Err(status) if call.acknowledged && is_aged(&status) => call.tally.resumed += 1,
                ended => return ended,
            }
        }
    })
    .await;
    match answered {
        Ok(Ok(())) => call.check(chunks),
        Ok(Err(status)) => call.refused_or_broken(&status, opened.elapsed()),
        Err(_) => call.problem("was not answered to its end in time"),
    }
    if call.acknowledged {
        call.tally.admitted = 1;
        call.tally.sheds.push(call.shed);
    }
    call.tally
}

impl Call {
    /// One stream of the call, to its end.
    async fn converse(&mut self, client: &mut EmotionServiceClient<Channel>, chunks: u64) -> Result<(), Status> {
        let (go_on, from) = oneshot::channel();
        let config = self.plan.config(self.number);
        let source = Source::new(Arc::clone(&self.plan), self.number, config, Arc::clone(&self.sent), chunks);
        let source = if self.acknowledged {
            self.go_on = Some(go_on);
            source.waiting_for(from)
        } else {
            source
        };
        let mut responses = client.analyze(source).await?.into_inner();
        while let Some(response) = responses.message().await? {
            self.take(&response);
        }
        Ok(())
    }

    fn take(&mut self, response: &AnalyzeResponse) {
        let now = Instant::now();
        match &response.message {
            Some(Message::Acknowledgement(acknowledgement)) => self.acknowledge(acknowledgement),
            Some(Message::Event(event)) => self.event(event, now),
            Some(Message::Summary(summary)) => self.summary = Some(summary.clone()),
            Some(Message::Status(_) | Message::Alert(_)) | None => {}
        }
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) {
        match (self.go_on.take(), &acknowledgement.resumption) {
            (Some(go_on), Some(kept)) => {
                let chunk = kept.sequence.and_then(|sequence| u64::try_from(sequence).ok()).unwrap_or(0);
                // A source that is gone has nothing more to send.
                let _ = go_on.send(chunk);
            }
            (Some(_), None) => self.problem("was to go on and began anew"),
            (None, _) if self.acknowledged => self.problem("was acknowledged twice"),
            (None, _) => {}
        }
        self.acknowledged = true;
        let stride = acknowledgement.stride.and_then(|stride| Duration::try_from(stride).ok()).unwrap_or_default();
        self.stride_samples = stride.as_secs_f64() * f64::from(self.plan.material.rate_hz());
    }

    fn event(&mut self, event: &EmotionEvent, now: Instant) {
        let follows = event.sequence == self.last_sequence + 1;
        if !follows || event.depends_on_samples < self.last_depends_on {
            let (number, last) = (self.number, self.last_sequence);
            self.tally.disorder(format!(
                "call {number}: event {} up to sample {} came after event {last} up to sample {}",
                event.sequence, event.depends_on_samples, self.last_depends_on
            ));
        }
        self.dropped += (event.sequence - self.last_sequence - 1).max(0);
        self.last_sequence = event.sequence;
        self.last_depends_on = event.depends_on_samples;
        match event.outcome {
            Some(Outcome::Emotion(_)) => {
                self.tally.scored += 1;
                self.measure(event.depends_on_samples, now);
            }
            Some(Outcome::NotScored(reason)) if reason == NotScoredReason::Overloaded as i32 => self.shed += 1,
            Some(Outcome::NotScored(reason)) if reason == NotScoredReason::Failed as i32 => {
                self.problem("has a window on which inference failed");
            }
            Some(Outcome::NotScored(_)) => self.tally.not_scored += 1,
            None => self.problem("has an event without an outcome"),
        }
    }

    fn measure(&mut self, depends_on_samples: i64, now: Instant) {
        let chunk = self.plan.material.chunk_of(depends_on_samples.try_into().unwrap_or(0));
        let Some(sent) = self.sent.at(chunk) else {
            return self.problem("has an event that depends on what was not sent yet");
        };
        if self.plan.measured.contains(&now) {
            self.tally.latencies.push(now.saturating_duration_since(sent));
            self.plan.arrivals.note(now - self.plan.measured.start);
        }
    }

    /// Whether a call that ended well was answered as a whole.
    #[expect(clippy::cast_possible_truncation, reason = "strides of a call are few")]
    fn check(&mut self, chunks: u64) {
        let Some(summary) = self.summary.take() else { return self.problem("ended without a summary") };
        let samples = self.plan.material.samples(chunks);
        if u64::try_from(summary.received_samples) != Ok(samples) {
            self.problem(&format!(
                "sent {samples} samples, of which {} are said to have come",
                summary.received_samples
            ));
        }
        if summary.dropped_events != self.dropped || u64::try_from(summary.shed_windows) != Ok(self.shed) {
            self.problem(&format!(
                "missed {} events and {} windows, where its summary tells {} and {}",
                self.dropped, self.shed, summary.dropped_events, summary.shed_windows
            ));
        }
        // Strides lie anywhere in the call, so one may be cut off at its end.
        let least = (samples as f64 / self.stride_samples) as i64 - 1;
        if self.last_sequence < least {
            self.problem(&format!("has {} events, expected at least {least}", self.last_sequence));
        }
    }

    fn refused_or_broken(&mut self, status: &Status, after: Duration) {
        if status.code() == Code::ResourceExhausted && !self.acknowledged {
            self.tally.refused += 1;
            self.tally.refusals.push(after);
        } else {
            self.problem(&format!("broke: {} ({})", status.message(), code_name(status.code())));
        }
    }

    fn problem(&mut self, what: &str) {
        self.tally.error(format!("call {} {what}", self.number));
    }
}

/// Whether the call goes on by another stream.
fn is_aged(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == REASON_DOMAIN && info.reason == STREAM_AGE)
}
