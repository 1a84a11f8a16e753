//! Who may be analysed at all: roles, notice, consent. Pure.
//!
//! A leg of a call can only be built from a [`Permit`], and only [`Policy::judge`] makes one. What it says of a leg, first match wins:
//!
//! | of the leg is known | verdict |
//! |---|---|
//! | consent refused | refuse the call |
//! | no notice, and the policy requires it | refuse the call |
//! | consent unknown, and the policy requires it | refuse the call |
//! | BOT | drop the leg, in every mode |
//! | AGENT or SUPERVISOR | drop the leg under CUSTOMER_ONLY, else analyse |
//! | MIXED | refuse the call unless `admit_mixed` |
//! | UNSPECIFIED | refuse the call unless `admit_unspecified` |
//! | CUSTOMER | analyse |
//!
//! [`Policy::judge_call`] puts the legs together: a call of which no leg may be analysed is refused.
//!
//! The defaults follow the EU's AI Act: Art. 5(1)(f) prohibits inferring the emotions of people at work, medical and safety uses
//! aside; Art. 50(3) wants people told. So whoever sets another [`Mode`] attests in writing to the ground for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::features::NotScored;

#[cfg(test)]
mod tests;

/// Who speaks on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// The caller or called customer.
    Customer,
    /// A person at work.
    Agent,
    /// A person at work who listens in or joins.
    Supervisor,
    /// A machine voice.
    Bot,
    /// Several parties in one channel.
    Mixed,
    /// Not told.
    Unspecified,
}

/// What the customer said to the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Consent {
    /// Nobody asked, or nobody told us.
    Unknown,
    /// Yes.
    Given,
    /// No.
    Refused,
}

/// What is known of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Who speaks.
    pub role: Role,
    /// Whether the people in the call were told.
    pub notice_given: bool,
    /// What the customer said to it.
    pub consent: Consent,
}

/// Leave to analyse one leg.
#[derive(Debug)]
pub struct Permit {
    role: Role,
}

/// What the policy says of a leg.
#[derive(Debug)]
pub enum Verdict {
    /// Analyse it.
    Analyse(Permit),
    /// Take the call, but drop this leg's audio before any feature.
    Drop(NotScored),
    /// Refuse the call.
    Refuse(Refusal),
}

/// Why a call is refused; the message says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The customer said no.
    #[error("the customer refused consent, so the call is not analysed; do not send calls whose consent is REFUSED")]
    ConsentRefused,
    /// Nobody said that the people in the call were told.
    #[error(
        "no notice was given; tell the people in the call and set `notice` (given_at, method), or set `policy.require_notice = false` \
         on the server where the law permits"
    )]
    NoNotice,
    /// Nobody said that the customer agreed.
    #[error(
        "this server requires consent; ask the customer and set `consent.status` to GIVEN, or set `policy.require_consent = false` on \
         the server where the law permits"
    )]
    NoConsent,
    /// Several parties in one channel.
    #[error(
        "role MIXED is not permitted, because an agent is heard in it; send each party as a leg of its own with its role, or set \
         `policy.admit_mixed = true` on the server"
    )]
    Mixed,
    /// Nobody said who speaks.
    #[error(
        "the role is not set; set it to CUSTOMER, AGENT, SUPERVISOR or BOT, or set `policy.admit_unspecified = true` on the server"
    )]
    Unspecified,
    /// All legs are machine voices.
    #[error(
        "no leg of this call may be analysed: a BOT never is; send the customer's leg with role CUSTOMER, or do not send the call"
    )]
    OnlyBots,
    /// All legs would be dropped.
    #[error(
        "no leg of this call may be analysed: the role is {roles} and the server's policy is {mode}; send the customer's leg with role \
         CUSTOMER, or, for people at work, set `policy.mode` and `policy.attestation` on the server"
    )]
    NothingToAnalyse {
        /// The legs' roles, one after another.
        roles: String,
        /// The mode they were judged under.
        mode: Mode,
    },
}

/// Whose voices may be analysed besides the customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// Nobody's.
    #[default]
    CustomerOnly,
    /// People at work, in training calls. Needs an attestation.
    AgentTraining,
    /// People at work, for medical or safety reasons. Needs an attestation.
    MedicalOrSafety,
}

/// The policy, as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Whose voices may be analysed.
    pub mode: Mode,
    /// On what ground, and by whom, people at work are analysed. Needed by every mode but CUSTOMER_ONLY; kept for the record.
    pub attestation: String,
    /// Refuse calls without `notice`.
    pub require_notice: bool,
    /// Refuse calls without consent given.
    pub require_consent: bool,
    /// Analyse legs with several parties in one channel: the operator answers for the agents heard in it.
    pub admit_mixed: bool,
    /// Analyse legs of which nobody said who speaks: the operator answers for whom it is.
    pub admit_unspecified: bool,
}

/// What is wrong with a policy's configuration; the message says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A mode that permits analysing people at work, on no stated ground.
    #[error(
        "policy.mode {mode} needs policy.attestation: state who attests to which ground for analysing people at work, or set \
         policy.mode to CUSTOMER_ONLY"
    )]
    NoAttestation {
        /// The mode that needs it.
        mode: Mode,
    },
}

impl Role {
    /// As the API spells it: "CUSTOMER".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "CUSTOMER",
            Self::Agent => "AGENT",
            Self::Supervisor => "SUPERVISOR",
            Self::Bot => "BOT",
            Self::Mixed => "MIXED",
            Self::Unspecified => "UNSPECIFIED",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Permit {
    /// Whose voice it is for.
    pub fn role(&self) -> Role {
        self.role
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CustomerOnly => "CUSTOMER_ONLY",
            Self::AgentTraining => "AGENT_TRAINING",
            Self::MedicalOrSafety => "MEDICAL_OR_SAFETY",
        })
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::CustomerOnly,
            attestation: String::new(),
            require_notice: true,
            require_consent: false,
            admit_mixed: false,
            admit_unspecified: false,
        }
    }
}

impl Policy {
    /// Whether the configuration is one that may be served by.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.mode != Mode::CustomerOnly && self.attestation.trim().is_empty() {
            return Err(Invalid::NoAttestation { mode: self.mode });
        }
        Ok(())
    }

    /// What is to become of a leg.
    pub fn judge(&self, leg: &Circumstances) -> Verdict {
        if leg.consent == Consent::Refused {
            return Verdict::Refuse(Refusal::ConsentRefused);
        }
        if self.require_notice && !leg.notice_given {
            return Verdict::Refuse(Refusal::NoNotice);
        }
        if self.require_consent && leg.consent != Consent::Given {
            return Verdict::Refuse(Refusal::NoConsent);
        }
        let analyse = Verdict::Analyse(Permit { role: leg.role });
        match leg.role {
            Role::Customer => analyse,
            Role::Bot => Verdict::Drop(NotScored::NotPermitted),
            // An unattested mode permits nothing, whether or not somebody forgot to validate.
            Role::Agent | Role::Supervisor if self.mode == Mode::CustomerOnly || self.validate().is_err() => {
                Verdict::Drop(NotScored::NotPermitted)
            }
            Role::Agent | Role::Supervisor => analyse,
            Role::Mixed if self.admit_mixed => analyse,
            Role::Mixed => Verdict::Refuse(Refusal::Mixed),
            Role::Unspecified if self.admit_unspecified => analyse,
            Role::Unspecified => Verdict::Refuse(Refusal::Unspecified),
        }
    }

    /// Whether a leg of this role is analysed where notice and consent are as the policy wants them.
    pub fn analyses(&self, role: Role) -> bool {
        let told = Circumstances { role, notice_given: true, consent: Consent::Given };
        matches!(self.judge(&told), Verdict::Analyse(_))
    }

    /// What is to become of a call with these legs: for each leave to analyse it or why it is dropped, or why the call is refused.
    ///
    /// One leg that is refused refuses the call, and so do legs that would all be dropped, none at all included.
    pub fn judge_call(&self, legs: &[Circumstances]) -> Result<Vec<Result<Permit, NotScored>>, Refusal> {
        let mut permits = Vec::with_capacity(legs.len());
        for leg in legs {
            permits.push(match self.judge(leg) {
                Verdict::Analyse(permit) => Ok(permit),
                Verdict::Drop(reason) => Err(reason),
                Verdict::Refuse(refusal) => return Err(refusal),
            });
        }
        if permits.iter().any(Result::is_ok) {
            return Ok(permits);
        }
        if !legs.is_empty() && legs.iter().all(|leg| leg.role == Role::Bot) {
            return Err(Refusal::OnlyBots);
        }
        let roles = legs.iter().map(|leg| leg.role.as_str()).collect::<Vec<_>>().join(", ");
        Err(Refusal::NothingToAnalyse { roles, mode: self.mode })
    }
}

/// Whether a text is written as a telephone number: a `tel:` address, one of `sip:` whose user is a number, or `+` and 7 to 15 digits (ITU-T
/// E.164) with the usual separators. Digits alone are not: platforms number their calls so.
pub fn is_telephone_number(text: &str) -> bool {
    let text = text.trim();
    let scheme = |scheme: &str| {
        text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &text[scheme.len()..])
    };
    if let Some(number) = scheme("tel:") {
        return number.contains(|c: char| c.is_ascii_digit());
    }
    if let Some(address) = scheme("sip:").or_else(|| scheme("sips:")) {
        let user = address.split(['@', ';']).next().unwrap_or_default();
        return is_number(user.strip_prefix('+').unwrap_or(user));
    }
    text.strip_prefix('+').is_some_and(is_number)
}

/// 7 to 15 digits, with spaces, hyphens, dots, slashes and brackets between.
fn is_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    (7..=15).contains(&digits) && text.chars().all(|c| c.is_ascii_digit() || " -./()".contains(c))
}
