//! Pages of a journal in JetStream where messages come late, or their counts are wrong: none leaves an entry out.

use futures_util::StreamExt as _;
use undertone::journal::{Journal, Options, Query};

use crate::{
    harness::within,
    journal::{open, timeline},
    nats::Nats,
    relay::{Relay, Way},
};

/// What the journal asks for a page's messages with, and nobody else.
const PULL: &str = "\"no_wait\":true";

/// A journal that reaches NATS by a relay.
async fn behind_a_relay(nats: &Nats) -> (Journal, Relay) {
    let relay = Relay::to(nats.address()).await;
    let url = format!("nats://{}", relay.address());
    (open(&Options { url, node: Some("b".to_owned()), ..nats.options() }).await, relay)
}

/// Has so many entries appended of either of two calls, in turns; returns where they are.
async fn two_calls(nats: &Nats, entries: usize) -> Vec<u64> {
    let journal = open(&nats.options()).await;
    let appended = journal.append((0..entries).flat_map(|_| [timeline("c"), timeline("d")]).collect()).await.unwrap();
    journal.close().await;
    appended
}

/// Reads what a query takes, page by page; returns where the entries are.
async fn read(journal: &Journal, query: Query) -> Vec<u64> {
    let entries = within("the pages", journal.read_all(query)).await.unwrap();
    entries.into_iter().map(|entry| entry.sequence).collect()
}

fn is_pull(message: &async_nats::Message) -> bool {
    std::str::from_utf8(&message.payload).unwrap().contains(PULL)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_for_its_batch_is_read_all_the_same() {
    // All of a batch comes late, or the rest of it.
    for in_time in [0, 20_000] {
        let Some(nats) = Nats::start() else { return };
        let appended = two_calls(&nats, 300).await;
        let client = async_nats::connect(nats.url()).await.unwrap();
        let mut asked = client.subscribe("$JS.API.*.MSG.>").await.unwrap();
        client.flush().await.unwrap();
        let (journal, relay) = behind_a_relay(&nats).await;
        // It follows the stream, and asks nothing else for it while nothing is appended.
        while !within("a pull", asked.next()).await.unwrap().subject.starts_with("$JS.API.CONSUMER") {}
        relay.holds_up(PULL, in_time);
        let mend = async {
            while !is_pull(&within("a pull", asked.next()).await.unwrap()) {}
            // For who asks again, for messages or whether there are any, that batch is over.
            loop {
                let again = within("another request", asked.next()).await.unwrap();
                if is_pull(&again) || again.subject.starts_with("$JS.API.STREAM") {
                    break;
                }
            }
            assert_eq!(relay.way(), Way::Told(0));
            relay.becomes(Way::Open);
        };
        let query = Query { limit: 200, ..Query::default() };
        let (sequences, ()) = tokio::join!(read(&journal, query), mend);
        assert_eq!(sequences, appended, "{in_time} bytes in time");
        journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_page_is_not_the_last_because_nothing_is_counted_after_it() {
    let Some(nats) = Nats::start() else { return };
    let appended = two_calls(&nats, 300).await;
    let of_c: Vec<u64> = appended.iter().copied().step_by(2).collect();
    let (journal, relay) = behind_a_relay(&nats).await;
    relay.counts_nothing();
    for limit in [100, 299, 300, 301] {
        let query = Query { call_id: Some("c".to_owned()), limit, ..Query::default() };
        assert_eq!(read(&journal, query.clone()).await, of_c, "pages of {limit}");
        let page = journal.read(query).await.unwrap();
        let last = if limit < 300 { of_c[limit - 1] } else { appended[599] };
        assert_eq!((page.entries.len(), page.last, page.more), (limit.min(300), last, limit < 300));
    }
    journal.close().await;
}
