//! What training hears is what a call hears.

use std::path::Path;

use super::{
    FRAMES,
    channel::Channel,
    deviations, target,
    variants::{self, Source},
    window,
    windows::{Draw, Side},
};
use crate::{
    corpus::{Clip, Condition, Corpus, Scene, line::Babble},
    features::{FrontEnd, listen::RawFrames, logmel8k, offline::Leg},
    train::{
        cache::Cache,
        clips::{self, Clips},
    },
};

fn heard(actor: &str) -> (Clips<Source>, Vec<Clip>) {
    let corpus = Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap();
    let of: Vec<Clip> = corpus.clips.into_iter().filter(|clip| clip.actor == actor).collect();
    let keep = |heard: clips::Heard| Ok(Source { samples: heard.samples, rate_hz: heard.rate_hz });
    (clips::gather(&of.iter().collect::<Vec<_>>(), keep, || Ok(())).unwrap(), of)
}

fn side(clips: &Clips<Source>, front_end: &FrontEnd, judged: bool) -> Side {
    let of: Vec<usize> = (0..clips.used.len()).collect();
    let means = variants::Means { front_end, seed: 0, cache: &Cache::new(None) };
    let heard = variants::Heard::of(clips, &of, judged, means, || Ok(())).unwrap();
    Side::new(clips, &of, heard, front_end.values(), FRAMES)
}

#[test]
fn training_subtracts_the_baseline_that_a_call_does() {
    let front_end = FrontEnd::Logmel8k(logmel8k::Options::default());
    let (clips, files) = heard("1066");
    let trained = side(&clips, &front_end, false);
    let standardization = deviations(&trained, &front_end);
    let side = side(&clips, &front_end, true);
    let raw: Vec<RawFrames> = files
        .iter()
        .map(|clip| {
            let recording = crate::audio::file::read(&clip.path).unwrap();
            let hz = recording.sample_rate_hz;
            let babble = Babble::default();
            let scene = Scene::of(clip, &babble, 0);
            let (samples, hz) = Condition::Mulaw.apply(recording.into_mono(), hz, &scene).unwrap();
            RawFrames::of(&samples, hz, &front_end, false).unwrap()
        })
        .collect();
    let options = window();
    for before in [vec![], vec![1], vec![3, 2, 5, 1]] {
        let mut leg = Leg::new(&front_end, &options, &standardization).unwrap();
        before.iter().for_each(|&clip| leg.hear(&raw[clip]));
        let called = leg.first_window(&raw[0], &options).unwrap();
        let draw = Draw {
            way: side.heard.way(Channel::Mulaw),
            clip: 0,
            before: before.clone(),
            frames: 0..options.taken_frames(raw[0].frames()),
            from_onset: true,
            at: 0,
        };
        let trained = side.window(&draw, draw.frames.len(), &front_end, &standardization);
        assert_eq!(trained.len(), called.len());
        // Frames are kept in steps of 1/1024 neper; a deviation is one to three.
        let widest = trained.iter().zip(&called).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(widest < 2e-3, "{before:?}: {widest}");
        assert!(trained.iter().any(|value| value.abs() > 0.5));
    }
}

#[test]
fn listeners_decide_their_part_of_a_target() {
    let used = |name: &str, label| clips::Used { actor: 0, label, name: name.to_owned(), audio: [0; 32] };
    let spread = 0.1 / 6.0;
    // Six of its eight listeners heard anger, two heard neutral.
    let heard = target(&used("1002_DFA_ANG_XX", 0), 0.5);
    let expected =
        [0.5 * (0.9 + spread) + 0.375, 0.5 * spread, 0.5 * spread, 0.5 * spread, 0.5 * spread + 0.125, 0.5 * spread];
    assert!(heard.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{heard:?}");
    // Votes that are about a broken recording decide nothing.
    let label = target(&used("1007_IWL_HAP_XX", 3), 0.0);
    assert_eq!(target(&used("1007_IWL_HAP_XX", 3), 0.5), label);
    assert!((label[3] - 0.9 - spread).abs() < 1e-6);
}

#[test]
fn what_a_line_does_to_a_clip_depends_on_no_other_actor() {
    let front_end = FrontEnd::Logmel8k(logmel8k::Options::default());
    let (alone, _) = heard("1066");
    let corpus = Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap();
    let keep = |heard: clips::Heard| Ok(Source { samples: heard.samples, rate_hz: heard.rate_hz });
    let all = clips::gather(&corpus.clips.iter().collect::<Vec<_>>(), keep, || Ok(())).unwrap();
    let (alone, all) = (side(&alone, &front_end, false), side(&all, &front_end, false));
    let first = all.used.iter().position(|used| used.name == alone.used[0].name).unwrap();
    for (one, other) in alone.heard.frames.iter().zip(&all.heard.frames) {
        assert!(one[0].bands().eq(other[first].bands()));
    }
}

#[test]
fn windows_stand_where_they_were_drawn_and_bars_cover_a_part() {
    let front_end = FrontEnd::Logmel8k(logmel8k::Options::default());
    let (clips, _) = heard("1066");
    let side = side(&clips, &front_end, false);
    let standardization = deviations(&side, &front_end);
    let mut random = crate::train::network::generator(1, 2);
    for clip in 0..side.used.len() {
        let draw = side.draw(clip, 184, &mut random);
        let mut window = side.window(&draw, 184, &front_end, &standardization);
        assert_eq!(window.len(), 184 * 96);
        assert!(window.iter().all(|value| value.is_finite()));
        let others_only = draw.before.iter().all(|&before| side.used[before].actor == side.used[clip].actor);
        assert!(others_only && draw.before.len() <= super::windows::MOST_HEARD);
        super::windows::cover(&mut window, 96, &mut random);
        let zeros = window.iter().filter(|&&value| value == 0.0).count();
        assert!(zeros < window.len() / 2, "{zeros}");
    }
}
