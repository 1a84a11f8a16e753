//! Small scenarios of one call.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    audio::{Encoding, codec, file, resample},
    decision::{Calibration, Rules},
    features::{FrontEnd, NotScored, Standardization, WindowOptions, thesis154},
    model::{
        Manifest, Outcome,
        manifest::{Network, Training},
    },
    policy::{Circumstances, Consent, Permit, Policy, Role, Verdict},
};

mod alerts;
mod memory;
mod permission;
mod streams;

const RATE: u32 = 8000;

fn manifest() -> Arc<Manifest> {
    let front_end = FrontEnd::Thesis154(thesis154::Options::default());
    let values = front_end.values();
    Arc::new(Manifest {
        format: 1,
        name: "test".into(),
        version: "1".into(),
        description: String::new(),
        licence: String::new(),
        labels: ["calm", "angry"].map(String::from).to_vec(),
        bandwidths: vec![],
        network: Network {
            file: "model.onnx".into(),
            sha256: String::new(),
            opset: 17,
            parameters: 0,
            input: "input".into(),
            output: "logits".into(),
        },
        front_end,
        window: WindowOptions {
            frames: 300,
            grow_frames: None,
            min_seconds: 1.0,
            min_speech_ratio: 0.5,
            clear_after_seconds: 2.0,
        },
        calibration: Calibration { temperature: 1.0, uncertain_below: 0.6 },
        training: Training {
            command: String::new(),
            recipe: String::new(),
            data: String::new(),
            data_sha256: String::new(),
            train_actors: vec![],
            valid_actors: vec![],
            seed: 0,
            epochs: 0,
            teachers: vec![],
            votes: None,
            gpu: None,
        },
        metrics: BTreeMap::new(),
        standardization: Standardization { mean: vec![0.0; values], deviation: vec![1.0; values] },
    })
}

fn permit() -> Permit {
    permit_for(Role::Customer, &Policy::default())
}

fn permit_for(role: Role, policy: &Policy) -> Permit {
    match policy.judge(&Circumstances { role, notice_given: true, consent: Consent::Unknown }) {
        Verdict::Analyse(permit) => permit,
        verdict => panic!("it may be analysed: {verdict:?}"),
    }
}

fn leg(permit: Result<Permit, NotScored>) -> LegOptions {
    LegOptions { leg_id: "leg".into(), permit }
}

fn options(encoding: Encoding, legs: Vec<LegOptions>) -> Options {
    Options {
        session_id: "session".into(),
        tags: BTreeMap::new(),
        rules: Arc::new(Rules::none()),
        encoding,
        sample_rate_hz: RATE,
        legs,
        model: manifest(),
        stride: Duration::from_millis(500),
        idle_timeout: Duration::from_secs(30),
        hold_timeout: Duration::from_secs(600),
        status_interval: Duration::from_secs(10),
        close_timeout: Duration::from_secs(5),
    }
}

fn customer(now: Instant) -> Call {
    Call::new(options(Encoding::Linear16, vec![leg(Ok(permit()))]), now).unwrap()
}

/// What an actor says, over and over, without the silence around it.
fn speech(seconds: f32) -> Vec<f32> {
    let clip = include_bytes!("../../tests/data/crema-d/1015_IWW_ANG_XX.flac");
    let clip = file::decode("1015_IWW_ANG_XX.flac", clip).unwrap();
    let samples = resample::resample(&clip.into_mono(), 16_000, RATE).unwrap();
    let loud = |sample: &f32| sample.abs() > 0.02;
    let (from, to) = (samples.iter().position(loud).unwrap(), samples.iter().rposition(loud).unwrap());
    (0_u32..)
        .map_while(|n| (n as f32 + 0.5 < seconds * RATE as f32).then(|| samples[from + n as usize % (to - from)]))
        .collect()
}

fn bytes(samples: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(Encoding::Linear16, samples, &mut out);
    out
}

fn plain(data: &[u8]) -> Chunk<'_> {
    Chunk { data, sequence: None, media_offset_samples: None }
}

fn drain(call: &mut Call) -> Vec<Output> {
    std::iter::from_fn(|| call.poll()).collect()
}

/// Everything that comes out when each window is answered at once with `logits`.
fn answered(call: &mut Call, logits: &[f32], now: Instant) -> Vec<Output> {
    let mut all = Vec::new();
    loop {
        let outputs = drain(call);
        if outputs.is_empty() {
            return all;
        }
        for output in outputs {
            match output {
                Output::Infer { id, .. } => call.apply(id, Outcome::Logits(logits.to_vec().into()), now),
                other => all.push(other),
            }
        }
    }
}

fn events(outputs: &[Output]) -> Vec<&Event> {
    outputs.iter().filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None }).collect()
}

fn summary(outputs: &[Output]) -> &Summary {
    outputs
        .iter()
        .find_map(|output| if let Output::Summary(summary) = output { Some(summary) } else { None })
        .expect("a summary")
}

fn windows(outputs: &[Output]) -> Vec<WindowId> {
    outputs.iter().filter_map(|output| if let Output::Infer { id, .. } = output { Some(*id) } else { None }).collect()
}

#[test]
fn speech_is_scored_within_a_second_and_a_half() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(1.6))), now);
    let outputs = answered(&mut call, &[0.0, 3.0], now);
    let first = events(&outputs).into_iter().find(|event| event.outcome.is_ok()).expect("an event").clone();
    assert!(first.depends_on_samples <= u64::from(RATE) * 3 / 2, "{first:?}");
    let judgement = first.outcome.unwrap();
    assert_eq!(judgement.label, Some(1));
    assert!(judgement.confidence > 0.9);
}

#[test]
fn events_leave_in_media_order_however_windows_come_back() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(4.0))), now);
    let ids = windows(&drain(&mut call));
    assert!(ids.len() >= 4);
    for id in ids.iter().rev() {
        call.apply(*id, Outcome::Logits(vec![1.0, 0.0].into()), now);
    }
    let outputs = drain(&mut call);
    let events = events(&outputs);
    assert_eq!(events.len(), ids.len());
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].end_samples < pair[1].end_samples && pair[0].sequence + 1 == pair[1].sequence)
    );
}

#[test]
fn a_window_that_was_shed_or_failed_is_told() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(2.2))), now);
    let ids = windows(&drain(&mut call));
    call.apply(ids[0], Outcome::Shed, now);
    call.apply(ids[1], Outcome::Failed("broken".into()), now);
    call.apply(WindowId { leg: 7, number: 99 }, Outcome::Shed, now);
    for id in &ids[2..] {
        call.apply(*id, Outcome::Logits(vec![0.0, 0.0].into()), now);
    }
    let outputs = drain(&mut call);
    let reasons: Vec<_> = events(&outputs).into_iter().filter_map(|event| event.outcome.as_ref().err()).collect();
    assert_eq!(reasons, [&NotScored::Overloaded, &NotScored::Failed]);
    call.close(EndReason::Completed, now);
    let outputs = answered(&mut call, &[0.0, 0.0], now);
    assert_eq!(summary(&outputs).shed_windows, 1);
}

#[test]
fn closing_waits_for_windows_and_gives_up_in_time() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(2.0))), now);
    drain(&mut call);
    call.close(EndReason::Completed, now);
    assert!(!drain(&mut call).iter().any(|output| matches!(output, Output::Closed(_))));
    let deadline = call.deadline().expect("a close time-out");
    call.tick(deadline);
    let outputs = drain(&mut call);
    assert!(matches!(outputs.last(), Some(Output::Closed(EndReason::Completed))));
    assert!(summary(&outputs).not_scored.iter().any(|(reason, _)| *reason == NotScored::Failed));
    assert_eq!(call.deadline(), None);
}

#[test]
fn silence_is_never_scored() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&vec![0.0; 5 * RATE as usize])), now);
    let outputs = drain(&mut call);
    assert!(windows(&outputs).is_empty());
    assert!(events(&outputs).len() >= 9);
    assert!(events(&outputs).iter().all(|event| event.outcome == Err(NotScored::Silence)));
}

#[test]
fn a_hold_clears_the_window_and_positions_count_on() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(0.9))), now);
    call.control(Control::Hold, None, now);
    call.push(plain(&bytes(&speech(10.0))), now);
    let outputs = drain(&mut call);
    assert!(windows(&outputs).is_empty());
    assert_eq!(events(&outputs).last().unwrap().outcome, Err(NotScored::OnHold));
    call.control(Control::Resume, None, now);
    call.push(plain(&bytes(&speech(2.0))), now);
    let outputs = answered(&mut call, &[0.0, 0.0], now);
    let scored = events(&outputs).into_iter().find(|event| event.outcome.is_ok()).expect("scored again").clone();
    assert!(scored.start_samples >= u64::from(RATE) * 10, "{scored:?}");
    assert_eq!(scored.dropped_samples, u64::from(RATE) * 10);
}

#[test]
fn a_long_gap_clears_the_window_and_is_told() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(0.9))), now);
    let position = u64::from(RATE) * 60;
    let data = bytes(&speech(0.9));
    call.push(Chunk { data: &data, sequence: None, media_offset_samples: Some(position) }, now);
    let outputs = drain(&mut call);
    assert!(windows(&outputs).is_empty());
    let gap = events(&outputs).into_iter().find(|event| event.outcome == Err(NotScored::Gap)).expect("told");
    assert_eq!((gap.start_samples, gap.end_samples), (u64::from(RATE) * 9 / 10, position));
}

#[test]
fn withdrawal_stops_at_once_and_leaves_no_scores() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(3.0))), now);
    answered(&mut call, &[0.0, 5.0], now);
    call.control(Control::WithdrawConsent, None, now);
    call.push(plain(&bytes(&speech(3.0))), now);
    call.close(EndReason::Completed, now);
    let outputs = drain(&mut call);
    assert!(windows(&outputs).is_empty());
    assert_eq!(events(&outputs)[0].outcome, Err(NotScored::ConsentWithdrawn));
    let summary = summary(&outputs);
    assert_eq!(summary.end_reason, EndReason::ConsentWithdrawn);
    assert_eq!((summary.scored_windows, summary.shares.len(), summary.speech), (0, 0, Duration::ZERO));
    assert_eq!(summary.received_samples, u64::from(RATE) * 6);
}

#[test]
fn an_agent_beside_a_customer_is_dropped() {
    let now = Instant::now();
    let legs = vec![leg(Ok(permit())), leg(Err(NotScored::NotPermitted))];
    let mut call = Call::new(options(Encoding::Linear16, legs), now).unwrap();
    let interleaved: Vec<f32> = speech(2.0).into_iter().flat_map(|sample| [sample, sample]).collect();
    call.push(plain(&bytes(&interleaved)), now);
    let outputs = drain(&mut call);
    assert!(!windows(&outputs).is_empty());
    assert!(windows(&outputs).iter().all(|id| id.leg == 0));
    call.tick(now + Duration::from_secs(10));
    let Some(Output::Status(Status { legs, .. })) = drain(&mut call).pop() else { panic!("a status") };
    assert_eq!(legs[1].not_scored, Some(NotScored::NotPermitted));
    assert_eq!(legs[1].dropped_samples, u64::from(RATE) * 2);
}

#[test]
fn a_silent_peer_is_ended_but_a_hold_may_last() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut call = customer(now);
    call.control(Control::Hold, None, now);
    call.tick(now + 100 * second);
    assert!(!drain(&mut call).iter().any(|output| matches!(output, Output::Closed(_))));
    call.control(Control::Resume, None, now + 100 * second);
    call.push(plain(&[]), now + 120 * second);
    call.tick(now + 149 * second);
    assert!(!drain(&mut call).iter().any(|output| matches!(output, Output::Closed(_))));
    call.tick(now + 150 * second);
    let outputs = drain(&mut call);
    assert_eq!(summary(&outputs).end_reason, EndReason::Idle);
    assert!(matches!(outputs.last(), Some(Output::Closed(EndReason::Idle))));
}

#[test]
fn half_a_sample_at_the_end_is_a_warning() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&[0; 321]), now);
    call.close(EndReason::Completed, now);
    let outputs = drain(&mut call);
    assert!(summary(&outputs).warnings[0].contains("1 byte"), "{:?}", summary(&outputs).warnings);
}

/// What a client sees of an event, all but when: start, end, dependence, probabilities.
type Seen = (u64, u64, u64, Result<Vec<f32>, NotScored>);

fn seen(outputs: &[Output]) -> Vec<Seen> {
    events(outputs)
        .into_iter()
        .map(|event| {
            let outcome = event.outcome.clone().map(|judgement| judgement.probabilities.clone());
            (event.start_samples, event.end_samples, event.depends_on_samples, outcome)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn however_audio_is_split_the_events_are_the_same(sizes in prop::collection::vec(1usize..6000, 1..40)) {
        let now = Instant::now();
        let mut audio = vec![0.0; 3000];
        audio.extend(speech(3.0));
        audio.extend(vec![0.0; 20_000]);
        audio.extend(speech(1.7));
        let data = bytes(&audio);

        let mut whole = customer(now);
        whole.push(plain(&data), now);
        whole.close(EndReason::Completed, now);
        let expected = answered(&mut whole, &[0.3, 0.1], now);

        let mut split = customer(now);
        let mut rest = &data[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            split.push(plain(chunk), now);
            rest = behind;
        }
        split.close(EndReason::Completed, now);
        let outputs = answered(&mut split, &[0.3, 0.1], now);
        prop_assert_eq!(seen(&outputs), seen(&expected));
        prop_assert!(!seen(&expected).is_empty());
    }
}
