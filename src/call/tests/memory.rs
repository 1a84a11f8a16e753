//! What a leg keeps, however its audio is made.

use std::path::Path;

use super::*;

/// What a leg may take, as operators are told to count (docs/operating.md).
const MOST_BYTES: usize = 256 * 1024;
/// The same of a leg of 44.1 or 48 kHz.
const MOST_BYTES_OF_STUDIOS: usize = 272 * 1024;

/// 20 ms.
const CHUNK: usize = RATE as usize / 50;

/// A call with the front end and the window of a model that is shipped.
fn call_of(model: &str, encoding: Encoding, rate_hz: u32, now: Instant) -> Call {
    let manifest = Manifest::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(model)).unwrap();
    let legs = vec![leg(Ok(permit()))];
    let options = Options { model: Arc::new(manifest), sample_rate_hz: rate_hz, ..options(encoding, legs) };
    Call::new(options, now).unwrap().timed_by(Instant::now)
}

/// The most that a call held while it was given so many seconds of audio, in chunks of so many bytes.
fn most(call: &mut Call, chunk: &[u8], chunks: usize) -> usize {
    let now = Instant::now();
    let mut most = call.bytes();
    for _ in 0..chunks {
        call.push(plain(chunk), now);
        most = most.max(call.bytes());
        // Windows are counted apart.
        drop(drain(call));
    }
    most
}

/// Digital silence with a single bit now and then: all that a resampler makes of it is too faint to be heard, and changes its sign.
fn impulses(samples: usize) -> Vec<u8> {
    let mut chunk = vec![0; 2 * samples];
    chunk[0] = 1;
    chunk
}

#[test]
fn no_audio_makes_a_leg_take_more_than_it_may() {
    let now = Instant::now();
    // The largest network's front end, at the rates that take the most: the odd one has the longest blocks to resample.
    for (model, rate_hz, bound) in [
        ("telephone", 8_000, MOST_BYTES),
        ("telephone", 48_000, MOST_BYTES),
        ("cnn-bilstm", 8_000, MOST_BYTES),
        ("cnn-bilstm", 16_000, MOST_BYTES),
        ("cnn-bilstm", 32_000, MOST_BYTES),
        ("cnn-bilstm", 47_975, MOST_BYTES_OF_STUDIOS),
        ("cnn-bilstm", 48_000, MOST_BYTES_OF_STUDIOS),
    ] {
        let mut call = call_of(model, Encoding::Linear16, rate_hz, now);
        let before = call.bytes();
        // Longer than any window.
        let mut most = most(&mut call, &impulses(rate_hz as usize / 50), 50 * 8);
        // Then in chunks of half a second, a gap before each.
        let (long, rate_hz) = (impulses(rate_hz as usize / 2), u64::from(rate_hz));
        for gap in 0..4 {
            let media_offset_samples = Some(rate_hz * (10 + 2 * gap));
            call.push(Chunk { data: &long, sequence: None, media_offset_samples }, now);
            most = most.max(call.bytes());
            drop(drain(&mut call));
        }
        assert!(most <= bound, "{model} at {rate_hz} Hz: {most} bytes");
        assert!(most > before, "{model}: what is heard is counted");
    }
    // It is the ringing that is bounded: there is some.
    let (mut loud, mut ringing) =
        (call_of("cnn-bilstm", Encoding::Linear16, RATE, now), call_of("cnn-bilstm", Encoding::Linear16, RATE, now));
    let voice = bytes(&speech(0.02));
    let (loud, ringing) = (most(&mut loud, &voice, 400), most(&mut ringing, &impulses(CHUNK), 400));
    assert!(ringing > loud + 8_000, "{ringing} bytes with corrections, {loud} without");
}

#[test]
fn a_long_chunk_leaves_no_memory_behind() {
    let now = Instant::now();
    let mut call = call_of("telephone", Encoding::Mulaw, RATE, now);
    most(&mut call, &[0xff; CHUNK], 10);
    let before = call.bytes();
    call.push(plain(&vec![0xff; 256 * 1024]), now);
    assert!(call.bytes() <= before + 4_096, "{} bytes after {before}", call.bytes());
}
