//! Any rule, and anything that may happen to it.

use super::*;

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Window { angry: f32, spoken_seconds: f64 },
    Silence { seconds: f64 },
    Acknowledge,
    Snooze { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let angry = prop_oneof![0.0_f32..=0.25, 0.3_f32..=0.5, 0.6_f32..=1.0];
    prop_oneof![
        20 => (angry, prop_oneof![Just(0.5), 0.0_f64..0.6])
            .prop_map(|(angry, spoken_seconds)| Step::Window { angry, spoken_seconds }),
        2 => (0.5_f64..20.0).prop_map(|seconds| Step::Silence { seconds }),
        1 => Just(Step::Acknowledge),
        1 => (1_u64..60).prop_map(|seconds| Step::Snooze { seconds }),
    ]
}

/// Parts of a stream that last, so that rules have something to fire at.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = (step(), 1_usize..40).prop_map(|(step, times)| match step {
        Step::Window { .. } => vec![step; times],
        once => vec![once],
    });
    prop::collection::vec(part, 1..40).prop_map(|parts| parts.concat())
}

pub(super) fn parsed(values: &str) -> Arc<Rule> {
    let text = format!("[[rule]]\nname = 'anger'\nemotions = ['angry']\n{values}");
    Arc::clone(&Rules::parse(&text).unwrap().rules[0])
}

pub(super) fn any_rule() -> impl Strategy<Value = Arc<Rule>> {
    let seconds = || prop_oneof![Just(0.0), 0.0_f64..30.0];
    // Times the half-life of the level.
    let usual = prop::option::of(5.0_f64..50.0);
    let excess = prop::option::of((0.1_f64..3.0, 5.0_f64..60.0));
    // Of the most that it may be.
    let leave = prop_oneof![Just(0.6), 0.3_f64..1.0, Just(1.0)];
    (0.1_f64..8.0, usual, (0.0_f64..4.0, excess, leave), 1_u32..6, seconds(), seconds(), seconds(), seconds()).prop_map(
        |(half_life, usual, (speech, excess, leave), windows, keep, cool, critical, grace)| {
            // So slow that certainty adds up to enough before it fades or is usual.
            let enough = excess.map_or(0.0, |(enough, _)| enough);
            let usual = usual.map(|ratio| (ratio * half_life).max(20.0 * enough));
            let usual = usual.map(|usual| format!("usual_half_life_seconds = {usual:?}\n"));
            let excess = excess.map(|(enough, half_life)| {
                let half_life = half_life.max(10.0 * enough);
                format!("min_excess_seconds = {enough:?}\nexcess_half_life_seconds = {half_life:?}\n")
            });
            let (usual, excess) = (usual.unwrap_or_default(), excess.unwrap_or_default());
            let values = format!(
                "enter = 0.5\n{usual}{excess}\
                 half_life_seconds = {half_life:?}\nmin_speech_seconds = {speech:?}\nmin_windows = {windows}\n\
                 keep_firing_seconds = {keep:?}\ncool_down_seconds = {cool:?}\ncritical_after_seconds = {critical:?}\n\
                 grace_seconds = {grace:?}"
            );
            let leave = leave * parsed(&values).most_leave();
            parsed(&format!("{values}\nleave = {leave:?}"))
        },
    )
}
