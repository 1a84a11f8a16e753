//! What is counted with, and how each handle is made from a recorder.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};

pub(super) const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// One counter for each value of a label.
#[derive(Clone)]
pub struct Counters(Vec<(String, Counter)>);

/// Counts as live while it is held.
pub struct Live(Vec<(Gauge, f64)>);

/// An amount that changes while it is held.
pub struct Amount {
    gauge: Gauge,
    amount: f64,
}

/// Adds durations up and counts whole seconds of them.
pub struct Seconds {
    counter: Counter,
    rest: Duration,
}

/// Where handles come from.
pub(super) struct Registration<'a> {
    pub(super) recorder: &'a dyn Recorder,
    pub(super) model: Option<&'a str>,
}

impl Counters {
    /// Counts one of this value.
    pub fn increment(&self, value: &str) {
        self.add(value, 1);
    }

    /// Counts so many of this value.
    pub fn add(&self, value: &str, count: u64) {
        if let Some((_, counter)) = self.0.iter().find(|(bound, _)| bound == value) {
            counter.increment(count);
        }
    }
}

impl Live {
    pub(super) fn of(parts: Vec<(Gauge, f64)>) -> Self {
        parts.iter().for_each(|(gauge, amount)| gauge.increment(*amount));
        Self(parts)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.iter().for_each(|(gauge, amount)| gauge.decrement(*amount));
    }
}

impl Amount {
    pub(super) fn of(gauge: Gauge) -> Self {
        Self { gauge, amount: 0.0 }
    }

    /// It is so much now.
    pub fn set(&mut self, amount: f64) {
        self.gauge.increment(amount - self.amount);
        self.amount = amount;
    }
}

impl Drop for Amount {
    fn drop(&mut self) {
        self.gauge.decrement(self.amount);
    }
}

impl Seconds {
    pub(super) fn of(counter: Counter) -> Self {
        Self { counter, rest: Duration::ZERO }
    }

    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        self.rest += duration;
        let whole = self.rest.as_secs();
        if whole > 0 {
            self.counter.increment(whole);
            self.rest -= Duration::from_secs(whole);
        }
    }
}

impl Registration<'_> {
    pub(super) fn key(&self, name: &'static str, labels: &[Label]) -> Key {
        let model = self.model.map(|model| Label::new("model", model.to_owned()));
        Key::from_parts(name, model.into_iter().chain(labels.iter().cloned()).collect::<Vec<_>>())
    }

    pub(super) fn labelled_counter(&self, name: &'static str, labels: &[Label]) -> Counter {
        let counter = self.recorder.register_counter(&self.key(name, labels), &METADATA);
        // Seen at 0 from the start, so that a rate over the first one is right.
        counter.increment(0);
        counter
    }

    pub(super) fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.recorder.describe_counter(KeyName::from(name), None, help.into());
        self.labelled_counter(name, &[])
    }

    pub(super) fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &[&str],
    ) -> Counters {
        self.recorder.describe_counter(KeyName::from(name), None, help.into());
        let bind = |value: &&str| {
            let value = (*value).to_owned();
            (value.clone(), self.labelled_counter(name, &[Label::new(label, value)]))
        };
        Counters(values.iter().map(bind).collect())
    }

    pub(super) fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.recorder.describe_gauge(KeyName::from(name), None, help.into());
        let gauge = self.recorder.register_gauge(&self.key(name, &[]), &METADATA);
        gauge.set(0.0);
        gauge
    }

    /// One that others of this key may tell by as well, at this moment too: what it says stays.
    pub(super) fn shared_gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.recorder.describe_gauge(KeyName::from(name), None, help.into());
        let gauge = self.recorder.register_gauge(&self.key(name, &[]), &METADATA);
        gauge.increment(0.0);
        gauge
    }

    pub(super) fn histogram(&self, name: &'static str, help: &'static str) -> Histogram {
        self.recorder.describe_histogram(KeyName::from(name), None, help.into());
        self.recorder.register_histogram(&self.key(name, &[]), &METADATA)
    }

    pub(super) fn histograms<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [[Label; 2]; N],
    ) -> [Histogram; N] {
        self.recorder.describe_histogram(KeyName::from(name), None, help.into());
        labels.map(|labels| self.recorder.register_histogram(&self.key(name, &labels), &METADATA))
    }
}
