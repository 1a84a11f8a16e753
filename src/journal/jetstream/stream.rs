//! The connection and the stream.

use std::{error::Error as StdError, time::Duration};

use async_nats::{
    ConnectOptions, Event, ServerAddr,
    jetstream::{
        self, ErrorCode,
        context::GetStreamErrorKind,
        stream::{Config, DiscardPolicy, Source, StorageType, Stream},
    },
};
use tokio::sync::watch;

use super::{PATIENCE, subject::Subjects};
use crate::journal::{Error, Options};

/// The layout of subjects and messages that this program writes.
const NEWEST: i64 = 1;

/// How a stream of ours is described; the layout follows.
const DESCRIPTION: &str = "journal of Undertone, layout ";

/// Within this time a message that is published again is known by its id. Longer than a server is commonly out of reach; the ids
/// take about 100 bytes each of the NATS server's memory.
const DUPLICATES: Duration = Duration::from_secs(2 * 3600);

/// So long after the server's last word it is asked for one; at the third that does not come the connection is taken to be lost, and another server
/// of the cluster is tried.
const PING: Duration = Duration::from_secs(5);

/// The longest wait before a lost connection is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A failure that may mean that there is no room.
pub(super) trait Failure: StdError + 'static {
    fn is_full(&self) -> bool {
        let mut cause: Option<&(dyn StdError + 'static)> = self.source();
        while let Some(error) = cause {
            let code = error.downcast_ref::<jetstream::Error>().map(jetstream::Error::error_code);
            if code.is_some_and(|code| {
                [
                    ErrorCode::STREAM_STORE_FAILED,
                    ErrorCode::INSUFFICIENT_RESOURCES,
                    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
                ]
                .contains(&code)
            }) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl<T: StdError + 'static> Failure for T {}

/// Connects once; a server that is not there is an error now, and waited for later. `connected` tells whether the connection stands.
pub(super) async fn connect(
    options: &Options,
    node: &str,
    connected: watch::Sender<bool>,
) -> Result<async_nats::Client, String> {
    let addresses: Vec<ServerAddr> = options
        .url
        .split(',')
        .map(|address| address.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|error: std::io::Error| error.to_string())?;
    let mut connecting = ConnectOptions::new()
        .name(format!("undertone {node}"))
        .connection_timeout(PATIENCE)
        .ping_interval(PING)
        .reconnect_delay_callback(wait)
        .event_callback(move |event| {
            match event {
                Event::Connected => drop(connected.send_replace(true)),
                Event::Disconnected | Event::Closed => drop(connected.send_replace(false)),
                _ => {}
            }
            std::future::ready(())
        });
    if let Some(file) = &options.credentials {
        connecting = connecting
            .credentials_file(file)
            .await
            .map_err(|error| format!("journal.credentials {}: {error}", file.display()))?;
    }
    connecting.connect(addresses).await.map_err(|error| chain(&error))
}

/// How long is waited before the connection is tried so often.
fn wait(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_millis(10).saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT)
}

/// The stream of this name, made where there is none.
pub(super) async fn find_or_make(
    context: &jetstream::Context,
    options: &Options,
    subjects: &Subjects,
    url: &str,
) -> Result<Stream<()>, Error> {
    let refused = |problem| Error::Unreachable { url: url.to_owned(), problem };
    let name = &options.stream;
    match context.get_stream(name).await {
        Ok(stream) => check(&stream.cached_info().config, subjects, url)?,
        Err(error) if is_not_found(&error.kind()) => {
            let config = Config {
                name: name.clone(),
                description: Some(format!("{DESCRIPTION}{NEWEST}")),
                subjects: subjects.all().to_vec(),
                storage: StorageType::File,
                num_replicas: options.replicas,
                max_bytes: options.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
                // What has no room is told; nothing older makes way for it unasked.
                discard: DiscardPolicy::New,
                duplicate_window: DUPLICATES,
                deny_delete: true,
                allow_direct: true,
                ..Config::default()
            };
            // Another server may make it at the same time: the same configuration is no conflict.
            context.create_stream(config).await.map_err(|error| refused(chain(&error)))?;
        }
        Err(error) => return Err(refused(chain(&error))),
    }
    context.get_stream_no_info(name).await.map_err(|error| refused(chain(&error)))
}

/// A second stream beside the journal's, into which the NATS server copies every audit entry by itself, and from which it deletes
/// none, whoever asks. The journal's own must be purged of calls; what must stay known of them stays here even where somebody purges it
/// of everything.
pub(super) async fn keep_audits(
    context: &jetstream::Context,
    options: &Options,
    subjects: &Subjects,
    url: &str,
) -> Result<(), Error> {
    let refused = |problem| Error::Unreachable { url: url.to_owned(), problem };
    let source = Source { name: options.stream.clone(), filter_subject: Some(subjects.audit()), ..Source::default() };
    let config = Config {
        name: format!("{}_AUDIT", options.stream),
        description: Some("audit entries of Undertone's journal; none can be deleted".to_owned()),
        sources: Some(vec![source]),
        storage: StorageType::File,
        num_replicas: options.replicas,
        deny_delete: true,
        deny_purge: true,
        ..Config::default()
    };
    let name = config.name.clone();
    let stream = context.get_or_create_stream(config).await.map_err(|error| refused(chain(&error)))?;
    let found = &stream.cached_info().config;
    if !(found.deny_delete && found.deny_purge) {
        let problem = format!(
            "its stream {name:?} can be purged, and so cannot keep audit entries; set journal.stream to another name"
        );
        return Err(refused(problem));
    }
    Ok(())
}

fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Whether a stream that is there is ours, and one that this program can read.
fn check(config: &Config, subjects: &Subjects, url: &str) -> Result<(), Error> {
    let described = config.description.as_deref().and_then(|text| text.strip_prefix(DESCRIPTION)?.parse::<i64>().ok());
    match described {
        Some(actual) if actual > NEWEST => {
            Err(Error::Newer { place: format!("stream {} at {url}", config.name), actual, newest: NEWEST })
        }
        Some(_) if subjects.all().iter().all(|subject| config.subjects.contains(subject)) => Ok(()),
        _ => {
            let problem =
                format!("its stream {:?} is no journal of Undertone; set journal.stream to another name", config.name);
            Err(Error::Unreachable { url: url.to_owned(), problem })
        }
    }
}

/// Addresses without user, password or token.
pub(super) fn without_secrets(url: &str) -> String {
    let without = |address: &str| match address.trim().split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => address.trim().to_owned(),
    };
    url.split(',').map(without).collect::<Vec<_>>().join(",")
}

/// An error with what caused it, each told once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_address_holds_no_secret() {
        assert_eq!(
            without_secrets("nats://me:pass@a:1, tls://token@b:2,nats://c:3"),
            "nats://a:1,tls://b:2,nats://c:3"
        );
    }

    #[test]
    fn a_lost_connection_is_tried_at_once_and_then_every_other_second() {
        assert_eq!(wait(1), Duration::from_millis(10));
        assert_eq!(wait(3), Duration::from_millis(40));
        assert_eq!([wait(9), wait(usize::MAX)], [LONGEST_WAIT; 2]);
    }

    #[test]
    fn a_stream_of_another_kind_or_a_newer_version_is_refused() {
        let subjects = Subjects::of_stream("S");
        let config = |description: Option<&str>| Config {
            name: "S".to_owned(),
            description: description.map(str::to_owned),
            subjects: subjects.all().to_vec(),
            ..Config::default()
        };
        let checked = |description| check(&config(description), &subjects, "nats://a:1");
        assert_eq!(checked(Some("journal of Undertone, layout 1")), Ok(()));
        assert!(matches!(checked(Some("journal of Undertone, layout 9")), Err(Error::Newer { actual: 9, .. })));
        for foreign in [None, Some("orders")] {
            let error = checked(foreign).unwrap_err();
            assert!(error.to_string().contains("journal.stream"), "{error}");
        }
    }
}
