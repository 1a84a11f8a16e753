//! Whatever happens to a leg, each alert that fires is resolved once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Files of rules between which a leg is moved: another value, another emotion, one rule more, none.
const FILES: [&str; 5] = [
    "[[rule]]\nname = 'a'\nemotions = ['angry']\nenter = 0.5\nhalf_life_seconds = 0.5\nmin_windows = 1\ngrace_seconds = 0.0\n\
     keep_firing_seconds = 1.0\ncool_down_seconds = 1.0\n",
    "[[rule]]\nname = 'a'\nemotions = ['angry']\nenter = 0.9\nhalf_life_seconds = 2.0\nmin_windows = 1\ngrace_seconds = 0.0\n",
    "[[rule]]\nname = 'a'\nemotions = ['calm']\nenter = 0.5\nmin_windows = 2\ngrace_seconds = 0.0\nkeep_firing_seconds = 0.0\n\
     [[rule]]\nname = 'b'\nemotions = ['angry']\nenter = 0.4\nmin_windows = 1\ngrace_seconds = 0.0\ncool_down_seconds = 0.0\n",
    "[[rule]]\nname = 'a'\nemotions = ['angry']\nenter = 0.5\nroles = ['AGENT']\n",
    "",
];

#[derive(Debug, Clone)]
enum Step {
    Hear { angry: f32, strides: u32 },
    Skip { reason: NotScored, strides: u32 },
    Hold { strides: u32 },
    Rules(usize),
    Acknowledge(u64),
    Snooze { number: u64, seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let reason = prop_oneof![Just(NotScored::Silence), Just(NotScored::Overloaded), Just(NotScored::Music)];
    prop_oneof![
        8 => (prop_oneof![Just(0.05_f32), 0.0_f32..=1.0, Just(0.95_f32)], 1_u32..30)
            .prop_map(|(angry, strides)| Step::Hear { angry, strides }),
        2 => (reason, 1_u32..20).prop_map(|(reason, strides)| Step::Skip { reason, strides }),
        1 => (1_u32..60).prop_map(|strides| Step::Hold { strides }),
        2 => (0..FILES.len()).prop_map(Step::Rules),
        1 => (1_u64..6).prop_map(Step::Acknowledge),
        1 => (1_u64..6, 1_u64..20).prop_map(|(number, seconds)| Step::Snooze { number, seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_alert_that_fires_is_resolved_once(steps in prop::collection::vec(step(), 1..40), withdrawn in any::<bool>()) {
        let begin = Instant::now();
        let stride = Duration::from_millis(500);
        let mut decider = decider(&rules(FILES[0]));
        let (mut end, mut held) = (Duration::from_secs(2), Duration::ZERO);
        let by = Attribution { actor: "lead".into(), reason: "on it".into() };
        for step in steps {
            let observe = |decider: &mut Decider, end: Duration, held: Duration, outcome: Result<&[f32], NotScored>| {
                decider.tick(begin + end);
                decider.observe(&Observation { held, ..observation(end, outcome) });
            };
            match step {
                Step::Hear { angry, strides } => for _ in 0..strides {
                    end += stride;
                    observe(&mut decider, end, held, Ok(&[angry, 1.0 - angry]));
                },
                Step::Skip { reason, strides } => for _ in 0..strides {
                    end += stride;
                    observe(&mut decider, end, held, Err(reason));
                },
                Step::Hold { strides } => (end, held) = (end + strides * stride, held + strides * stride),
                Step::Rules(file) => decider.set_rules(&rules(FILES[file])),
                Step::Acknowledge(number) => {
                    let _ = decider.acknowledge(number, by.clone());
                }
                Step::Snooze { number, seconds } => {
                    let snooze = Snooze { duration: Duration::from_secs(seconds), by: by.clone() };
                    let _ = decider.snooze(number, snooze, begin + end);
                }
            }
        }
        if withdrawn { decider.purge() } else { decider.end(Reason::CallEnded) }
        let mut changes: BTreeMap<u64, Vec<Alert>> = BTreeMap::new();
        while let Some(alert) = decider.poll_alert() {
            changes.entry(alert.number).or_default().push(alert);
        }
        for (number, changes) in &changes {
            prop_assert_eq!((changes[0].state, changes[0].reason), (State::Firing, Reason::Rose), "{}", number);
            let resolved = changes.iter().filter(|alert| alert.state == State::Resolved).count();
            prop_assert_eq!((resolved, changes.last().unwrap().state), (1, State::Resolved), "{}", number);
            prop_assert!(changes.iter().map(|alert| alert.revision).eq(1..=changes.len() as u32), "{:?}", changes);
            prop_assert!(changes.iter().all(|alert| alert.rule.name == changes[0].rule.name));
        }
        prop_assert!(changes.keys().copied().eq(1..=changes.len() as u64));
        prop_assert_eq!(decider.deadline().filter(|_| withdrawn), None, "nothing is left to be told");
    }
}
