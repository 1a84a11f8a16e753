//! `undertone demo`: the main job, start to end, on a real recording.
//!
//! A server starts on free ports in this process, and a client of its own plays it a call over gRPC: real clips of one actor whom the
//! shipped model never trained on, joined to four stretches of speech (`demo/NOTICE.md`). What is heard is printed beside what
//! was acted.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use undertone::{
    audio::{self, Encoding},
    config::Config,
    server::{
        Server,
        proto::{EmotionEvent, analyze_response::Message, emotion_event::Outcome},
    },
    shutdown::Signals,
};

use super::{
    client::{self, Audio, Options, Playing, Role},
    print, text, told_model_dir,
};

/// The call.
pub(crate) const RECORDING: &[u8] = include_bytes!("demo/call.wav");
/// When which emotion was acted in it: a title, then a line a clip.
const TRUTH: &str = include_str!("demo/call.tsv");
/// The call's file, where the working folder is a checkout.
const IN_CHECKOUT: &str = "src/cli/demo/call.wav";
/// Audio in one message, as telephone systems send it.
const CHUNK: Duration = Duration::from_millis(20);

/// A call that ends as soon as it was acknowledged.
const EMPTY_CALL: &str = concat!(
    r#"{"config": {"callId": "try", "audio": {"encoding": "ENCODING_MULAW", "sampleRateHertz": 8000}, "#,
    r#""legs": [{"role": "ROLE_CUSTOMER"}], "notice": {"givenAt": "2026-01-01T00:00:00Z", "method": "announcement"}}} "#,
    r#"{"control": {"action": "CONTROL_ACTION_END"}}"#
);

/// Serves on free ports in this process, plays a recorded call to it, and prints what is heard beside what was acted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on serving afterwards, and print commands to try
    #[arg(long)]
    keep: bool,
    /// Times real time
    #[arg(long, value_name = "N", default_value = "4", value_parser = client::speed)]
    speed: f64,
    /// Folder with the model [default: models/telephone, here, beside the program or in its checkout]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// One emotion for a while. Seconds from the call's begin.
#[derive(Debug, Clone, PartialEq)]
struct Stretch {
    start: f64,
    end: f64,
    label: String,
}

/// What became of one stretch.
#[derive(Debug, Default)]
struct Count {
    scored: usize,
    /// Scored, and told surely enough to be told.
    sure: usize,
    right: usize,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: ([127, 0, 0, 1], 0).into(),
        models: vec![told_model_dir(args.model)?],
        ..Config::default()
    };
    super::block_on(async {
        // Caught before anything starts, so that an interrupt always ends in a drain.
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let server = Server::launch(&config).await?;
        let played = tokio::select! {
            played = play(&server, args.speed) => played,
            signal = signals.next() => Err(anyhow::anyhow!("ended by {signal}")),
        };
        if args.keep && played.is_ok() {
            print(hints(&server))?;
            signals.next().await;
        }
        server.stop().await?;
        played
    })
}

/// Plays the call and prints the timeline.
async fn play(server: &Server, speed: f64) -> anyhow::Result<()> {
    let stretches = stretches(TRUTH)?;
    let audio = Audio::new(&audio::file::decode("the demo's call", RECORDING)?, Encoding::Mulaw)?;
    let rate_hz = audio.sample_rate_hz();
    print(format!(
        "A call of {:.0} s: 8 kHz G.711 µ-law in chunks of {} ms over gRPC to {}, at {speed} times real time.",
        audio.seconds(),
        CHUNK.as_millis(),
        server.grpc()
    ))?;
    let options = Options { call_id: "demo".to_owned(), roles: vec![Role::CUSTOMER], model: None, chunk: CHUNK, speed };
    let mut call = Playing::begin(&format!("http://{}", server.grpc()), audio, options).await?;
    let mut counts: Vec<Count> = stretches.iter().map(|_| Count::default()).collect();
    while let Some(response) = call.next().await? {
        match response.message {
            Some(Message::Acknowledgement(acknowledgement)) => {
                text::acknowledgement(&acknowledgement).into_iter().try_for_each(print)?;
                print("\n    time  acted      heard      confidence")?;
            }
            Some(Message::Event(event)) => {
                let at = event.end_samples as f64 / f64::from(rate_hz);
                let acted = stretches.iter().position(|stretch| stretch.start <= at && at <= stretch.end);
                if let Some(stretch) = acted {
                    counts[stretch].add(&event, &stretches[stretch].label);
                }
                let acted = acted.map_or("", |stretch| &stretches[stretch].label);
                print(format!("{at:6.2} s  {acted:<10} {}", text::outcome(&event)))?;
            }
            Some(Message::Alert(alert)) => text::alert(&alert).into_iter().try_for_each(print)?,
            Some(Message::Summary(summary)) => {
                print("")?;
                print(table(&stretches, &counts))?;
                print("")?;
                text::summary(&summary, rate_hz).into_iter().try_for_each(print)?;
            }
            Some(Message::Status(_)) | None => {}
        }
    }
    print(
        "\nActed speech of one person: it shows the way, not how good the model is. Its scores are in its MODEL_CARD.md.",
    )
}

impl Count {
    fn add(&mut self, event: &EmotionEvent, acted: &str) {
        if let Some(Outcome::Emotion(emotion)) = &event.outcome {
            self.scored += 1;
            self.sure += usize::from(emotion.label != "uncertain");
            self.right += usize::from(emotion.label == acted);
        }
    }
}

/// The stretches of one emotion: clips that follow each other with the same label, pauses between them included.
fn stretches(truth: &str) -> anyhow::Result<Vec<Stretch>> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for line in truth.lines().skip(1) {
        let mut fields = line.split('\t');
        let (Some(start), Some(end), Some(label)) = (fields.next(), fields.next(), fields.next()) else {
            anyhow::bail!("the demo's truth has no start, end and label in {line:?}");
        };
        let (start, end) = (start.parse()?, end.parse()?);
        match stretches.last_mut().filter(|last| last.label == label) {
            Some(last) => last.end = end,
            None => stretches.push(Stretch { start, end, label: label.to_owned() }),
        }
    }
    Ok(stretches)
}

/// A row a stretch: how many decisions that ended in it were made, sure and right.
fn table(stretches: &[Stretch], counts: &[Count]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["acted", "from", "to", "decisions", "sure", "right"]);
    for (stretch, count) in stretches.iter().zip(counts) {
        table.add_row([
            stretch.label.clone(),
            format!("{:.1} s", stretch.start),
            format!("{:.1} s", stretch.end),
            count.scored.to_string(),
            count.sure.to_string(),
            count.right.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// What can be tried against a server that stays.
fn hints(server: &Server) -> String {
    let (grpc, admin) = (server.grpc(), server.admin());
    let program = program();
    let recording = if Path::new(IN_CHECKOUT).is_file() { IN_CHECKOUT } else { "RECORDING.wav" };
    format!(
        "\nServing on {grpc} until Ctrl-C. Try, from another terminal:\n\
         \n  grpcurl -plaintext {grpc} list\
         \n  grpcurl -plaintext {grpc} describe undertone.v1.EmotionService\
         \n  grpcurl -plaintext {grpc} undertone.v1.EmotionService/ListModels\
         \n  grpcurl -plaintext -d '{{\"service\": \"undertone.v1.EmotionService\"}}' {grpc} grpc.health.v1.Health/Check\
         \n  grpcurl -plaintext -d '{EMPTY_CALL}' {grpc} undertone.v1.EmotionService/Analyze\
         \n  {program} call {recording} --to http://{grpc}\
         \n  {program} watch --to http://{grpc}    # calls and alerts live, while that call is played\
         \n  curl http://{admin}/metrics"
    )
}

/// This program as a shell finds it.
fn program() -> String {
    let Ok(program) = env::current_exe() else { return "undertone".to_owned() };
    let below =
        env::current_dir().ok().and_then(|here| program.strip_prefix(here).ok().map(|path| Path::new(".").join(path)));
    below.unwrap_or(program).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_has_four_stretches_long_enough_and_apart() {
        let stretches = stretches(TRUTH).unwrap();
        let labels: Vec<_> = stretches.iter().map(|stretch| stretch.label.as_str()).collect();
        assert_eq!(labels, ["neutral", "angry", "sad", "happy"]);
        for stretch in &stretches {
            assert!(stretch.end - stretch.start >= 8.0, "{stretch:?}");
        }
        for pair in stretches.windows(2) {
            assert!(pair[1].start - pair[0].end >= 2.2, "{pair:?}");
        }
    }

    #[test]
    fn the_truth_lies_within_the_recording() {
        let recording = audio::file::decode("call.wav", RECORDING).unwrap();
        assert_eq!((recording.channels.len(), recording.sample_rate_hz), (1, 8000));
        let seconds = recording.channels[0].len() as f64 / 8000.0;
        assert!((40.0..=60.0).contains(&seconds), "{seconds} s");
        assert!(stretches(TRUTH).unwrap().iter().all(|stretch| stretch.end <= seconds));
    }

    #[test]
    fn the_recording_goes_over_the_wire_as_it_was_made() {
        let recording = audio::file::decode("call.wav", RECORDING).unwrap();
        let audio = Audio::new(&recording, Encoding::Mulaw).unwrap();
        // The header of a µ-law WAV with a `fact` chunk is 58 bytes long. Both zeros of G.711 are one sample.
        let differing = audio.data().iter().zip(&RECORDING[58..]).filter(|(sent, made)| sent != made);
        assert!(differing.clone().all(|pair| matches!(pair, (0x7f | 0xff, 0x7f | 0xff))), "{:?}", differing.count());
    }
}
