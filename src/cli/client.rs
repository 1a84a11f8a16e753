//! The client's side of a call: a recording, how it is written on the wire, and what a server's refusals say. `call` and `demo` play it by
//! [`Playing`].

use std::{path::Path, str::FromStr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::ValueEnum;
use tonic::transport::Endpoint;
use undertone::{
    audio::{Encoding, codec, file::Recording, resample::resample},
    server::proto as pb,
};

mod playing;

pub(crate) use playing::Playing;

/// G.711 is the telephone's, and the telephone samples at this rate.
const TELEPHONE_HZ: u32 = 8000;

/// Of a call's audio, as the API has it.
const MOST_CHANNELS: usize = 2;

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
pub(crate) fn code_name(code: tonic::Code) -> String {
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
    if channels > MOST_CHANNELS {
        let problem = "a call has 1 or 2, one a party; make a file of those channels first";
        return Err(super::Usage(format!("{} has {channels} channels; {problem}", path.display())).into());
    }
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
