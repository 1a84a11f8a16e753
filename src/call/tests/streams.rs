//! Chunks that are repeated, late or missing, and labels that lie.

use super::*;

/// 20 ms.
const CHUNK: usize = RATE as usize / 50;

fn numbered(data: &[u8], number: usize) -> Chunk<'_> {
    let at = (number * CHUNK) as u64;
    Chunk { data, sequence: Some(number as u64), media_offset_samples: Some(at) }
}

/// All that comes out of a call that is given these chunks of four seconds, in this order.
fn given(numbers: impl IntoIterator<Item = usize>, audio: &[f32]) -> Vec<Output> {
    let now = Instant::now();
    let mut call = customer(now);
    for number in numbers {
        call.push(numbered(&bytes(&audio[number * CHUNK..(number + 1) * CHUNK]), number), now);
    }
    call.close(EndReason::Completed, now);
    answered(&mut call, &[0.1, 0.3], now)
}

#[test]
fn what_is_repeated_or_late_is_dropped_and_counted_and_changes_no_score() {
    let audio = speech(4.0);
    let plain = given(0..200, &audio);
    let repeated = given((0..200_usize).flat_map(|number| [number, number.saturating_sub(2), number]), &audio);
    assert_eq!(seen(&repeated), seen(&plain));
    assert_eq!((summary(&plain).dropped_samples, summary(&repeated).dropped_samples), (0, 400 * CHUNK as u64));
    assert_eq!(summary(&plain).warnings, [""; 0]);
    assert_eq!(summary(&repeated).warnings, ["400 chunk(s) were repeated and were dropped"]);
    let (first, last) = (events(&repeated)[0].clone(), events(&repeated).last().unwrap().dropped_samples);
    assert!(0 < first.dropped_samples && first.dropped_samples < last, "each event tells what was dropped by then");
}

#[test]
fn a_short_gap_is_heard_as_silence_and_what_never_came_is_told() {
    let audio = speech(4.0);
    let mut silenced = audio.clone();
    silenced[50 * CHUNK..60 * CHUNK].fill(0.0);
    let gap = given((0..50).chain(60..200), &audio);
    assert_eq!(seen(&gap), seen(&given(0..200, &silenced)));
    assert!(summary(&gap).warnings[0].starts_with("10 chunk(s) never came"), "{:?}", summary(&gap).warnings);
    let longer = given((0..50).chain(61..200), &audio);
    let told = events(&longer).into_iter().find(|event| event.outcome == Err(NotScored::Gap)).expect("a gap");
    assert_eq!((told.start_samples, told.end_samples), (50 * CHUNK as u64, 61 * CHUNK as u64));
}

#[test]
fn silence_that_is_filled_in_is_told_to_the_sample() {
    let now = Instant::now();
    let (audio, chunk) = (speech(4.0), CHUNK as u64);
    let mut call = customer(now);
    let mut told = Vec::new();
    // Gaps of 100 and 200 ms are filled, one of 220 ms is not; what is repeated or late fills nothing.
    let sent = [(0..50, 0), (55..100, 5), (99..100, 5), (52..53, 5), (110..150, 15), (161..200, 15)];
    for (numbers, filled) in sent {
        for number in numbers {
            call.push(numbered(&bytes(&audio[number * CHUNK..(number + 1) * CHUNK]), number), now);
            let outputs = answered(&mut call, &[0.1, 0.3], now);
            for event in events(&outputs) {
                assert_eq!(event.filled_samples, filled * chunk, "at chunk {number}: {event:?}");
                told.push(filled);
            }
        }
    }
    assert!([0, 5, 15].iter().all(|filled| told.contains(filled)), "{told:?}");
    call.tick(now + Duration::from_secs(10));
    let Some(Output::Status(status)) = drain(&mut call).pop() else { panic!("a status") };
    assert_eq!(status.legs[0].filled_samples, 15 * chunk);
    call.close(EndReason::Completed, now);
    let outputs = answered(&mut call, &[0.1, 0.3], now);
    let summary = summary(&outputs);
    assert_eq!((summary.filled_samples, summary.dropped_samples), (15 * chunk, 2 * chunk));
    assert_eq!(summary.received_samples, (200 - 5 - 10 - 11 + 2) * chunk, "what was filled in was not received");
}

#[test]
fn nothing_is_filled_in_where_nobody_listens() {
    let now = Instant::now();
    let legs = vec![leg(Ok(permit())), leg(Err(NotScored::NotPermitted))];
    let mut call = Call::new(options(Encoding::Linear16, legs), now).unwrap();
    let silence = [0; 4 * CHUNK];
    // So many chunks are missing before each.
    let mut at = 0;
    for (missing, control) in [(0, None), (3, Some(Control::Hold)), (7, Some(Control::Resume)), (2, None)] {
        at += missing * CHUNK as u64;
        call.push(Chunk { data: &silence, sequence: None, media_offset_samples: Some(at) }, now);
        at += CHUNK as u64;
        if let Some(control) = control {
            call.control(control, None, now);
        }
    }
    call.close(EndReason::Completed, now);
    let outputs = answered(&mut call, &[0.1, 0.3], now);
    let filled = outputs.iter().filter_map(|output| match output {
        Output::Summary(summary) => Some(summary.filled_samples),
        _ => None,
    });
    assert_eq!(filled.collect::<Vec<_>>(), [(3 + 2) * CHUNK as u64, 0]);
}

#[test]
fn a_lying_label_is_told_once_by_a_warning_and_from_then_on_by_every_status() {
    let now = Instant::now();
    let mut call = customer(now);
    let mut law = Vec::new();
    codec::encode(Encoding::Alaw, &speech(3.0), &mut law);
    for chunk in law.chunks(CHUNK) {
        call.push(plain(chunk), now);
    }
    let expected = Warning::Mislabelled { label: Encoding::Linear16, looks_like: Encoding::Alaw };
    let outputs = drain(&mut call);
    let found = outputs.iter().position(|output| matches!(output, Output::Warning(_))).expect("a warning");
    assert!(matches!(outputs[found], Output::Warning(warning) if warning == expected));
    assert!(matches!(&outputs[found + 1], Output::Status(status) if status.warnings == [expected]));
    call.push(plain(&law), now);
    call.tick(now + Duration::from_secs(10));
    let outputs = drain(&mut call);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Warning(_))));
    assert!(outputs.iter().any(|output| matches!(output, Output::Status(status) if status.warnings == [expected])));
}

#[test]
fn audio_that_nobody_may_listen_to_is_not_looked_at() {
    let now = Instant::now();
    let legs = vec![leg(Err(NotScored::NotPermitted))];
    let mut call = Call::new(options(Encoding::Linear16, legs), now).unwrap();
    let mut law = Vec::new();
    codec::encode(Encoding::Mulaw, &speech(3.0), &mut law);
    call.push(plain(&law), now);
    let outputs = drain(&mut call);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Warning(_) | Output::Status(_))), "{outputs:?}");
}

#[test]
fn what_is_split_before_a_chunk_that_never_came_does_not_shift_the_rest() {
    let now = Instant::now();
    let linear = bytes(&speech(3.0));
    let sent = |sequence: u64, data| Chunk { data, sequence: Some(sequence), media_offset_samples: None };
    let mut call = customer(now);
    // Half a sample at its end, whose other half is lost.
    call.push(sent(1, &linear[..2 * CHUNK + 1]), now);
    for (number, data) in linear[4 * CHUNK..].chunks(2 * CHUNK).enumerate() {
        call.push(sent(3 + number as u64, data), now);
    }
    call.close(EndReason::Completed, now);
    let cut = answered(&mut call, &[0.1, 0.3], now);
    let mut whole = customer(now);
    for data in [&linear[..2 * CHUNK], &linear[4 * CHUNK..]] {
        whole.push(plain(data), now);
    }
    whole.close(EndReason::Completed, now);
    assert_eq!(seen(&cut), seen(&answered(&mut whole, &[0.1, 0.3], now)));
    let told = &summary(&cut).warnings;
    assert!(told.len() == 2 && told[0].starts_with("1 sample(s) were split"), "{told:?}");
}
