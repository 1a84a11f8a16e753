//! A NATS server that is not there, or does not answer, is noticed by a server that writes nothing, and so is its return.

use futures_util::StreamExt as _;
use undertone::journal::{Error, Options};

use crate::{
    harness::{Harness, within},
    journal::{open, timeline},
    nats::{Nats, purge},
};

/// A server with this journal that is ready.
async fn ready(options: Options) -> Harness {
    let harness = Harness::with(|config| config.journal = options).await;
    eventually!(harness.get("/readyz").0, 200);
    harness
}

/// Waits until it says that it is ready, or is not, for want of a journal.
async fn tells(harness: &Harness, writable: bool) {
    eventually!(harness.get("/readyz").0, if writable { 200 } else { 503 });
    assert_eq!(harness.metric("undertone_journal_writable "), if writable { "1" } else { "0" });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_notices_that_nats_was_killed_and_that_it_is_back() {
    let Some(mut nats) = Nats::start() else { return };
    let harness = ready(nats.options()).await;
    for _ in 0..2 {
        nats.kill();
        tells(&harness, false).await;
        nats.start_again();
        tells(&harness, true).await;
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_notices_that_nats_hangs_and_that_it_goes_on() {
    let Some(nats) = Nats::start() else { return };
    let harness = ready(nats.options()).await;
    nats.signal("-STOP");
    tells(&harness, false).await;
    nats.signal("-CONT");
    tells(&harness, true).await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_notices_that_its_stream_is_gone_and_that_somebody_made_it_anew() {
    let Some(nats) = Nats::start() else { return };
    let harness = ready(nats.options()).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context.delete_stream("UNDERTONE").await.unwrap();
    tells(&harness, false).await;
    let other = open(&Options { node: Some("b".to_owned()), ..nats.options() }).await;
    tells(&harness, true).await;
    other.close().await;
    harness.stop().await;
}

/// The connection is back, and nothing behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_comes_back_without_jetstream_is_no_journal() {
    let Some(mut nats) = Nats::start() else { return };
    let harness = ready(nats.options()).await;
    nats.kill();
    tells(&harness, false).await;
    nats.start_again_without_jetstream();
    let connected = async || async_nats::connect(nats.url()).await.ok();
    eventually!(connected().await.is_some(), true);
    let client = connected().await.unwrap();
    // Nobody else hears it there.
    let mut looks = client.subscribe("$JS.API.STREAM.INFO.UNDERTONE").await.unwrap();
    for _ in 0..4 {
        within("a look", looks.next()).await.unwrap();
    }
    tells(&harness, false).await;
    nats.kill();
    nats.start_again();
    tells(&harness, true).await;
    harness.stop().await;
}

/// It answers who looks, and has no room for a write that nobody tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_not_writable_until_there_is_room_in_it() {
    let Some(nats) = Nats::start() else { return };
    let journal = open(&Options { max_bytes: Some(64 * 4096), ..nats.options() }).await;
    let fill = async || {
        let error = loop {
            if let Err(error) = journal.append((0..100).map(|_| timeline("c")).collect()).await {
                break error;
            }
        };
        assert!(matches!(error, Error::Full { .. }), "{error}");
        assert!(!*journal.writable().borrow());
    };
    fill().await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut looks = client.subscribe("$JS.API.STREAM.INFO.UNDERTONE").await.unwrap();
    for _ in 0..8 {
        within("a look", looks.next()).await.unwrap();
        assert!(!*journal.writable().borrow(), "a full stream is told to be writable");
    }
    // Its bound is raised.
    let context = async_nats::jetstream::new(client);
    let mut config = context.get_stream("UNDERTONE").await.unwrap().cached_info().config.clone();
    config.max_bytes *= 2;
    context.update_stream(config).await.unwrap();
    eventually!(*journal.writable().borrow(), true);
    // Another server deletes something.
    fill().await;
    let other = open(&Options { node: Some("b".to_owned()), ..nats.options() }).await;
    purge(&other, "c").await.unwrap();
    eventually!(*journal.writable().borrow(), true);
    journal.append(vec![timeline("c")]).await.unwrap();
    other.close().await;
    journal.close().await;
}
