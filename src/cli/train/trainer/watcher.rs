//! What is told while it trains.

use std::{
    io::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use undertone::train::{Epoch, Event};

use super::learning::Learning;
use crate::cli::print;

/// Shows what happens: bars on a terminal, lines for results.
pub(super) struct Watcher {
    bar: ProgressBar,
    json: bool,
    learning: Mutex<Learning>,
    /// Standard output may go away in the midst of training; the model is worth finishing all the same.
    failed: Mutex<Option<anyhow::Error>>,
}

impl Watcher {
    /// Nothing yet.
    pub(super) fn new(json: bool) -> anyhow::Result<Self> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta}  {msg}")?);
        Ok(Self { bar, json, learning: Mutex::new(Learning::new(Instant::now())), failed: Mutex::new(None) })
    }

    /// Something happened.
    pub(super) fn tell(&self, event: &Event<'_>) {
        match event {
            Event::Reading(clips) => self.begin("reading", *clips),
            Event::Scoring(clips) => self.begin("scoring", *clips),
            Event::Read | Event::Scored => self.step(),
            Event::Epoch { epoch, epochs, batches } => {
                let now = Instant::now();
                let mut learning = self.learning();
                learning.begin(*epoch, *epochs, *batches, now);
                self.begin(&learning.place(), *batches);
                self.bar.set_message(learning.time_left(now));
            }
            Event::Batch { loss } => {
                let mut learning = self.learning();
                learning.step(*loss);
                self.bar.set_prefix(learning.place());
                self.bar.set_message(learning.time_left(Instant::now()));
                self.step();
            }
            Event::Note(text) => self.bar.suspend(|| note(text)),
            Event::EpochDone(epoch) => {
                self.learning().end(Instant::now());
                self.print(if self.json { serde_json::to_string(epoch).map_err(Into::into) } else { Ok(line(epoch)) });
            }
        }
    }

    fn learning(&self) -> MutexGuard<'_, Learning> {
        self.learning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A result, above the bar.
    pub(super) fn print(&self, line: anyhow::Result<String>) {
        if let Err(error) = self.bar.suspend(|| line.and_then(print)) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// One step of it is done.
    pub(super) fn step(&self) {
        self.bar.inc(1);
    }

    /// Something of so many steps begins.
    pub(super) fn begin(&self, message: &str, length: usize) {
        self.bar.set_prefix(message.to_owned());
        self.bar.set_message("");
        self.bar.set_length(length as u64);
        self.bar.set_position(0);
        self.bar.reset_eta();
    }

    /// It is done.
    ///
    /// # Errors
    /// What kept the first line from being printed that could not be.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// A line on standard error that is no error.
fn note(text: &str) {
    // Standard error may be gone; that is no reason to stop training.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn line(epoch: &Epoch) -> String {
    format!(
        "epoch {:2}/{}  loss {:.4}  accuracy {:.1} %  validation loss {:.4}  accuracy {:.1} %  UAR {:.1} %  rate {:.1e}  {:.1} s{}",
        epoch.epoch,
        epoch.epochs,
        epoch.loss,
        epoch.accuracy * 100.0,
        epoch.valid_loss,
        epoch.valid_accuracy * 100.0,
        epoch.valid_uar * 100.0,
        epoch.learning_rate,
        epoch.seconds,
        if epoch.best { "  best" } else { "" },
    )
}
