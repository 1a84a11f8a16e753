//! The calls that live on other servers of the same journal.
//!
//! Every server tells its calls once a [`BEAT`], in as many messages as it takes; a picture of another server is taken over when all
//! messages of a beat are there, and forgotten when that server says that it goes, or says nothing for [`GONE`]. What is heard is
//! understood only when somebody looks.
//!
//! A beat is a lease too: a server that has said nothing for [`LEASE_BEATS`] of our own beats is taken for dead, and others may speak for
//! it. Silence is counted in our beats that came back to us, so that a NATS server which is away makes nobody dead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CallView, Sessions};
use crate::journal::Wire;

/// Time between two tellings.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// A lease, in beats: three times as long as a picture lasts, for what is said of the dead is not taken back.
pub(super) const LEASE_BEATS: u32 = 15;

/// After so long without a whole beat a server is taken for dead: four may be lost.
const GONE: Duration = Duration::from_secs(5);

/// Calls in a message. NATS takes 1 MiB unless configured otherwise; a call with all tags that it may have takes 8 KiB.
const CALLS: usize = 64;

/// The wait before the wire is listened to again.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of the others.
#[derive(Default)]
pub(super) struct Peers {
    /// By the run of the server, which no other run has.
    heard: Mutex<HashMap<String, Peer>>,
    leases: Mutex<Leases>,
}

/// Who was heard of, in time counted by our own beats.
#[derive(Default)]
struct Leases {
    own_beats: u32,
    /// By the server's name: our beat after which it was heard last.
    heard: HashMap<String, u32>,
    /// Whether those that were never heard have had their time.
    surveyed: bool,
}

/// What others told last, and who they are.
#[derive(Default)]
pub(super) struct Others {
    pub(super) parts: Vec<Arc<Part>>,
    pub(super) nodes: Vec<String>,
}

/// The calls in one message.
pub(super) struct Part {
    message: Bytes,
    understood: OnceLock<Vec<Arc<CallView>>>,
}

struct Peer {
    node: String,
    /// The beat whose messages come in now, by their place.
    beat: u64,
    parts: Vec<Option<Bytes>>,
    /// The last whole beat.
    whole: Option<Whole>,
}

struct Whole {
    at: Instant,
    parts: Vec<Arc<Part>>,
}

/// The first line of a message; the calls, as a JSON array, are the rest.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    node: String,
    run: String,
    beat: u64,
    part: usize,
    parts: usize,
    /// The server goes.
    #[serde(default)]
    gone: bool,
}

impl Sessions {
    /// Tells other servers of this one's calls, and hears of theirs, until `closing`.
    pub(crate) async fn keep_company(self, closing: CancellationToken) {
        let Some(wire) = self.journal().wire() else { return };
        let run = Uuid::new_v4().to_string();
        let (mut ticks, mut beat) = (tokio::time::interval(BEAT), 0);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !closing.is_cancelled() {
            let Some(mut heard) = wire.hear().await else {
                closing.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                continue;
            };
            loop {
                tokio::select! {
                    () = closing.cancelled() => break,
                    _ = ticks.tick() => {
                        beat += 1;
                        self.tell_beat(&wire, &run, beat).await;
                    }
                    message = heard.next() => match message {
                        Some(message) => self.shared.peers.hear(&message, &run, Instant::now()),
                        None => break,
                    },
                }
            }
        }
        let node = self.journal().node().to_owned();
        let farewell = Head { node, run, beat: beat + 1, part: 0, parts: 1, gone: true };
        wire.tell(message(&farewell, &[])).await;
    }

    async fn tell_beat(&self, wire: &Wire, run: &str, beat: u64) {
        let calls = self.own_view().await;
        let mut parts: Vec<&[Arc<CallView>]> = calls.chunks(CALLS).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for (part, calls) in parts.iter().enumerate() {
            let (node, run) = (self.journal().node().to_owned(), run.to_owned());
            let head = Head { node, run, beat, part, parts: parts.len(), gone: false };
            if !wire.tell(message(&head, calls)).await {
                return;
            }
        }
    }
}

impl Peers {
    /// Takes a message of any server but the run `own`.
    fn hear(&self, message: &Bytes, own: &str, now: Instant) {
        let Some((head, calls)) = opened(message) else {
            return tracing::warn!("another server told something that cannot be understood; run one version on all");
        };
        self.leases().hear(&head, own);
        if head.run == own {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // One of that name that was there before has died.
        heard.retain(|run, peer| *run == head.run || peer.node != head.node);
        if head.gone {
            heard.remove(&head.run);
            return;
        }
        let peer =
            heard.entry(head.run).or_insert_with(|| Peer { node: head.node, beat: 0, parts: Vec::new(), whole: None });
        if peer.beat != head.beat {
            (peer.beat, peer.parts) = (head.beat, vec![None; head.parts]);
        }
        if let Some(part) = peer.parts.get_mut(head.part) {
            *part = Some(calls);
        }
        if peer.parts.iter().all(Option::is_some) {
            let parts = std::mem::take(&mut peer.parts).into_iter().flatten();
            let parts = parts.map(|message| Arc::new(Part { message, understood: OnceLock::new() })).collect();
            peer.whole = Some(Whole { at: now, parts });
        }
    }

    /// Whether a server has fallen silent since this was asked last, or, once, may have been silent before we listened.
    pub(super) fn somebody_fell_silent(&self) -> bool {
        self.leases().somebody_fell_silent()
    }

    /// Whether this server's lease is over.
    pub(super) fn is_silent(&self, node: &str) -> bool {
        self.leases().is_silent(node)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What those told last that have told of themselves of late.
    pub(super) fn others(&self, now: Instant) -> Others {
        let mut others = Others::default();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, peer| peer.whole.as_ref().is_none_or(|whole| now.duration_since(whole.at) < GONE));
        for peer in heard.values() {
            let Some(whole) = &peer.whole else { continue };
            others.nodes.push(peer.node.clone());
            others.parts.extend(whole.parts.iter().cloned());
        }
        others.nodes.sort_unstable();
        others
    }
}

impl Leases {
    fn hear(&mut self, head: &Head, own: &str) {
        if head.run == own {
            self.own_beats += u32::from(head.part == 0);
        } else if head.gone {
            // It has told how everything ended.
            self.heard.remove(&head.node);
        } else {
            self.heard.insert(head.node.clone(), self.own_beats);
        }
    }

    fn somebody_fell_silent(&mut self) -> bool {
        let (own_beats, before) = (self.own_beats, self.heard.len());
        self.heard.retain(|_, last| own_beats - *last < LEASE_BEATS);
        let survey = !self.surveyed && own_beats >= LEASE_BEATS;
        self.surveyed |= survey;
        survey || self.heard.len() < before
    }

    fn is_silent(&self, node: &str) -> bool {
        let since = self.own_beats - self.heard.get(node).copied().unwrap_or_default();
        since >= LEASE_BEATS
    }
}

impl Part {
    /// The calls, understood once: [`CALLS`] at most, so that nobody is kept from the executor.
    pub(super) fn calls(&self) -> &[Arc<CallView>] {
        self.understood.get_or_init(|| match serde_json::from_slice::<Vec<CallView>>(&self.message) {
            Ok(calls) => calls.into_iter().map(Arc::new).collect(),
            Err(error) => {
                tracing::warn!(%error, "calls of another server cannot be understood; run one version on all");
                Vec::new()
            }
        })
    }
}

fn message(head: &Head, calls: &[Arc<CallView>]) -> Bytes {
    let calls: Vec<&CallView> = calls.iter().map(Arc::as_ref).collect();
    let mut message = serde_json::to_vec(head).expect("a head is plain data");
    message.push(b'\n');
    message.extend(serde_json::to_vec(&calls).expect("a call is plain data"));
    message.into()
}

/// The head of a message, and the rest of it.
fn opened(message: &Bytes) -> Option<(Head, Bytes)> {
    /// More parts than any server has calls for.
    const MOST: usize = 10_000;
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&message[..end]).ok()?;
    (1..=MOST).contains(&head.parts).then(|| (head, message.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn call(call_id: &str) -> Arc<CallView> {
        Arc::new(CallView {
            session_id: call_id.to_owned(),
            call_id: call_id.to_owned(),
            node: "a".to_owned(),
            tags: [("queue".to_owned(), "sales".to_owned())].into(),
            began_at: SystemTime::UNIX_EPOCH,
            model: "tiny".to_owned(),
            labels: vec!["angry".to_owned()],
            sample_rate_hz: 8000,
            legs: Vec::new(),
        })
    }

    fn told(run: &str, beat: u64, (part, parts): (usize, usize), calls: &[&str]) -> Bytes {
        let head = Head { node: "a".to_owned(), run: run.to_owned(), beat, part, parts, gone: false };
        let calls: Vec<_> = calls.iter().map(|call_id| call(call_id)).collect();
        message(&head, &calls)
    }

    fn known(peers: &Peers, now: Instant) -> Vec<String> {
        let parts = peers.others(now).parts;
        parts.iter().flat_map(|part| part.calls()).map(|call| call.call_id.clone()).collect()
    }

    #[test]
    fn a_beat_is_taken_over_when_all_of_it_is_there() {
        let (peers, now) = (Peers::default(), Instant::now());
        peers.hear(&told("1", 1, (0, 2), &["x"]), "own", now);
        assert_eq!(known(&peers, now), [""; 0]);
        peers.hear(&told("1", 1, (1, 2), &["y"]), "own", now);
        assert_eq!(known(&peers, now), ["x", "y"]);
        // The second part is lost: how it was before stands.
        peers.hear(&told("1", 2, (0, 2), &["z"]), "own", now);
        assert_eq!(known(&peers, now), ["x", "y"]);
        peers.hear(&told("1", 3, (0, 1), &["z"]), "own", now);
        assert_eq!(known(&peers, now), ["z"]);
        assert_eq!(peers.others(now).parts[0].calls(), [call("z")]);
    }

    #[test]
    fn a_server_that_is_silent_or_goes_or_runs_anew_is_forgotten() {
        let (peers, now) = (Peers::default(), Instant::now());
        peers.hear(&told("1", 1, (0, 1), &["x"]), "own", now);
        assert_eq!(peers.others(now).nodes, ["a"]);
        assert_eq!(known(&peers, now + GONE), [""; 0]);
        peers.hear(&told("1", 1, (0, 1), &["x"]), "own", now);
        peers.hear(&told("2", 1, (0, 1), &["y"]), "own", now);
        assert_eq!(known(&peers, now), ["y"]);
        let head = Head { node: "a".to_owned(), run: "2".to_owned(), beat: 2, part: 0, parts: 1, gone: true };
        peers.hear(&message(&head, &[]), "own", now);
        assert_eq!(known(&peers, now), [""; 0]);
    }

    #[test]
    fn a_lease_is_over_after_so_many_beats_of_our_own_and_no_sooner() {
        let (peers, now) = (Peers::default(), Instant::now());
        let own =
            |beats: u32| (0..beats).for_each(|beat| peers.hear(&told("own", beat.into(), (0, 1), &[]), "own", now));
        assert!(!peers.is_silent("a") && !peers.somebody_fell_silent());
        own(LEASE_BEATS - 1);
        assert!(!peers.is_silent("a") && !peers.somebody_fell_silent(), "not all that were there had time to speak");
        peers.hear(&told("1", 1, (0, 1), &[]), "own", now);
        own(1);
        assert!(peers.somebody_fell_silent(), "those that were never heard, once");
        assert!(!peers.somebody_fell_silent() && !peers.is_silent("a") && peers.is_silent("b"));
        // While our own beats do not come back, nobody is silent.
        assert!(!peers.is_silent("a"));
        own(LEASE_BEATS - 2);
        assert!(!peers.is_silent("a") && !peers.somebody_fell_silent());
        own(1);
        assert!(peers.is_silent("a") && peers.somebody_fell_silent() && !peers.somebody_fell_silent());
        // It is back, and goes as it should.
        peers.hear(&told("2", 1, (0, 1), &[]), "own", now);
        assert!(!peers.is_silent("a"));
        let head = Head { node: "a".to_owned(), run: "2".to_owned(), beat: 2, part: 0, parts: 1, gone: true };
        peers.hear(&message(&head, &[]), "own", now);
        own(LEASE_BEATS);
        assert!(!peers.somebody_fell_silent());
    }

    #[test]
    fn what_is_our_own_or_makes_no_sense_is_passed_over() {
        let (peers, now) = (Peers::default(), Instant::now());
        peers.hear(&told("own", 1, (0, 1), &["x"]), "own", now);
        for nonsense in ["", "{}\n[]", "no json\n[]"] {
            peers.hear(&Bytes::from(nonsense), "own", now);
        }
        peers.hear(&told("1", 1, (7, 1), &["x"]), "own", now);
        assert_eq!(known(&peers, now), [""; 0]);
    }
}
