//! `undertone call`: plays a recording to a server as if it were a call.

use std::{path::PathBuf, process, time::Duration};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use undertone::{
    server::{
        json,
        proto::{AnalyzeResponse, analyze_response::Message},
    },
    shutdown::Signals,
};
use uuid::Uuid;

use super::{
    client::{self, Audio, Playing, Role},
    text,
};

/// Plays a recording to a server as a call, and prints each response as it comes.
///
/// G.711 (mulaw, alaw) is sent at the telephone's 8 kHz, linear16 at the recording's own rate. The call says that notice was given:
/// play only what its speakers were told of. A stream that breaks off goes on, where the server still answers within half a minute.
///
/// Ctrl-C and SIGTERM end the call rather than break it off: the summary still comes, with status 0. A second one exits at once, with status
/// 1; the server then keeps the call for a while, as after any break.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A WAV or FLAC file, mono or stereo.
    file: PathBuf,
    /// The server, as http://host:port
    #[arg(long, value_name = "URL")]
    to: String,
    /// How samples are written on the wire.
    #[arg(long, value_enum, default_value_t = client::Wire::Mulaw)]
    encoding: client::Wire,
    /// Milliseconds of audio in one message: 1 to 2000
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=2000))]
    chunk_ms: u64,
    /// Times real time
    #[arg(long, value_name = "N", default_value = "1", value_parser = client::speed)]
    speed: f64,
    /// Who speaks: one a channel, left first, parted by commas
    #[arg(long, value_name = "ROLE", default_value = "customer", value_delimiter = ',')]
    roles: Vec<Role>,
    /// A model by name [default: the server's]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Name the call [default: an id of its own]
    #[arg(long, value_name = "ID")]
    call_id: Option<String>,
    /// Print responses as JSON, one a line, by the mapping of proto3
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { file, to, encoding, chunk_ms, speed, roles, model, call_id, json } = args;
    let recording = client::read(&file, &roles)?;
    let audio = Audio::new(&recording, encoding.encoding())?;
    let options = client::Options {
        call_id: call_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
        roles,
        model,
        chunk: Duration::from_millis(chunk_ms),
        speed,
    };
    let writer = json.then(|| json::Writer::new("AnalyzeResponse")).transpose()?;
    let rate_hz = audio.sample_rate_hz();
    super::block_on(async {
        let mut call = Playing::begin(&to, audio, options).await?;
        let stopping = call.stopping().clone();
        let signals = Signals::catch().context("cannot catch signals")?;
        tokio::spawn(end_on(signals, stopping.clone()));
        let mut told = Ok(());
        while let Some(response) = call.next().await? {
            if told.is_err() {
                continue;
            }
            told = match &writer {
                Some(writer) => writer.line(&response).map_err(Into::into).and_then(super::print),
                None => lines(&response, rate_hz).into_iter().try_for_each(super::print),
            };
            if told.is_err() {
                // Nobody reads on; that is no reason to leave the server with a call that seems to have vanished.
                stopping.cancel();
            }
        }
        told
    })
}

/// Ends the call at the first signal, and the program at the second.
async fn end_on(mut signals: Signals, stopping: CancellationToken) {
    signals.next().await;
    stopping.cancel();
    signals.next().await;
    process::exit(1);
}

/// A response for people.
fn lines(response: &AnalyzeResponse, rate_hz: u32) -> Vec<String> {
    match &response.message {
        Some(Message::Acknowledgement(acknowledgement)) => text::acknowledgement(acknowledgement),
        Some(Message::Event(event)) => vec![text::event(event, rate_hz)],
        Some(Message::Alert(alert)) => text::alert(alert),
        Some(Message::Status(status)) => {
            let legs = status.legs.iter().map(|leg| text::status(leg, rate_hz));
            legs.chain(status.warnings.iter().map(text::warning)).collect()
        }
        Some(Message::Summary(summary)) => text::summary(summary, rate_hz),
        // A newer server may say what this program does not know.
        None => Vec::new(),
    }
}
