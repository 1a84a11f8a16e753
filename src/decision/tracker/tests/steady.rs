//! What stays as it is, and what is forgotten while it rises.

use super::*;

/// Hears the same for so many strides.
fn steady(rule: Rule, angry: f32, stride: Duration, strides: u32) -> Vec<Reason> {
    let mut stream = Stream::new(Tracker::new(Arc::new(rule), vec![0], 1));
    for _ in 0..strides {
        stream.beat(stride, Some((angry, stride.as_secs_f64())));
    }
    stream.told().into_iter().map(|(reason, _)| reason).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the stride. What is counted from the usual level falls although what is heard stays, so the rule counts from 0.
    #[test]
    fn a_level_that_stays_fires_once_and_does_not_calm(rule in any_rule(), share in 0.8_f64..1.5, stride in 0.25_f64..5.0) {
        let angry = single(share * rule.most_leave()).min(1.0);
        let rule = Rule { usual_half_life_seconds: None, ..Rule::clone(&rule) };
        let faded = 1.0 - (-stride / rule.excess_half_life_seconds()).exp2();
        let excess = f64::from(angry) - rule.enter;
        let told = steady(rule.clone(), angry, Duration::from_secs_f64(stride), 2000);
        let of_enough = match rule.min_excess_seconds {
            Some(enough) => excess * stride / faded / enough,
            None => 1.0 + excess,
        };
        if of_enough > 1.01 {
            prop_assert_eq!(told.first(), Some(&Reason::Rose));
        } else if of_enough < 0.99 {
            prop_assert!(told.is_empty());
        }
        prop_assert!(!told.contains(&Reason::Calmed), "{:?}", told);
        prop_assert!(told.iter().filter(|reason| **reason == Reason::Rose).count() <= 1, "{:?}", told);
    }
}

/// Why a file of rules may not say it.
#[test]
fn a_level_that_stays_would_fire_for_ever_below_a_leave_above_what_fires() {
    let adds_up = parsed("enter = 0.2\nmin_excess_seconds = 2.0\ncritical_after_seconds = 600.0");
    let flapping = Rule { leave: Some(0.9), ..Rule::clone(&adds_up) };
    let expected = [Reason::Rose, Reason::Calmed].repeat(2);
    assert_eq!(steady(flapping, 0.5, STRIDE, 320), expected);
    assert_eq!(steady(Rule::clone(&adds_up), 0.5, STRIDE, 320), [Reason::Rose]);
}

#[test]
fn what_is_pending_is_forgotten_with_what_was_heard() {
    for values in ["min_speech_seconds = 2.0", "min_excess_seconds = 1.0"] {
        let mut stream = Stream::new(prompt(values));
        stream.hear(0.9, 3);
        assert_eq!(stream.tracker.state(), State::Pending, "{values}");
        stream.tracker.purge();
        assert_eq!((stream.tracker.state(), stream.tracker.level()), (State::Inactive, 0.0), "{values}");
        // It begins anew, of three windows at least.
        stream.hear(0.9, 3);
        assert_eq!((stream.told(), stream.tracker.state()), (vec![], State::Pending), "{values}");
    }
}
