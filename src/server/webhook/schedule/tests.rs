use std::collections::BTreeMap;

use reqwest::StatusCode;

use super::*;
use crate::{
    decision::alert::{Reason, Severity, State},
    journal::{Alert, Draft, Evidence, Record},
    policy::Role,
};

const SECOND: Duration = Duration::from_secs(1);

/// A schedule, and a clock for it.
struct Scene {
    schedule: Schedule,
    now: Instant,
    began: SystemTime,
    elapsed: Duration,
}

impl Scene {
    fn new(max_in_flight: usize) -> Self {
        let options = Webhook {
            first_wait: SECOND,
            longest_wait: 8 * SECOND,
            give_up_after: 100 * SECOND,
            max_in_flight,
            ..Webhook::default()
        };
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Self { schedule: Schedule::new(&options, 0), now: Instant::now(), began, elapsed: Duration::ZERO }
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.elapsed += duration;
    }

    fn take(&mut self, sequence: u64, alert_id: &str) {
        let entry = entry(sequence, alert_id, self.began + self.elapsed);
        self.schedule.take(alert_id, Arc::new(entry), self.now);
    }

    /// The sequences whose turn it is now.
    fn due(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.schedule.next(self.now)).map(|due| due.entry.sequence).collect()
    }

    fn settle(&mut self, sequence: u64, answer: &Answer) -> Settled {
        self.schedule.settle(sequence, answer, 0.0, (self.now, self.began + self.elapsed))
    }

    /// Until the schedule wants to be asked again.
    fn wait(&mut self) -> Duration {
        let wait = self.schedule.wake().expect("something is to come").saturating_duration_since(self.now);
        self.pass(wait);
        wait
    }
}

fn entry(sequence: u64, alert_id: &str, at: SystemTime) -> Entry {
    let evidence = Evidence {
        start_samples: 0,
        end_samples: 8000,
        windows: 1,
        speech_seconds: 1.0,
        speech_ratio: 1.0,
        level: 0.5,
        usual: 0.0,
        peak: 0.5,
        peak_end_samples: 8000,
        scores: Vec::new(),
        snr_db: None,
        model: "m".to_owned(),
        sha256: String::new(),
    };
    let alert = Alert {
        alert_id: alert_id.to_owned(),
        revision: 1,
        rule: "r".to_owned(),
        rule_version: 1,
        role: Role::Customer,
        tags: BTreeMap::new(),
        state: State::Firing,
        severity: Severity::Warning,
        reason: Reason::Rose,
        sample_rate_hz: 8000,
        fired_samples: 8000,
        changed_samples: 8000,
        actor: None,
        actor_reason: None,
        snoozed_until: None,
        evidence,
    };
    Entry { sequence, node: "a".to_owned(), draft: Draft::new(at, Record::Alert(Box::new(alert))) }
}

fn failed() -> Answer {
    Answer::Failed { problem: "refused".to_owned(), retry_after: None }
}

fn asked(retry_after: Duration) -> Answer {
    Answer::Failed { problem: "busy".to_owned(), retry_after: Some(retry_after) }
}

#[test]
fn changes_of_one_alert_follow_each_other_and_others_do_not_wait() {
    let mut scene = Scene::new(3);
    [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "d")].into_iter().for_each(|(at, alert)| scene.take(at, alert));
    assert_eq!(scene.due(), [1, 3, 4]);
    assert_eq!(scene.schedule.wake(), None);
    assert_eq!(scene.settle(3, &Answer::Delivered), Settled::Done);
    assert_eq!(scene.due(), [5]);
    scene.settle(1, &Answer::Delivered);
    assert_eq!(scene.due(), [2]);
    assert_eq!(scene.schedule.mark(), 1);
    [4, 5, 2].into_iter().for_each(|at| assert_eq!(scene.settle(at, &Answer::Delivered), Settled::Done));
    assert_eq!(scene.schedule.mark(), 5);
    scene.schedule.pass(9);
    assert_eq!((scene.schedule.mark(), scene.due().len()), (9, 0));
    scene.take(7, "late");
    assert_eq!(scene.due(), [0; 0], "it was looked at before");
}

#[test]
fn a_receiver_that_is_gone_is_asked_ever_more_rarely_and_one_at_a_time() {
    let mut scene = Scene::new(4);
    (1..=6).for_each(|at| scene.take(at, &at.to_string()));
    assert_eq!(scene.due(), [1, 2, 3, 4]);
    // Posts that were under way together are one failure.
    (1..=4).for_each(|at| assert_eq!(scene.settle(at, &failed()), Settled::Again));
    let mut waits = Vec::new();
    for expected in [5, 6] {
        waits.push(scene.wait());
        assert_eq!(scene.due(), [expected], "what was not tried comes first, alone");
        scene.settle(expected, &failed());
    }
    for _ in 0..3 {
        waits.push(scene.wait());
        let due = scene.due();
        assert_eq!(due.len(), 1);
        scene.settle(due[0], &failed());
    }
    assert_eq!(waits, [1, 2, 4, 8, 8].map(|seconds| seconds * SECOND));
    // One that is taken, and all go again.
    scene.wait();
    let due = scene.due();
    scene.settle(due[0], &Answer::Delivered);
    assert!(!scene.schedule.is_ill());
    scene.pass(8 * SECOND);
    assert_eq!(scene.due().len(), 4);
}

#[test]
fn one_change_that_cannot_be_taken_holds_up_no_other() {
    let mut scene = Scene::new(2);
    scene.take(1, "bad");
    let mut delivered = 0;
    for at in 2..40 {
        scene.take(at, &at.to_string());
        for sequence in scene.due() {
            let answer = if sequence == 1 { failed() } else { Answer::Delivered };
            scene.settle(sequence, &answer);
            delivered += usize::from(sequence != 1);
        }
        scene.pass(SECOND);
    }
    assert!(delivered >= 36, "{delivered}");
    assert_eq!(scene.schedule.mark(), 0);
}

#[test]
fn a_receivers_wish_to_be_left_alone_is_honoured_within_reason() {
    let mut scene = Scene::new(4);
    (1..=2).for_each(|at| scene.take(at, &at.to_string()));
    assert_eq!(scene.due(), [1, 2]);
    scene.settle(1, &asked(30 * SECOND));
    scene.settle(2, &asked(40 * SECOND));
    assert_eq!(scene.wait(), 40 * SECOND);
    let due = scene.due();
    scene.settle(due[0], &asked(Duration::from_secs(u64::MAX)));
    assert_eq!(scene.wait(), 100 * SECOND);
}

#[test]
fn what_is_too_old_is_given_up_once_it_was_tried() {
    let mut scene = Scene::new(1);
    scene.take(1, "a");
    scene.pass(500 * SECOND);
    assert_eq!(scene.due(), [1], "a server that was away for long tries it all the same");
    assert_eq!(scene.settle(1, &failed()), Settled::GivenUp);
    assert_eq!((scene.schedule.mark(), scene.schedule.oldest()), (1, None));
}

#[test]
fn what_is_refused_or_purged_is_done_with() {
    let mut scene = Scene::new(1);
    (1..=3).for_each(|at| scene.take(at, &at.to_string()));
    for (at, answer) in [(1, Answer::Refused(StatusCode::GONE)), (2, Answer::Purged), (3, Answer::Delivered)] {
        assert_eq!(scene.due(), [at]);
        assert_eq!(scene.settle(at, &answer), Settled::Done);
    }
    assert_eq!(scene.schedule.mark(), 3);
}

#[test]
fn only_so_many_are_held() {
    let mut scene = Scene::new(1);
    for at in 1..=HELD as u64 {
        assert!(scene.schedule.has_room());
        scene.take(at, &at.to_string());
    }
    assert!(!scene.schedule.has_room());
    scene.due();
    scene.settle(1, &Answer::Delivered);
    assert!(scene.schedule.has_room());
}

#[test]
fn jitter_shortens_a_wait_by_half_at_most() {
    let mut scene = Scene::new(1);
    scene.take(1, "a");
    scene.due();
    let times = (scene.now, scene.began);
    scene.schedule.settle(1, &failed(), 1.0, times);
    assert_eq!(scene.wait(), SECOND / 2);
}
