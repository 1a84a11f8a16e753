//! The subject that an entry is published under, and the filters that find it again.
//!
//! `undertone.entry.KIND.CALL.LEG.SPEAKER`, or `undertone.audit`, where `undertone` is the stream's name in lower case. What is in
//! capitals is one token each: everything but letters, digits and `-` is written as `_` and two hexadecimal digits, and what is
//! absent as `_`. So a call is purged by its subject, whatever its id holds.

use std::fmt::Write as _;

use crate::journal::{Draft, Kind, Query};

/// What stands for an absent call, leg or speaker.
const ABSENT: &str = "_";

/// Subjects of one stream.
#[derive(Clone)]
pub(super) struct Subjects {
    prefix: String,
}

impl Subjects {
    pub(super) fn of_stream(stream: &str) -> Self {
        Self { prefix: stream.to_ascii_lowercase() }
    }

    /// All that the stream takes.
    pub(super) fn all(&self) -> [String; 2] {
        [format!("{}.entry.>", self.prefix), self.audit()]
    }

    /// Where servers tell each other what the stream does not take.
    pub(super) fn wire(&self) -> String {
        format!("{}.live", self.prefix)
    }

    /// Where audit entries are published.
    pub(super) fn audit(&self) -> String {
        format!("{}.audit", self.prefix)
    }

    /// Where a mark is published.
    pub(super) fn mark(&self, name: &str) -> String {
        format!("{}.mark.{name}", self.prefix)
    }

    /// Where a draft is published.
    pub(super) fn of(&self, draft: &Draft) -> String {
        if draft.kind() == Kind::Audit {
            return self.audit();
        }
        let [call, leg, speaker] = [&draft.call_id, &draft.leg_id, &draft.subject].map(|part| match part {
            Some(part) => token(part),
            None => ABSENT.to_owned(),
        });
        format!("{}.entry.{}.{call}.{leg}.{speaker}", self.prefix, draft.kind().as_str())
    }

    /// Entries, audit aside, whose parts are these; any, where there is none.
    pub(super) fn filter(
        &self,
        kind: Option<Kind>,
        call: Option<&str>,
        leg: Option<&str>,
        speaker: Option<&str>,
    ) -> String {
        let part = |part: Option<&str>| part.map_or_else(|| "*".to_owned(), token);
        let kind = kind.map_or("*", Kind::as_str);
        format!("{}.entry.{kind}.{}.{}.{}", self.prefix, part(call), part(leg), part(speaker))
    }

    /// The narrowest filter that lets through all that a query takes; `None`: all of the stream.
    pub(super) fn of_query(&self, query: &Query) -> Option<String> {
        let kind = match query.kinds.as_slice() {
            [Kind::Audit] => return Some(self.audit()),
            [kind] => Some(*kind),
            _ => None,
        };
        let parts = [query.call_id.as_deref(), query.leg_id.as_deref(), query.subject.as_deref()];
        let narrow = kind.is_some() || parts.iter().any(Option::is_some);
        let [call, leg, speaker] = parts;
        narrow.then(|| self.filter(kind, call, leg, speaker))
    }

    /// The filter of the call that this subject is of, whatever else is in it.
    pub(super) fn call_of(&self, subject: &str) -> Option<String> {
        let call = subject.strip_prefix(&self.prefix)?.strip_prefix(".entry.")?.split('.').nth(1)?;
        (call != ABSENT).then(|| format!("{}.entry.*.{call}.*.*", self.prefix))
    }
}

/// Any text as one token.
fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(token, "_{byte:02x}");
        }
    }
    // Two underscores can come of no byte.
    if token.is_empty() { "__".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::begun;

    #[test]
    fn every_text_is_one_token_and_no_two_are_alike() {
        let texts = ["", "_", "a", "A", "a.b", "a_b", "a*", ">", " ", "é", "a-b", "_2e", "."];
        let tokens = texts.map(token);
        for (index, token) in tokens.iter().enumerate() {
            assert!(!token.contains(['.', '*', '>', ' ']) && token.is_ascii() && token != ABSENT, "{token}");
            assert!(!tokens[..index].contains(token), "{token} twice");
        }
    }

    #[test]
    fn a_call_is_found_by_any_of_its_subjects() {
        let subjects = Subjects::of_stream("UNDERTONE");
        let draft = begun("c:1.2", "x").of_leg("c:1.2", "customer", Some("some one"));
        assert_eq!(subjects.of(&draft), "undertone.entry.call.c_3a1_2e2.customer.some_20one");
        assert_eq!(subjects.call_of(&subjects.of(&draft)).unwrap(), "undertone.entry.*.c_3a1_2e2.*.*");
        assert_eq!(subjects.filter(None, Some("c:1.2"), None, None), "undertone.entry.*.c_3a1_2e2.*.*");
        assert_eq!(subjects.call_of("undertone.entry.action._._._"), None);
    }

    #[test]
    fn a_query_is_narrowed_where_one_filter_can() {
        let subjects = Subjects::of_stream("S");
        let of = |query| subjects.of_query(&query);
        assert_eq!(of(Query::default()), None);
        assert_eq!(of(Query { kinds: vec![Kind::Alert, Kind::Call], ..Query::default() }), None);
        assert_eq!(of(Query { kinds: vec![Kind::Audit], ..Query::default() }).unwrap(), "s.audit");
        assert_eq!(of(Query { kinds: vec![Kind::Alert], ..Query::default() }).unwrap(), "s.entry.alert.*.*.*");
        let of_subject = Query { kinds: vec![Kind::Subject], subject: Some("p".to_owned()), ..Query::default() };
        assert_eq!(of(of_subject).unwrap(), "s.entry.subject.*.*.p");
    }
}
