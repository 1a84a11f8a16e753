use super::*;
use crate::{
    decision::alert::Severity,
    journal::{Began, Evidence},
    policy::Role,
};

fn entry(sequence: u64, node: &str, record: Record) -> Entry {
    let draft = Draft::new(SystemTime::now(), record).of_leg("c", "customer", None);
    Entry { sequence, node: node.to_owned(), draft }
}

fn alert(alert_id: &str, revision: u32, state: State) -> Record {
    let evidence = Evidence {
        start_samples: 0,
        end_samples: 8000,
        windows: 1,
        speech_seconds: 1.0,
        speech_ratio: 1.0,
        level: 0.6,
        usual: 0.0,
        peak: 0.6,
        peak_end_samples: 8000,
        scores: Vec::new(),
        snr_db: None,
        model: "tiny".to_owned(),
        sha256: String::new(),
    };
    Record::Alert(Box::new(Alert {
        alert_id: alert_id.to_owned(),
        revision,
        rule: "anger".to_owned(),
        rule_version: 1,
        role: Role::Customer,
        tags: BTreeMap::new(),
        state,
        severity: Severity::Warning,
        reason: Reason::Rose,
        sample_rate_hz: 8000,
        fired_samples: 8000,
        changed_samples: 8000,
        actor: None,
        actor_reason: None,
        snoozed_until: None,
        evidence,
    }))
}

fn began(session_id: Uuid) -> Record {
    Record::Began(Began {
        session_id,
        role: Role::Customer,
        analysed: true,
        tags: BTreeMap::new(),
        sample_rate_hz: 8000,
        model: "tiny".to_owned(),
        sha256: String::new(),
    })
}

fn ended(session_id: Uuid) -> Record {
    let Some(Draft { record, .. }) = lost(&entry(1, "a", began(session_id))) else { panic!() };
    record
}

fn open(kept: impl IntoIterator<Item = Entry>) -> Open {
    let mut open = Open::default();
    kept.into_iter().for_each(|entry| open.see(entry));
    open
}

/// Revisions of the ends of alerts of a server that died, by alert.
fn resolutions(kept: &[Entry], died: &str) -> Vec<(String, u32)> {
    let (_, resolved) = open(kept.to_vec()).ends(|node| node == died);
    let told = resolved.into_iter().map(|draft| match draft.record {
        Record::Alert(alert) => (alert.alert_id.clone(), alert.revision),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn an_alert_is_the_servers_on_which_it_fired_whoever_wrote_of_it_last() {
    let kept = [
        entry(1, "a", alert("1", 1, State::Firing)),
        entry(2, "a", alert("2", 1, State::Firing)),
        entry(3, "b", alert("3", 1, State::Firing)),
        entry(4, "b", alert("1", 2, State::Resolved)),
        entry(5, "b", alert("2", 2, State::Acknowledged)),
    ];
    assert_eq!(resolutions(&kept, "a"), [("2".to_owned(), 3)]);
    assert_eq!(resolutions(&kept, "b"), [("3".to_owned(), 2)]);
    assert_eq!(resolutions(&kept, "c"), []);
}

#[test]
fn what_was_stored_behind_what_came_after_it_opens_nothing_again() {
    let session = Uuid::new_v4();
    let kept = [
        entry(1, "a", ended(session)),
        entry(2, "a", began(session)),
        entry(3, "a", alert("1", 1, State::Firing)),
        entry(4, "a", alert("1", 3, State::Resolved)),
        entry(5, "a", alert("1", 2, State::Firing)),
        entry(6, "a", alert("2", 1, State::Firing)),
        entry(7, "a", alert("2", 3, State::Snoozed)),
        entry(8, "a", alert("2", 2, State::Acknowledged)),
    ];
    assert_eq!(resolutions(&kept, "a"), [("2".to_owned(), 4)]);
    let (lost, _) = open(kept).ends(|_| true);
    assert_eq!(lost, []);
}

#[test]
fn of_a_day_of_calls_only_those_are_held_that_are_not_over() {
    let of_call = |n: u64| {
        let (session, name) = (Uuid::from_u128(u128::from(n)), n.to_string());
        let mut records = vec![began(session), alert(&name, 1, State::Firing)];
        if !n.is_multiple_of(1000) {
            records.extend([alert(&name, 2, State::Resolved), ended(session)]);
        }
        records.into_iter().enumerate().map(move |(place, record)| entry(4 * n + place as u64, "a", record))
    };
    let open = open((0..25_000).flat_map(of_call));
    assert_eq!((open.legs.len(), open.alerts.len(), open.over.len()), (25, 25, 2 * 24_975));
    let (lost, resolved) = open.ends(|_| true);
    assert_eq!((lost.len(), resolved.len()), (25, 25));
}

#[test]
fn whoever_tells_of_an_end_tells_it_under_the_same_id() {
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let id = |record: Record, tell: fn(&Entry) -> Option<Draft>| tell(&entry(1, "a", record)).unwrap().id;
    assert_eq!(id(began(one), lost), id(began(one), lost));
    assert_ne!(id(began(one), lost), id(began(other), lost));
    assert_eq!(id(alert("x", 1, State::Firing), resolved), id(alert("x", 3, State::Snoozed), resolved));
    assert_ne!(id(alert("x", 1, State::Firing), resolved), id(alert("y", 1, State::Firing), resolved));
    let told = resolved(&entry(1, "a", alert("x", 3, State::Snoozed))).unwrap();
    let Record::Alert(told) = told.record else { panic!("{told:?}") };
    assert_eq!((told.revision, told.state, told.reason), (4, State::Resolved, Reason::CallEnded));
}
