//! The whole table, row by row.

use super::*;

const ROLES: [Role; 6] = [Role::Customer, Role::Agent, Role::Supervisor, Role::Bot, Role::Mixed, Role::Unspecified];
const MODES: [Mode; 3] = [Mode::CustomerOnly, Mode::AgentTraining, Mode::MedicalOrSafety];

fn told(role: Role) -> Circumstances {
    Circumstances { role, notice_given: true, consent: Consent::Unknown }
}

fn attested(mode: Mode) -> Policy {
    Policy {
        mode,
        attestation: "works council agreement 7, signed by the data protection officer".into(),
        ..Policy::default()
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Analyse(_) => "analyse",
        Verdict::Drop(NotScored::NotPermitted) => "drop",
        Verdict::Drop(_) => "dropped for another reason",
        Verdict::Refuse(Refusal::Mixed) => "mixed",
        Verdict::Refuse(Refusal::Unspecified) => "unspecified",
        Verdict::Refuse(Refusal::NoNotice) => "no notice",
        Verdict::Refuse(Refusal::NoConsent) => "no consent",
        Verdict::Refuse(Refusal::ConsentRefused) => "refused",
        Verdict::Refuse(Refusal::OnlyBots | Refusal::NothingToAnalyse { .. }) => "nothing",
    }
}

#[test]
fn every_role_under_every_mode() {
    let table = [
        ["analyse", "drop", "drop", "drop", "mixed", "unspecified"],
        ["analyse", "analyse", "analyse", "drop", "mixed", "unspecified"],
        ["analyse", "analyse", "analyse", "drop", "mixed", "unspecified"],
    ];
    for (mode, row) in MODES.into_iter().zip(table) {
        for (role, expected) in ROLES.into_iter().zip(row) {
            let verdict = attested(mode).judge(&told(role));
            assert_eq!(word(&verdict), expected, "{role} under {mode}");
            let strict = Policy { require_consent: true, ..attested(mode) };
            assert_eq!(strict.analyses(role), expected == "analyse", "{role} under {mode}");
            if let Verdict::Analyse(permit) = verdict {
                assert_eq!(permit.role(), role);
            }
        }
    }
}

#[test]
fn overrides_admit_what_they_name_and_nothing_else() {
    for (admit_mixed, admit_unspecified) in [(true, false), (false, true), (true, true)] {
        let policy = Policy { admit_mixed, admit_unspecified, ..Policy::default() };
        assert_eq!(word(&policy.judge(&told(Role::Mixed))), if admit_mixed { "analyse" } else { "mixed" });
        let expected = if admit_unspecified { "analyse" } else { "unspecified" };
        assert_eq!(word(&policy.judge(&told(Role::Unspecified))), expected);
        assert_eq!(word(&policy.judge(&told(Role::Agent))), "drop");
        assert_eq!(word(&policy.judge(&told(Role::Bot))), "drop");
    }
}

#[test]
fn notice_and_consent_go_before_the_role() {
    let consents = [Consent::Unknown, Consent::Given, Consent::Refused];
    for require_notice in [false, true] {
        for require_consent in [false, true] {
            let policy = Policy { require_notice, require_consent, ..Policy::default() };
            for role in ROLES {
                for notice_given in [false, true] {
                    for consent in consents {
                        let expected = match (consent, notice_given) {
                            (Consent::Refused, _) => "refused",
                            (_, false) if require_notice => "no notice",
                            (Consent::Unknown, _) if require_consent => "no consent",
                            _ => word(&policy.judge(&Circumstances {
                                role,
                                notice_given: true,
                                consent: Consent::Given,
                            })),
                        };
                        let verdict = policy.judge(&Circumstances { role, notice_given, consent });
                        assert_eq!(word(&verdict), expected, "{role} {notice_given} {consent:?} under {policy:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_mode_without_attestation_is_invalid_and_permits_no_agent() {
    assert_eq!(Policy::default().validate(), Ok(()));
    for mode in [Mode::AgentTraining, Mode::MedicalOrSafety] {
        assert_eq!(attested(mode).validate(), Ok(()));
        let policy = Policy { attestation: " \n".into(), ..attested(mode) };
        assert_eq!(policy.validate(), Err(Invalid::NoAttestation { mode }));
        assert_eq!(word(&policy.judge(&told(Role::Agent))), "drop");
    }
}

#[test]
fn a_call_is_refused_when_no_leg_may_be_analysed() {
    let policy = Policy::default();
    let refusal = policy.judge_call(&[told(Role::Agent)]).unwrap_err();
    assert_eq!(refusal, Refusal::NothingToAnalyse { roles: "AGENT".into(), mode: Mode::CustomerOnly });
    let text = refusal.to_string();
    assert!(text.contains("AGENT") && text.contains("policy.mode") && text.contains("CUSTOMER"), "{text}");
    assert!(policy.judge_call(&[told(Role::Agent), told(Role::Bot)]).is_err());
    assert!(policy.judge_call(&[]).is_err());
    // No mode would help.
    let bot = policy.judge_call(&[told(Role::Bot)]).unwrap_err().to_string();
    assert!(bot.contains("BOT never is") && !bot.contains("policy.mode"), "{bot}");
    assert_eq!(policy.judge_call(&[told(Role::Customer), told(Role::Mixed)]).unwrap_err(), Refusal::Mixed);
}

#[test]
fn a_call_keeps_its_legs_in_order() {
    let permits = Policy::default().judge_call(&[told(Role::Agent), told(Role::Customer)]).unwrap();
    assert!(matches!(&permits[0], Err(NotScored::NotPermitted)));
    assert!(matches!(&permits[1], Ok(permit) if permit.role() == Role::Customer));
}

#[test]
fn the_configuration_refuses_what_it_does_not_know() {
    let policy: Policy = toml::from_str("mode = 'AGENT_TRAINING'\nattestation = 'x'\nrequire_consent = true").unwrap();
    assert_eq!(policy.mode, Mode::AgentTraining);
    assert!(policy.require_notice && policy.require_consent);
    assert!(toml::from_str::<Policy>("require_notise = false").is_err());
    assert!(toml::from_str::<Policy>("mode = 'EVERYBODY'").is_err());
}

#[test]
fn telephone_numbers_are_known_as_they_are_written() {
    for number in ["+4930123456", "+1 (212) 555-0100", "tel:5550100", "sip:+4930123456@example.org", "SIP:5550100@x"] {
        assert!(is_telephone_number(number), "{number}");
    }
    for other in ["", "+", "+12", "4930123456", "c-1", "sip:alice@example.org", "+49 is Germany", "sales+2026"] {
        assert!(!is_telephone_number(other), "{other}");
    }
}
