//! Follows the stream, and tells each entry once, whatever the connection does. A stream that somebody made anew is told from its first.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::{Link, Reached, stream::chain, unreachable};
use crate::journal::{Error, tail::Tail};

/// The server says so often that it is there, so that a lost consumer is found within twice that.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long one request for messages holds.
const EXPIRES: Duration = Duration::from_secs(5);
/// Messages asked for at once.
const BATCH: usize = 256;
/// How often it is looked whether the stream holds what was not delivered: NATS servers were seen to forget a message until the next came
/// (2.9.10). Twice that is how late an entry may then be.
const LOOK: Duration = Duration::from_secs(1);
/// The wait before a lost consumer is made again.
const AGAIN: Duration = Duration::from_millis(200);

/// Tells the entries after `reached`, in order, until `closing`.
pub(super) async fn follow(link: Link, mut reached: Reached, tail: Tail, closing: CancellationToken) {
    let mut lost = false;
    loop {
        let ended = tokio::select! {
            () = closing.cancelled() => return,
            ended = follow_one(&link, &mut reached, &tail, &mut lost) => ended,
        };
        if let Err(error) = ended
            && !lost
        {
            tracing::warn!(%error, "the journal's stream is lost, and looked for");
            lost = true;
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Tells what one consumer delivers, for as long as it delivers all.
async fn follow_one(link: &Link, reached: &mut Reached, tail: &Tail, lost: &mut bool) -> Result<(), Error> {
    let problem = |error: &(dyn std::error::Error + 'static)| unreachable(&link.url, chain(error));
    let now = link.reached().await?;
    if now.made_at != reached.made_at {
        tracing::warn!(
            last = reached.sequence,
            "the journal's stream was made anew; what it held before is gone, and it is followed from its first entry"
        );
        *reached = Reached { sequence: 0, ..now };
        tail.begin_anew();
    }
    let (last, mut there) = (&mut reached.sequence, now.sequence);
    let from = DeliverPolicy::ByStartSequence { start_sequence: *last + 1 };
    let consumer = link.consumer(None, from).await?;
    // What was purged is not delivered.
    *last = match link.next(&consumer, *last).await? {
        Some(next) => next - 1,
        None => there.max(*last),
    };
    let messages = consumer.stream().max_messages_per_batch(BATCH).heartbeat(HEARTBEAT).expires(EXPIRES).messages();
    let mut messages = messages.await.map_err(|error| problem(&error))?;
    if std::mem::take(lost) {
        tracing::info!("the journal's stream is found again");
    }
    let (mut delivered, mut looked_at) = (0, *last);
    let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            _ = looks.tick() => {
                if *last < there && *last == looked_at {
                    // Another consumer delivers it.
                    return Ok(());
                }
                looked_at = *last;
                there = link.last_sequence().await?;
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        let message = message.map_err(|error| problem(&error))?;
        let info = message.info().map_err(|error| problem(&*error))?;
        delivered += 1;
        if info.consumer_sequence != delivered {
            // A message got lost on the way, which another consumer delivers again.
            return Ok(());
        }
        if info.stream_sequence > *last + 1
            && link.next(&consumer, *last).await?.is_some_and(|next| next < info.stream_sequence)
        {
            // Left out, though it was not purged: a server that had just begun (2.9.10) was seen to do so. Another consumer delivers it.
            return Ok(());
        }
        if info.stream_sequence > *last {
            *last = info.stream_sequence;
            if let Some(entry) = link.entry(&message, *last) {
                tail.tell(entry);
            }
        }
    }
}
