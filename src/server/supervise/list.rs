//! What is read rather than watched: calls, alerts, one call, one subject.

use std::{
    collections::{HashMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    journal::{self, Entry, Kind, Query, Record},
    server::{
        convert::{self, AlertFilter, CallFilter, Listing},
        proto,
        status::Problem,
    },
    session::{CallView, Denied, Sessions},
};

/// Where an alert's last change stands, and whether it is asked for: all that is held of each while they are read.
struct Standing {
    place: journal::Place,
    sequence: u64,
    passes: bool,
}

/// A page of calls that live, or of legs that have ended.
pub(super) async fn calls(
    sessions: &Sessions,
    listing: &Listing<CallFilter>,
) -> Result<proto::ListCallsResponse, Problem> {
    let view = sessions.view_now().await;
    let mut response = proto::ListCallsResponse { nodes: view.nodes.clone(), ..Default::default() };
    if listing.ended {
        (response.ended, response.next_page_token) = ended_legs(sessions, listing).await?;
        return Ok(response);
    }
    let mut last = 0;
    for call in view.calls.iter().filter(|call| listing.filter.takes(call) && place(call) > listing.after) {
        // Calls that began together stand in one page.
        if response.live.len() >= listing.size && place(call) != last {
            response.next_page_token = last.to_string();
            break;
        }
        last = place(call);
        response.live.push(convert::live_call(call));
    }
    Ok(response)
}

/// When a call began, in nanoseconds since 1970: what calls are ordered by.
fn place(call: &CallView) -> u64 {
    nanoseconds(call.began_at)
}

fn nanoseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

async fn ended_legs(
    sessions: &Sessions,
    listing: &Listing<CallFilter>,
) -> Result<(Vec<proto::EndedLeg>, String), Problem> {
    let mut legs = Vec::new();
    let mut query =
        Query { after: listing.after, since: Some(listing.since), kinds: vec![Kind::Call], ..Query::default() };
    loop {
        let page = sessions.journal().read(query.clone()).await?;
        for entry in &page.entries {
            let Record::Ended(ended) = &entry.draft.record else { continue };
            if !listing.filter.takes_ended(entry, ended) {
                continue;
            }
            legs.push(convert::ended_leg(entry, ended));
            if legs.len() >= listing.size {
                return Ok((legs, entry.sequence.to_string()));
            }
        }
        if !page.more {
            return Ok((legs, String::new()));
        }
        query.after = page.last;
    }
}

/// A page of alerts, each as its last change left it.
pub(super) async fn alerts(
    sessions: &Sessions,
    listing: &Listing<AlertFilter>,
) -> Result<proto::ListAlertsResponse, Problem> {
    // Before it is read, and no further: whoever watches from there on misses nothing.
    let last_sequence = sessions.journal().last_sequence().await?;
    let query = Query {
        until: Some(last_sequence),
        since: Some(listing.since),
        kinds: vec![Kind::Alert],
        call_id: listing.filter.call_id.clone(),
        ..Query::default()
    };
    let mut standing: HashMap<String, Standing> = HashMap::new();
    let see = |entry: Entry| {
        let Record::Alert(alert) = &entry.draft.record else { return };
        let (place, sequence) = (alert.place(), entry.sequence);
        if standing.get(&alert.alert_id).is_none_or(|known| place > known.place) {
            let passes = sequence > listing.after && listing.filter.takes(&entry, alert);
            standing.insert(alert.alert_id.clone(), Standing { place, sequence, passes });
        }
    };
    sessions.journal().each(query.clone(), see).await?;
    let passing = standing.values().filter(|standing| standing.passes);
    let mut sequences: Vec<u64> = passing.map(|standing| standing.sequence).collect();
    drop(standing);
    sequences.sort_unstable();
    let more = sequences.len() > listing.size;
    sequences.truncate(listing.size);
    let next = sequences.last().filter(|_| more).map(u64::to_string);
    let mut alerts = Vec::with_capacity(sequences.len());
    if let (Some(first), Some(last)) = (sequences.first(), sequences.last()) {
        let query = Query { after: first - 1, until: Some(*last), since: None, ..query };
        let sequences: HashSet<u64> = sequences.iter().copied().collect();
        let see = |entry: Entry| {
            if sequences.contains(&entry.sequence) {
                alerts.extend(convert::alert_entry(&entry));
            }
        };
        sessions.journal().each(query, see).await?;
    }
    Ok(proto::ListAlertsResponse {
        alerts,
        next_page_token: next.unwrap_or_default(),
        last_sequence: convert::count(last_sequence),
    })
}

/// All that is kept of a call.
pub(super) async fn call(sessions: &Sessions, call_id: String) -> Result<proto::GetCallResponse, Problem> {
    let entries = sessions.journal().call(&call_id).await?;
    let view = sessions.view_now().await;
    let live: Vec<_> =
        view.calls.iter().filter(|call| call.call_id == call_id).map(|call| convert::live_call(call)).collect();
    let registration = sessions.registration(&call_id).map(|known| convert::registration(&known));
    let (legs, alerts) = (convert::kept_legs(&entries), entries.iter().filter_map(convert::alert_entry).collect());
    if live.is_empty() && legs.is_empty() && registration.is_none() {
        return Err(Denied::Unknown { what: "call", id: call_id }.into());
    }
    Ok(proto::GetCallResponse { call_id, live, legs, alerts, registration })
}

/// The summaries of a subject's calls.
pub(super) async fn subject(sessions: &Sessions, subject: &str) -> Result<Vec<proto::EndedLeg>, Problem> {
    let entries = sessions.journal().subject(subject).await?;
    let summary = |entry: &Entry| match &entry.draft.record {
        Record::Subject(ended) => Some(convert::ended_leg(entry, ended)),
        _ => None,
    };
    Ok(entries.iter().filter_map(summary).collect())
}
