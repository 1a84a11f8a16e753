use std::{fs, time::Duration};

use super::{Config, Error, Flags, Invalid};
use crate::policy::Mode;

fn load(toml: &str) -> Result<Config, Error> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undertone.toml");
    fs::write(&file, toml).unwrap();
    Config::load(Some(&file), &Flags::default())
}

fn refusal(toml: &str) -> String {
    load(toml).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_valid_and_survive_toml() {
    let config = Config::default();
    config.validate().unwrap();
    assert_eq!(load(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn a_file_overrides_defaults_and_flags_override_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undertone.toml");
    let toml = "listen = '127.0.0.1:1'\nadmin = '[::1]:2'\nmodels = ['a']\n[session]\nidle_timeout = '1m 5s'";
    fs::write(&file, toml).unwrap();
    let flags = Flags { listen: Some("127.0.0.1:7".parse().unwrap()), models: vec!["b".into()], ..Flags::default() };
    let config = Config::load(Some(&file), &flags).unwrap();
    assert_eq!(config.listen, "127.0.0.1:7".parse().unwrap());
    assert_eq!(config.admin, "[::1]:2".parse().unwrap());
    assert_eq!(config.models, ["b"].map(std::path::PathBuf::from));
    assert_eq!(config.session.idle_timeout, Duration::from_secs(65));
    assert_eq!(config.session.max_legs, Config::default().session.max_legs);
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    for toml in ["lissten = '127.0.0.1:1'", "[session]\nmax_leg = 1", "[policy]\nrequire_notise = true"] {
        let text = refusal(toml);
        let key = toml.rsplit('\n').next().unwrap().split(' ').next().unwrap();
        assert!(text.contains(key) && text.contains("undertone.toml"), "{text}");
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let error = Config::load(Some("no/such.toml".as_ref()), &Flags::default()).unwrap_err();
    assert!(error.to_string().contains("no/such.toml"), "{error}");
}

#[test]
fn other_machines_reach_nothing_without_leave() {
    for key in ["listen", "admin"] {
        let text = refusal(&format!("{key} = '0.0.0.0:5'"));
        assert!(text.contains(key) && text.contains("allow_insecure = true"), "{text}");
        load(&format!("{key} = '0.0.0.0:5'\nallow_insecure = true")).unwrap();
    }
}

#[test]
fn what_is_out_of_range_is_named_with_its_range() {
    let cases = [
        ("listen = '127.0.0.1:5'\nadmin = '127.0.0.1:5'", "a port of its own"),
        ("[session]\nmax_legs = 0", "session.max_legs is 0, expected at least 1"),
        ("[session]\nevent_buffer = 0", "session.event_buffer"),
        ("[session]\nstatus_interval = '11s'", "session.status_interval is 11s, expected at most 10s"),
        ("[session]\nidle_timeout = '0s'", "session.idle_timeout is 0ns, expected more than 0s"),
        ("[session]\nmax_stream_age = '900ms'", "session.max_stream_age is 900ms, expected at least 1s"),
        (
            "[session]\nmax_stream_age = '1h'\nresume_grace = '0s'",
            "session.resume_grace is 0ns, expected more than 0s where",
        ),
        ("[session]\nhold_timeout = '1s'", "session.hold_timeout is 1s, expected at least session.idle_timeout, 30s"),
        ("drain_deadline = '2s'", "session.close_timeout is 5s, expected less than drain_deadline, 2s"),
        ("[alerts]\nreload_interval = '0s'", "alerts.reload_interval is 0ns, expected more than 0s"),
        ("[inference]\nthreads = 0", "threads is 0"),
        ("[inference]\nthreads = 100000", "threads is 100000, expected at most 1024"),
        ("[inference]\nmax_batch = 100000", "max_batch is 100000, expected at most 4096"),
        ("[inference]\nqueue_capacity = 1000000000", "queue_capacity is 1000000000, expected at most 524288"),
        ("[inference]\nmax_wait = '2s'", "max_wait"),
        ("[inference]\nprovider = 'gpu'", "tensorrt"),
        ("[shadow]\nmodel = 'next'\nshare = 0.0", "shadow.share is 0"),
        ("[policy]\nmode = 'AGENT_TRAINING'", "policy.attestation"),
        ("[policy]\nmode = 'AGENT_TRAINING'\nattestation = 'a'\n[journal]\nengine = 'none'", "needs a journal"),
        ("[journal]\npath = ''", "journal.path"),
        ("[journal]\nmax_bytes = 1", "journal.max_bytes is 1"),
        ("[journal]\nurl = '127.0.0.1:4222'", "journal.url"),
        ("[journal]\nstream = 'a.b'", "journal.stream"),
        ("[journal]\nnode = ''", "journal.node"),
        ("[journal]\nreplicas = 6", "journal.replicas is 6"),
        ("[journal]\nbuffer = 1", "journal.buffer is 1"),
        ("[journal.time_to_live]\nalert = '1s'", "journal.time_to_live.alert is 1s"),
        ("[webhook]\nurls = ['http://127.0.0.1:1/']", "UNDERTONE_WEBHOOK__SECRET"),
        (
            "[journal]\nengine = 'none'\n[webhook]\nurls = ['http://127.0.0.1:1/']\nsecret = 'at least sixteen characters'",
            "webhook.urls needs a journal",
        ),
        ("[log]\nfilter = 'undertone=loud'", "log.filter"),
        ("[log]\nfilter = 'loud'", "\"loud\" is no level"),
    ];
    for (toml, expected) in cases {
        let text = refusal(toml);
        assert!(text.contains(expected), "{toml:?} gave {text:?}");
    }
}

#[test]
fn by_default_whoever_was_killed_gives_his_place_back_within_a_minute() {
    let Config { session, http2, .. } = Config::default();
    let found_dead = http2.keepalive_interval + http2.keepalive_timeout;
    let kept = session.resume_grace.min(session.idle_timeout);
    // Then its last windows are waited for.
    let in_all = found_dead + kept + session.close_timeout;
    assert!(in_all <= Duration::from_secs(60), "{found_dead:?}, then {kept:?}: {in_all:?}");
}

#[test]
fn by_default_a_late_status_still_comes_within_ten_seconds() {
    assert!(Config::default().session.status_interval <= Duration::from_millis(9_500));
}

#[test]
fn an_attested_policy_is_taken() {
    let config = load("[policy]\nmode = 'MEDICAL_OR_SAFETY'\nattestation = 'ethics board, vote 12'").unwrap();
    assert_eq!(config.policy.mode, Mode::MedicalOrSafety);
    let unattested =
        Config { policy: crate::policy::Policy { mode: Mode::AgentTraining, ..Default::default() }, ..config };
    assert!(matches!(unattested.validate(), Err(Invalid::Policy(_))));
}
