//! From the API's messages to the domain's, every field checked against the range that its comment promises.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;

use crate::{
    audio::Encoding,
    call::Control,
    decision::LONGEST_STRIDE,
    policy::{self, Consent, Role},
    server::{proto, status::Problem},
    session::{AcknowledgedLeg, Input, LegRequest, Recording, Request},
};

const SAMPLE_RATES_HZ: RangeInclusive<i32> = 8_000..=48_000;
const STRIDES: RangeInclusive<Duration> = Duration::from_millis(250)..=LONGEST_STRIDE;
const DEFAULT_STRIDE: Duration = Duration::from_millis(500);
const MAX_CHUNK_BYTES: usize = 256 * 1024;
const MAX_RECORDING_BYTES: usize = 4 * 1024 * 1024;
const MAX_RECORDING_SECONDS: usize = 60;
pub(super) const MAX_CALL_ID: usize = 128;
pub(super) const MAX_LEG_ID: usize = 64;
pub(super) const MAX_SUBJECT: usize = 128;
pub(super) const MAX_TAGS: usize = 16;
const MAX_TAG_KEY: usize = 64;
const MAX_TAG_VALUE: usize = 256;
const MAX_METHOD: usize = 64;
/// What RFC 5646 (4.4.1) has everybody take.
const MAX_LANGUAGE: usize = 35;
/// 2000-01-01, in seconds since 1970: years before the first call that was analysed so; 0 and the like are clocks and fields that nobody set. A
/// recording of any later year may be played.
const FIRST_SAID_SECONDS: i64 = 946_684_800;
/// A client's clock may be so far ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// What a call asks for.
pub(in crate::server) fn call(config: proto::AnalyzeConfig) -> Result<Request, Problem> {
    // First, for a number is unwelcome for more than its characters.
    pseudonymous("config.call_id", &config.call_id)?;
    identifier("config.call_id", &config.call_id, MAX_CALL_ID)?;
    let (encoding, sample_rate_hz, channels) = format("config.audio", config.audio.as_ref())?;
    tags("config.tags", &config.tags)?;
    let language = config.language.as_deref().unwrap_or_default();
    length("config.language", language, 0..=MAX_LANGUAGE)?;
    pseudonymous("config.language", language)?;
    let stride = duration("config.stride", config.stride, &STRIDES)?.unwrap_or(DEFAULT_STRIDE);
    Ok(Request {
        legs: legs(&config.legs, channels)?,
        notice_given: notice("config.notice", config.notice.as_ref())?,
        consent: consent("config.consent", config.consent.as_ref())?,
        call_id: config.call_id,
        tags: config.tags.into_iter().collect(),
        encoding,
        sample_rate_hz,
        stride,
        model: config.model,
        takeover: config.takeover.unwrap_or(false),
    })
}

/// One message of a call that has begun, with these legs.
pub(in crate::server) fn input(request: proto::AnalyzeRequest, legs: &[AcknowledgedLeg]) -> Result<Input, Problem> {
    use proto::analyze_request::Message;
    match request.message {
        None => Err(no_message()),
        Some(Message::Config(_)) => Err(Problem::SecondConfig),
        Some(Message::Audio(chunk)) => {
            if chunk.data.len() > MAX_CHUNK_BYTES {
                let (actual, limit) = (chunk.data.len(), MAX_CHUNK_BYTES);
                return Err(Problem::invalid("audio.data", format!("{actual} bytes; a chunk has 0 to {limit} bytes")));
            }
            Ok(Input::Audio {
                sequence: position("audio.sequence", chunk.sequence)?,
                media_offset_samples: position("audio.media_offset_samples", chunk.media_offset_samples)?,
                data: chunk.data,
            })
        }
        Some(Message::Control(control)) => {
            let leg = control.leg_id.map(|leg_id| leg_index(legs, &leg_id)).transpose()?;
            use proto::ControlAction as Action;
            Ok(match Action::try_from(control.action) {
                Ok(Action::Hold) => Input::Control(Control::Hold, leg),
                Ok(Action::Resume) => Input::Control(Control::Resume, leg),
                Ok(Action::Flush) => Input::Control(Control::Flush, leg),
                Ok(Action::WithdrawConsent) => Input::Control(Control::WithdrawConsent, leg),
                Ok(Action::End) => Input::End,
                Ok(Action::Unspecified) | Err(_) => {
                    let range = "one of HOLD, RESUME, FLUSH, END, WITHDRAW_CONSENT";
                    return Err(Problem::invalid("control.action", range));
                }
            })
        }
    }
}

/// What is kept must not hold telephone numbers: nothing that is written as one is taken for an id or a label.
pub(super) fn pseudonymous(field: &str, value: &str) -> Result<(), Problem> {
    if policy::is_telephone_number(value) {
        return Err(Problem::invalid(field, "a telephone number is never taken; send a pseudonym in its place"));
    }
    Ok(())
}

/// Nobody's emotions at work are kept over time, whatever the policy's mode.
pub(super) fn subject_of_another(field: String, role: Role) -> Problem {
    let range = "only a leg whose role is CUSTOMER has a subject, for nothing is kept of people at work over time; leave the subject out, or set \
                 the role to CUSTOMER if that is who speaks";
    Problem::invalid(field, format!("role {role}; {range}"))
}

/// A message without content.
pub(in crate::server) fn no_message() -> Problem {
    Problem::invalid("message", "one of config, audio, control must be set")
}

/// A recording to classify.
pub(in crate::server) fn recording(request: proto::ClassifyRequest) -> Result<Recording, Problem> {
    let (encoding, sample_rate_hz, channels) = format("audio", request.audio.as_ref())?;
    if channels != 1 {
        return Err(Problem::invalid("audio.channels", format!("{channels}; a recording has 1 channel")));
    }
    let bytes = request.data.len();
    if bytes > MAX_RECORDING_BYTES {
        return Err(Problem::invalid("data", format!("{bytes} bytes; a recording has at most {MAX_RECORDING_BYTES}")));
    }
    let samples = bytes / encoding.bytes_per_sample();
    if samples > MAX_RECORDING_SECONDS * sample_rate_hz as usize {
        let seconds = samples as f64 / f64::from(sample_rate_hz);
        let range = format!("{seconds:.1} s; a recording has at most {MAX_RECORDING_SECONDS} s: stream it by Analyze");
        return Err(Problem::invalid("data", range));
    }
    Ok(Recording {
        encoding,
        sample_rate_hz,
        role: role("role", request.role)?,
        notice_given: notice("notice", request.notice.as_ref())?,
        consent: consent("consent", request.consent.as_ref())?,
        data: request.data,
        model: request.model,
    })
}

fn format(field: &str, audio: Option<&proto::AudioFormat>) -> Result<(Encoding, u32, usize), Problem> {
    let Some(audio) = audio else {
        return Err(Problem::invalid(field, "must be set: encoding and sample_rate_hertz"));
    };
    let encoding = match proto::Encoding::try_from(audio.encoding) {
        Ok(proto::Encoding::Linear16) => Encoding::Linear16,
        Ok(proto::Encoding::Mulaw) => Encoding::Mulaw,
        Ok(proto::Encoding::Alaw) => Encoding::Alaw,
        Ok(proto::Encoding::Unspecified) | Err(_) => {
            return Err(Problem::invalid(format!("{field}.encoding"), "one of LINEAR16, MULAW, ALAW"));
        }
    };
    let rate = audio.sample_rate_hertz;
    let (low, high) = (SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end());
    let sample_rate_hz = u32::try_from(rate).ok().filter(|_| SAMPLE_RATES_HZ.contains(&rate)).ok_or_else(|| {
        Problem::invalid(format!("{field}.sample_rate_hertz"), format!("{rate}; rates are {low} to {high} Hz"))
    })?;
    let channels = match audio.channels.unwrap_or(1) {
        1 => 1,
        2 => 2,
        other => {
            return Err(Problem::invalid(format!("{field}.channels"), format!("{other}; audio has 1 or 2 channels")));
        }
    };
    Ok((encoding, sample_rate_hz, channels))
}

fn legs(legs: &[proto::Leg], channels: usize) -> Result<Vec<LegRequest>, Problem> {
    if legs.len() != channels {
        let range = format!("{}; there is one leg a channel, with its role: {channels}", legs.len());
        return Err(Problem::invalid("config.legs", range));
    }
    let mut taken: Vec<LegRequest> = Vec::with_capacity(legs.len());
    for (index, leg) in legs.iter().enumerate() {
        let field = |name| format!("config.legs[{index}].{name}");
        let role = role(&field("role"), leg.role)?;
        let leg_id = leg.leg_id.clone().unwrap_or_else(|| role.as_str().to_ascii_lowercase());
        pseudonymous(&field("leg_id"), &leg_id)?;
        identifier(&field("leg_id"), &leg_id, MAX_LEG_ID)?;
        let subject = leg.subject.as_deref().unwrap_or("");
        length(&field("subject"), subject, 0..=MAX_SUBJECT)?;
        pseudonymous(&field("subject"), subject)?;
        if !subject.is_empty() && role != Role::Customer {
            return Err(subject_of_another(field("subject"), role));
        }
        if taken.iter().any(|other| other.leg_id == leg_id) {
            return Err(Problem::invalid(field("leg_id"), format!("{leg_id:?} twice; the legs of a call must differ")));
        }
        taken.push(LegRequest { leg_id, role, subject: leg.subject.clone().filter(|subject| !subject.is_empty()) });
    }
    Ok(taken)
}

fn leg_index(legs: &[AcknowledgedLeg], leg_id: &str) -> Result<usize, Problem> {
    legs.iter().position(|leg| leg.leg_id == leg_id).ok_or_else(|| {
        let known: Vec<&str> = legs.iter().map(|leg| leg.leg_id.as_str()).collect();
        Problem::invalid("control.leg_id", format!("{leg_id:?}; this call's legs are {}", known.join(", ")))
    })
}

pub(super) fn role(field: &str, role: i32) -> Result<Role, Problem> {
    Ok(match proto::Role::try_from(role) {
        // Left to the policy, which may admit it.
        Ok(proto::Role::Unspecified) => Role::Unspecified,
        Ok(proto::Role::Customer) => Role::Customer,
        Ok(proto::Role::Agent) => Role::Agent,
        Ok(proto::Role::Supervisor) => Role::Supervisor,
        Ok(proto::Role::Bot) => Role::Bot,
        Ok(proto::Role::Mixed) => Role::Mixed,
        Err(_) => return Err(Problem::invalid(field, "one of CUSTOMER, AGENT, SUPERVISOR, BOT, MIXED")),
    })
}

pub(super) fn notice(field: &str, notice: Option<&proto::Notice>) -> Result<bool, Problem> {
    let Some(notice) = notice else { return Ok(false) };
    let given_at = format!("{field}.given_at");
    let Some(time) = &notice.given_at else {
        return Err(Problem::invalid(given_at, "must be set: when the people in the call were told"));
    };
    said_at(&given_at, time)?;
    let method = format!("{field}.method");
    length(&method, &notice.method, 1..=MAX_METHOD)?;
    pseudonymous(&method, &notice.method)?;
    Ok(true)
}

pub(super) fn consent(field: &str, consent: Option<&proto::Consent>) -> Result<Consent, Problem> {
    let Some(consent) = consent else { return Ok(Consent::Unknown) };
    if let Some(time) = &consent.recorded_at {
        said_at(&format!("{field}.recorded_at"), time)?;
    }
    match proto::ConsentStatus::try_from(consent.status) {
        Ok(proto::ConsentStatus::Given) => Ok(Consent::Given),
        Ok(proto::ConsentStatus::Refused) => Ok(Consent::Refused),
        Ok(proto::ConsentStatus::Unspecified) | Err(_) => {
            Err(Problem::invalid(format!("{field}.status"), "one of GIVEN, REFUSED"))
        }
    }
}

/// A duration of this range, where one is asked for.
pub(super) fn duration(
    field: &str,
    asked: Option<prost_types::Duration>,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, Problem> {
    let Some(prost_types::Duration { seconds, nanos }) = asked else { return Ok(None) };
    // As google.protobuf.Duration defines it; prost would make 0.999999999 s of a second and -1 ns.
    if nanos.unsigned_abs() >= 1_000_000_000 || seconds.signum() * i64::from(nanos.signum()) < 0 {
        let range = "nanos are -999999999 to 999999999 and have the sign of seconds, where that is not 0";
        return Err(Problem::invalid(field, format!("{seconds} s and {nanos} ns; {range}")));
    }
    let taken = Duration::try_from(prost_types::Duration { seconds, nanos }).ok();
    taken.filter(|duration| range.contains(duration)).map(Some).ok_or_else(|| {
        let seconds = seconds as f64 + f64::from(nanos) * 1e-9;
        let (low, high) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        Problem::invalid(field, format!("{seconds} s; it is {low} s to {high} s"))
    })
}

pub(super) fn tags(field: &str, tags: &HashMap<String, String>) -> Result<(), Problem> {
    if tags.len() > MAX_TAGS {
        return Err(Problem::invalid(field, format!("{}; a call has at most {MAX_TAGS} tags", tags.len())));
    }
    for (key, value) in tags {
        length(&format!("{field}, a key"), key, 1..=MAX_TAG_KEY)?;
        pseudonymous(&format!("{field}, a key"), key)?;
        length(&format!("{field}, a value"), value, 0..=MAX_TAG_VALUE)?;
        pseudonymous(&format!("{field}, a value"), value)?;
    }
    Ok(())
}

pub(super) fn timestamp(field: &str, time: &Timestamp) -> Result<(), Problem> {
    // 0001-01-01 to 9999-12-31, as google.protobuf.Timestamp defines it.
    let valid = (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    if valid { Ok(()) } else { Err(Problem::invalid(field, "a time of the years 1 to 9999, nanos 0 to 999999999")) }
}

/// A time at which something was said to the people in a call.
fn said_at(field: &str, time: &Timestamp) -> Result<(), Problem> {
    timestamp(field, time)?;
    let latest = Timestamp::from(SystemTime::now() + CLOCKS_DIFFER);
    if (FIRST_SAID_SECONDS..=latest.seconds).contains(&time.seconds) {
        return Ok(());
    }
    Err(Problem::invalid(
        field,
        format!("{time}; it is a time since 2000, and at most 5 min ahead of this server's clock"),
    ))
}

pub(super) fn position(field: &str, position: Option<i64>) -> Result<Option<u64>, Problem> {
    let convert = |position| u64::try_from(position);
    position.map(convert).transpose().map_err(|_| Problem::invalid(field, "0 or more"))
}

pub(super) fn identifier(field: &str, value: &str, max: usize) -> Result<(), Problem> {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    if (1..=max).contains(&value.len()) && value.bytes().all(permitted) {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("1 to {max} characters of [A-Za-z0-9._:@-]")))
}

pub(super) fn length(field: &str, value: &str, range: RangeInclusive<usize>) -> Result<(), Problem> {
    let actual = value.chars().count();
    if range.contains(&actual) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    Err(Problem::invalid(field, format!("{actual} characters; it has {low} to {high}")))
}
