//! The client's side of a call: a recording goes out at the pace of speech, or faster, as a telephone system would send it, and the
//! responses come back as they are made. `call` and `demo` share it.

use std::{
    path::Path,
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::ValueEnum;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};
use undertone::{
    audio::{Encoding, codec, file::Recording, resample::resample},
    server::proto::{
        self as pb, AnalyzeRequest, AnalyzeResponse, analyze_request::Message,
        emotion_service_client::EmotionServiceClient,
    },
};

/// G.711 is the telephone's, and the telephone samples at this rate.
const TELEPHONE_HZ: u32 = 8000;
/// Chunks that wait for the connection. When they are as many, the recording waits: a slow server slows the call down.
const CHUNKS_AHEAD: usize = 8;

/// A recording as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Audio {
    encoding: Encoding,
    sample_rate_hz: u32,
    channels: usize,
    /// Interleaved, encoded.
    data: Bytes,
}

/// How a recording is played as a call.
#[derive(Debug)]
pub(crate) struct Options {
    /// The call's id.
    pub(crate) call_id: String,
    /// Who speaks, one a channel.
    pub(crate) roles: Vec<Role>,
    /// A model by name; otherwise the server's default.
    pub(crate) model: Option<String>,
    /// Audio in one message.
    pub(crate) chunk: Duration,
    /// Times real time.
    pub(crate) speed: f64,
}

/// How samples are written on the wire.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Wire {
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
    /// Signed 16-bit samples.
    Linear16,
}

/// Who speaks on a channel, as the command line writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role(pb::Role);

impl Role {
    /// The caller or called customer.
    pub(crate) const CUSTOMER: Self = Self(pb::Role::Customer);
}

impl Wire {
    /// As the audio's code names it.
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Mulaw => Encoding::Mulaw,
            Self::Alaw => Encoding::Alaw,
            Self::Linear16 => Encoding::Linear16,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = pb::Role::from_str_name(&format!("ROLE_{}", text.to_ascii_uppercase()));
        let expected = || format!("{text:?} is no role: customer, agent, supervisor, bot, mixed or unspecified");
        role.map(Self).ok_or_else(expected)
    }
}

impl Audio {
    /// Encodes a recording: G.711 at the telephone's 8 kHz, 16-bit samples at the recording's own rate.
    pub(crate) fn new(recording: &Recording, encoding: Encoding) -> anyhow::Result<Self> {
        let sample_rate_hz = match encoding {
            Encoding::Linear16 => recording.sample_rate_hz,
            Encoding::Mulaw | Encoding::Alaw => TELEPHONE_HZ,
        };
        let resampled: Result<Vec<_>, _> =
            recording.channels.iter().map(|plane| resample(plane, recording.sample_rate_hz, sample_rate_hz)).collect();
        let planes = resampled.context("cannot send this recording")?;
        let samples = planes.iter().map(Vec::len).min().unwrap_or(0);
        let interleaved: Vec<f32> = (0..samples).flat_map(|at| planes.iter().map(move |plane| plane[at])).collect();
        let mut data = Vec::new();
        codec::encode(encoding, &interleaved, &mut data);
        Ok(Self { encoding, sample_rate_hz, channels: planes.len(), data: data.into() })
    }

    /// Samples a second, as they go over the wire.
    pub(crate) fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// How long it is.
    pub(crate) fn seconds(&self) -> f64 {
        self.data.len() as f64 / (self.bytes_per_instant() * self.sample_rate_hz as usize) as f64
    }

    /// The bytes that go out.
    pub(crate) fn data(&self) -> &Bytes {
        &self.data
    }

    /// One sample of every channel.
    fn bytes_per_instant(&self) -> usize {
        self.channels * self.encoding.bytes_per_sample()
    }

    /// As a call's configuration tells it.
    pub(crate) fn format(&self) -> anyhow::Result<pb::AudioFormat> {
        let encoding = match self.encoding {
            Encoding::Linear16 => pb::Encoding::Linear16,
            Encoding::Mulaw => pb::Encoding::Mulaw,
            Encoding::Alaw => pb::Encoding::Alaw,
        };
        Ok(pb::AudioFormat {
            encoding: encoding.into(),
            sample_rate_hertz: self.sample_rate_hz.try_into()?,
            channels: Some(self.channels.try_into()?),
        })
    }
}

/// Connects to `http://host:port`, plays the call, and gives its responses. The sending goes on beside the reading; both end when
/// the responses are dropped.
pub(crate) async fn play(url: &str, audio: Audio, options: Options) -> anyhow::Result<Streaming<AnalyzeResponse>> {
    let channel = endpoint(url)?
        .connect()
        .await
        .with_context(|| format!("cannot reach {url}; is `undertone serve` running there"))?;
    let config = pb::AnalyzeConfig {
        call_id: options.call_id,
        audio: Some(audio.format()?),
        legs: options.roles.iter().map(|role| pb::Leg { role: role.0.into(), ..Default::default() }).collect(),
        // Whoever plays a recording answers for its speakers having been told, as whoever records them must.
        notice: Some(pb::Notice { given_at: Some(SystemTime::now().into()), method: "recording".to_owned() }),
        model: options.model,
        ..Default::default()
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    sender.send(request(Message::Config(config))).await?;
    tokio::spawn(send(audio, options.chunk, options.speed, sender));
    let call = EmotionServiceClient::new(channel).analyze(ReceiverStream::new(receiver)).await;
    Ok(call.map_err(|status| failure(&status))?.into_inner())
}

/// The next response; `None` when the call has ended well.
pub(crate) async fn next(call: &mut Streaming<AnalyzeResponse>) -> anyhow::Result<Option<AnalyzeResponse>> {
    call.message().await.map_err(|status| failure(&status))
}

/// The server's refusal, or the connection's end, in one line: what, and what to do.
fn failure(status: &tonic::Status) -> anyhow::Error {
    let (message, code) = (status.message(), code_name(status.code()));
    // A status that the server sent has no cause on this side.
    if std::error::Error::source(status).is_some() {
        return anyhow::anyhow!(
            "the connection broke off; see whether the server still runs, and call again: {message}"
        );
    }
    if status.code() == tonic::Code::Unimplemented {
        return anyhow::anyhow!(
            "no undertone server of this version answers there; name its gRPC port: {message} ({code})"
        );
    }
    anyhow::anyhow!("{message} ({code})")
}

/// As [`failure`], of a server that may not be reached at all.
pub(crate) fn refusal(url: &str, status: &tonic::Status) -> anyhow::Error {
    if std::error::Error::source(status).is_some() {
        return anyhow::anyhow!("cannot reach {url}; is `undertone serve` running there? ({})", status.message());
    }
    failure(status)
}

/// As the protocol's documents write it: "NOT_FOUND".
fn code_name(code: tonic::Code) -> String {
    super::text::words(&format!("{code:?}")).to_uppercase().replace(' ', "_")
}

/// A server's address, as the command line writes it.
pub(crate) fn endpoint(url: &str) -> anyhow::Result<Endpoint> {
    let wrong = || super::Usage(format!("{url:?} is no address; write http://host:port"));
    let full = match url.split_once("://") {
        None => format!("http://{url}"),
        Some(("http", _)) => url.to_owned(),
        Some(("https", _)) => {
            let problem = format!("{url}: TLS is not spoken here; put a proxy between, and use http://");
            return Err(super::Usage(problem).into());
        }
        Some(_) => return Err(wrong().into()),
    };
    Ok(Endpoint::from_shared(full).map_err(|_| wrong())?.connect_timeout(Duration::from_secs(5)))
}

fn request(message: Message) -> AnalyzeRequest {
    AnalyzeRequest { message: Some(message) }
}

/// Sends chunk after chunk when it is due; ends when the recording does, which ends the call, or when nobody listens any more.
async fn send(audio: Audio, chunk: Duration, speed: f64, sender: mpsc::Sender<AnalyzeRequest>) {
    let instants = (chunk.as_millis() * u128::from(audio.sample_rate_hz) / 1000).max(1);
    let bytes = usize::try_from(instants).unwrap_or(usize::MAX).saturating_mul(audio.bytes_per_instant());
    let begin = Instant::now();
    for (sequence, start) in (0..).zip((0..audio.data.len()).step_by(bytes)) {
        // Sent when its last sample would have been spoken.
        sleep_until(begin + chunk.mul_f64(f64::from(sequence + 1) / speed)).await;
        let data = audio.data.slice(start..audio.data.len().min(start + bytes));
        let chunk = pb::AudioChunk { data, sequence: Some(sequence.into()), ..Default::default() };
        if sender.send(request(Message::Audio(chunk))).await.is_err() {
            return;
        }
    }
}

/// How many times real time, as the command line writes it: positive and finite.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if f64::is_finite(speed) && speed > 0.0 => Ok(speed),
        _ => Err("expected a number above 0, such as 1 or 8".to_owned()),
    }
}

/// Reads the recording that is to be played, in as many channels as there are roles.
pub(crate) fn read(path: &Path, roles: &[Role]) -> anyhow::Result<Recording> {
    let recording = undertone::audio::file::read(path)?;
    let channels = recording.channels.len();
    if channels != roles.len() {
        let what = if channels == 1 { "1 channel" } else { &format!("{channels} channels") };
        let problem = format!("{} has {what}, but --roles names {}; name one a channel", path.display(), roles.len());
        return Err(super::Usage(problem).into());
    }
    Ok(recording)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_named_as_the_protocol_names_them() {
        assert_eq!(code_name(tonic::Code::FailedPrecondition), "FAILED_PRECONDITION");
        assert_eq!(code_name(tonic::Code::Ok), "OK");
    }

    #[test]
    fn roles_are_written_in_any_case_and_nothing_else_is_one() {
        assert_eq!("customer".parse(), Ok(Role(pb::Role::Customer)));
        assert_eq!("AGENT".parse(), Ok(Role(pb::Role::Agent)));
        assert!("caller".parse::<Role>().unwrap_err().contains("customer, agent"));
    }

    #[test]
    fn addresses_may_leave_the_scheme_out() {
        assert_eq!(endpoint("127.0.0.1:50051").unwrap().uri().to_string(), "http://127.0.0.1:50051/");
        assert!(endpoint("https://example.com").is_err());
        assert!(endpoint("ftp://127.0.0.1").unwrap_err().is::<crate::cli::Usage>());
        assert!(endpoint("http://a b").unwrap_err().to_string().contains("http://host:port"));
    }
}
