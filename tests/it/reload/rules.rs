//! Alert rules read again.

use std::{fs, time::Duration};

use undertone::{
    journal::{Audit, Entry, Kind, Query, Record},
    model::manifest::{Manifest, sha256_hex},
    server::{
        Reloaded, Trigger,
        proto::{AlertReason, analyze_response::Message as Response},
    },
};

use super::{Folder, reload, serve_by};
use crate::{
    alerts::{always, put},
    harness::{Harness, voice},
};

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_changed_are_taken_by_the_same_reload() {
    let folder = Folder::new();
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, "").unwrap();
    let harness = Harness::with(|config| {
        config.models = vec![folder.path().to_owned()];
        config.alerts.rules = Some(rules.clone());
        // The file is not looked at meanwhile.
        config.alerts.reload_interval = Duration::from_secs(3600);
    })
    .await;
    let mut call = harness.acknowledged("c").await;
    call.speak(&voice(3.0)).await;
    call.event().await;
    put(&rules, &always());
    let told = harness.server.reload(Trigger::Signal).await.unwrap();
    assert!(told.rules_changed && told.changed.is_empty() && told.models.iter().all(|model| !model.loaded), "{told:?}");
    call.speak(&voice(4.0)).await;
    let closed = call.end().await;
    let fired =
        |response: &&Response| matches!(response, Response::Alert(alert) if alert.reason() == AlertReason::Rose);
    assert_eq!(closed.responses.iter().filter(fired).count(), 1);
    // Alerts name a rule by its version: another under the same one is taken, and told.
    let warned =
        |told: &Reloaded| told.warnings.iter().any(|line| line.contains("\"speech\"") && line.contains("version 1"));
    assert!(!warned(&told), "{told:?}");
    let other = always().replace("0.5", "0.6");
    put(&rules, &other);
    let told = harness.server.reload(Trigger::Signal).await.unwrap();
    assert!(told.rules_changed && warned(&told), "{told:?}");
    put(&rules, &format!("{other}cool_down_seconds = 5.0\nversion = 2\n"));
    let told = harness.server.reload(Trigger::Signal).await.unwrap();
    assert!(told.rules_changed && !warned(&told), "{told:?}");
    put(&rules, &always().replace("enter", "entre"));
    let refused = harness.server.reload(Trigger::Signal).await.unwrap_err().to_string();
    assert!(refused.contains("entre"), "{refused}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cannot_fire_are_refused_and_none_at_all_is_warned_of() {
    let folder = Folder::new();
    let rules = folder.path().join("rules.toml");
    put(&rules, &always());
    let harness = Harness::with(|config| {
        config.models = vec![folder.path().to_owned()];
        config.alerts.rules = Some(rules.clone());
        config.alerts.reload_interval = Duration::from_secs(3600);
    })
    .await;
    for (line, part) in [
        ("roles = ['BOT']", "line 6: rule \"speech\", roles: names \"BOT\""),
        ("roles = ['CUSTOMER', 'BOT']", "names \"BOT\""),
        ("half_life_seconds = 2.0\nusual_half_life_seconds = 2.0", "at least 5 times half_life_seconds, 10"),
    ] {
        put(&rules, &format!("{}{line}\n", always()));
        let (status, told) = reload(&harness).await;
        assert!(status == 422 && told["error"].as_str().unwrap().contains(part), "{told}");
    }
    put(&rules, "");
    for result in ["taken", "unchanged"] {
        let (status, told) = reload(&harness).await;
        assert_eq!((status, &told["result"]), (200, &result.into()), "{told}");
        assert!(told["warnings"][0].as_str().unwrap().contains("rules.toml holds no [[rule]]"), "{told}");
    }
    put(&rules, &always());
    let (_, told) = reload(&harness).await;
    assert_eq!(told["warnings"], serde_json::json!([]));
    // The journal says which rules these are, from the start on, whatever their version says.
    let of_rules = |entry: &Entry| match &entry.draft.record {
        Record::Audit(Audit::Started { rules, .. }) => Some(format!("at the start: {rules}")),
        Record::Audit(Audit::Reloaded { what, version }) if what == "rules" => Some(version.clone()),
        _ => None,
    };
    let told = async || {
        let audits = Query { kinds: vec![Kind::Audit], ..Query::default() };
        let audits = harness.server.sessions().journal().read_all(audits).await.unwrap();
        audits.iter().filter_map(of_rules).collect::<Vec<String>>()
    };
    let [none, some] = [String::new(), always()].map(|text| sha256_hex(text.as_bytes()));
    let some = format!("speech 1, SHA-256 {some}");
    eventually!(told().await, [format!("at the start: {some}"), format!("SHA-256 {none}"), some.clone()]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_rules_is_warned_of_by_its_name_though_the_one_before_had_none_either() {
    let folder = Folder::new();
    let (file, none) = (folder.path().join("undertone.toml"), ["first.toml", "second.toml"]);
    none.iter().for_each(|name| put(&folder.path().join(name), ""));
    let named = |name: &str| fs::write(&file, format!("[alerts]\nrules = {:?}\n", folder.path().join(name))).unwrap();
    named(none[0]);
    let harness = serve_by(&file, &folder).await;
    for name in none {
        named(name);
        let warning = reload(&harness).await.1["warnings"][0].to_string();
        assert!(warning.contains(&format!("{name} holds no [[rule]]")), "{warning}");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_rule_is_warned_of_whose_emotion_no_model_knows() {
    let folder = Folder::new();
    let file = folder.path().join("undertone.toml");
    fs::write(&file, "").unwrap();
    let harness = serve_by(&file, &folder).await;
    assert_eq!(reload(&harness).await.1["warnings"], serde_json::json!([]));
    let mut manifest = Manifest::load(folder.path()).unwrap();
    manifest.labels[0] = "cross".to_owned();
    manifest.save(folder.path()).unwrap();
    let (_, told) = reload(&harness).await;
    let warning = told["warnings"][0].as_str().unwrap_or_else(|| panic!("{told}"));
    let is_named = ["\"anger\"", "\"angry\"", "cross", "never fire"].iter().all(|part| warning.contains(part));
    assert!(is_named, "{warning}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_roles_that_the_policy_keeps_out_is_warned_of() {
    let folder = Folder::new();
    let (file, rules) = (folder.path().join("undertone.toml"), folder.path().join("rules.toml"));
    let configure = |policy: &str| {
        fs::write(&file, format!("[alerts]\nrules = {rules:?}\nreload_interval = '1h'\n[policy]\n{policy}")).unwrap();
    };
    let of_roles = |roles: &str| put(&rules, &format!("{}roles = [{roles}]\n", always()));
    configure("");
    of_roles("'CUSTOMER'");
    let harness = serve_by(&file, &folder).await;
    let warned = async || {
        let (status, told) = reload(&harness).await;
        assert_eq!(status, 200, "{told}");
        let lines = told["warnings"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        lines.filter(|line| line.contains("never fire")).collect::<Vec<String>>()
    };
    assert!(warned().await.is_empty());
    of_roles("'AGENT', 'SUPERVISOR'");
    let [line] = &warned().await[..] else { panic!("no warning, or more than one") };
    assert!(
        line.starts_with("rule \"speech\" is for AGENT, SUPERVISOR alone") && line.contains("CUSTOMER_ONLY"),
        "{line}"
    );
    // It fires for those of its roles that are heard.
    of_roles("'AGENT', 'CUSTOMER'");
    assert!(warned().await.is_empty());
    for (role, policy) in [
        ("'MIXED'", "admit_mixed = true\n"),
        ("'UNSPECIFIED'", "admit_unspecified = true\n"),
        ("'AGENT'", "mode = 'AGENT_TRAINING'\nattestation = 'works council, 2026-03-01'\n"),
    ] {
        configure("");
        of_roles(role);
        assert_eq!(warned().await.len(), 1, "{role}");
        configure(policy);
        assert!(warned().await.is_empty(), "{role} under {policy}");
    }
    harness.stop().await;
}
