//! How often a watcher of calls is told: at the rate that he chose, by what was told to whom before what.

use std::time::{Duration, Instant};

use tonic::Streaming;
use undertone::server::proto as pb;

use super::Client;
use crate::harness::{Harness, voice, within};

/// A watcher of rounds.
struct Rounds {
    rounds: Streaming<pb::WatchCallsResponse>,
    asked_at: Instant,
    interval: Duration,
    seen: u32,
}

impl Rounds {
    async fn of(client: &mut Client, interval: Duration) -> Self {
        let asked_at = Instant::now();
        let request =
            pb::WatchCallsRequest { interval: prost_types::Duration::try_from(interval).ok(), ..Default::default() };
        let rounds = client.watch_calls(request).await.unwrap().into_inner();
        Self { rounds, asked_at, interval, seen: 0 }
    }

    /// The next whole round. However late the others come, it cannot come before its time: that is what it is held to.
    async fn next(&mut self) {
        loop {
            let told = within("a round", self.rounds.message()).await.unwrap().unwrap();
            let mut calls: Vec<&str> = told.calls.iter().map(|call| call.session_id.as_str()).collect();
            calls.sort_unstable();
            assert!(calls.is_sorted_by(|a, b| a < b), "a call twice in a round: {calls:?}");
            if told.last_of_round {
                break;
            }
        }
        let due = self.interval * self.seen;
        assert!(
            self.asked_at.elapsed() >= due,
            "round {} after {:?}, due at {due:?}",
            self.seen,
            self.asked_at.elapsed()
        );
        self.seen += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_calls_is_told_at_the_rate_that_he_chose() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    // Forty decisions are made at once: none of them is told before its round.
    let call = harness.call(crate::harness::customer("c")).await;
    let mut often = Rounds::of(&mut client, Duration::from_millis(100)).await;
    let mut seldom = Rounds::of(&mut client, Duration::from_secs(2)).await;
    seldom.next().await;
    call.speak(&voice(20.0)).await;
    let both = async {
        let second = seldom.next();
        tokio::pin!(second);
        loop {
            tokio::select! {
                () = &mut second => return,
                () = often.next() => {}
            }
        }
    };
    within("the second round", both).await;
    // Twenty were due; a busy machine may leave some out, and tells none faster.
    assert!(often.seen > 2 * seldom.seen, "{} rounds of 100 ms beside {} of 2 s", often.seen, seldom.seen);
    call.end().await;
    harness.stop().await;
}
