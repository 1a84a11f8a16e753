//! Reading a file of rules, with the line of whatever is wrong in it.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Rule, Rules};
use crate::{decision::words, policy::Role};

/// Letters, digits and what joins them: names go into ids, labels and file names.
const NAME_LENGTH: usize = 64;
/// Far more rules than anybody watches; every one costs each leg a little.
const MOST_RULES: usize = 64;

/// What is usual must follow the level so many times more slowly. Then a level that rises from nothing, after minutes of nothing, comes to
/// 5^(-1/4) · (1 - 1/5) = 0.53 of the rise above the usual; at 2 times it comes to 0.25, and at 1 to nothing, so that no rule would fire.
const LEAST_USUAL_RATIO: f64 = 5.0;

/// A day: longer than any call, and far from where a duration overflows.
const LONGEST_SECONDS: f64 = 86_400.0;
/// What an alert may wait for, of a call's time and of its speech: an hour. Few calls last so long, and a rule that waits for more is as good as none.
const MOST_WAITED_SECONDS: f64 = 3_600.0;
/// An hour of windows at the default stride, 0.5 s.
const MOST_WINDOWS: u32 = 7_200;

/// What is wrong with a file of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Invalid {
    /// Counted from 1.
    pub line: usize,
    /// The key, what it is, and what is expected; or what cannot be read.
    pub problem: String,
}

/// A key, and what is wrong with its value.
struct Fault {
    key: &'static str,
    problem: String,
}

pub(super) fn parse(text: &str) -> Result<Rules, Invalid> {
    let invalid = |error: &toml::de::Error, problem| {
        let line = error.span().map_or(1, |span| line(text, span.start));
        Invalid { line, problem }
    };
    // Once for where everything stands, and once for what it says.
    let places = DeTable::parse(text).map_err(|error| invalid(&error, words::plain(error.message())))?;
    let unreadable = |error: toml::de::Error| {
        let problem = unreadable(places.get_ref(), error.message(), error.span());
        invalid(&error, problem)
    };
    let rules: Rules = toml::from_str(text).map_err(unreadable)?;
    let places = places.get_ref();
    if let Err(Fault { key, problem }) = positive("half_life_seconds", rules.half_life_seconds) {
        return Err(Invalid { line: key_line(text, places, key), problem: format!("{key}: {problem}") });
    }
    if rules.rules.len() > MOST_RULES {
        let problem = format!("there are {} rules, expected at most {MOST_RULES}", rules.rules.len());
        return Err(Invalid { line: 1, problem });
    }
    let tables = places.get("rule").and_then(|rules| rules.get_ref().as_array());
    for (index, rule) in rules.rules.iter().enumerate() {
        let repeated = rules.rules[..index].iter().any(|earlier| earlier.name == rule.name);
        let found = if repeated {
            Err(fault("name", "another rule has this name, expected one of its own"))
        } else {
            check(rule)
        };
        if let Err(Fault { key, problem }) = found {
            let table = tables.and_then(|tables| tables.get(index));
            let line = match table.map(|table| (table.span(), table.get_ref())) {
                Some((_, DeValue::Table(table))) if table.contains_key(key) => key_line(text, table, key),
                Some((span, _)) => line(text, span.start),
                None => 1,
            };
            return Err(Invalid { line, problem: format!("rule {:?}, {key}: {problem}", rule.name) });
        }
    }
    Ok(rules)
}

/// What cannot be read, after the rule and the key that it stands in.
fn unreadable(places: &DeTable<'_>, message: &str, span: Option<Range<usize>>) -> String {
    let told = words::plain(message);
    let Some(at) = span.map(|span| span.start) else { return told };
    let key_at = |table: &DeTable<'_>| {
        let found = table.iter().find(|(_, value)| value.span().contains(&at));
        found.map(|(key, _)| key.get_ref().to_string())
    };
    let tables = places.get("rule").and_then(|rules| rules.get_ref().as_array());
    for table in tables.into_iter().flatten() {
        let DeValue::Table(rule) = table.get_ref() else { continue };
        let within = |key: &Spanned<_>| key.span().contains(&at);
        if let Some(key) = key_at(rule) {
            return format!("{}, {key}: {told}", named(rule));
        } else if table.span().contains(&at) || rule.keys().any(within) {
            return format!("{}: {told}", named(rule));
        }
    }
    match (key_at(places), words::mismatch(message)) {
        (Some(key), Some((actual, _))) if key == "rule" => format!("rule: is {actual}, expected [[rule]], once a rule"),
        (Some(key), _) => format!("{key}: {told}"),
        (None, _) => told,
    }
}

fn named(rule: &DeTable<'_>) -> String {
    match rule.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) => format!("rule {name:?}"),
        None => "a rule without a name".to_owned(),
    }
}

fn check(rule: &Rule) -> Result<(), Fault> {
    let named = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if rule.name.is_empty() || rule.name.len() > NAME_LENGTH || !rule.name.chars().all(named) {
        return Err(fault("name", &format!("expected 1 to {NAME_LENGTH} characters of [A-Za-z0-9._-]")));
    }
    if rule.version == 0 {
        return Err(fault("version", "is 0, expected at least 1"));
    }
    if rule.emotions.is_empty() {
        return Err(fault("emotions", "is empty, expected at least one label of the model, such as \"angry\""));
    }
    if let Some(twice) = (1..rule.emotions.len()).find(|&at| rule.emotions[..at].contains(&rule.emotions[at])) {
        return Err(fault("emotions", &format!("names {:?} twice", rule.emotions[twice])));
    }
    if rule.roles.is_empty() {
        return Err(fault("roles", "is empty, expected at least one role, such as \"CUSTOMER\""));
    }
    if rule.roles.contains(&Role::Bot) {
        return Err(fault("roles", "names \"BOT\", but a machine voice is never analysed: leave it out"));
    }
    if rule.tags.iter().any(|(key, value)| key.is_empty() || value.is_empty()) {
        return Err(fault("tags", "has an empty key or value"));
    }
    positive("half_life_seconds", rule.half_life_seconds)?;
    if let Some(usual) = rule.usual_half_life_seconds {
        positive("usual_half_life_seconds", usual)?;
        // Five times 0.14 is 0.7 to whoever writes it, and 0.7000000000000001 to the machine.
        let least = (LEAST_USUAL_RATIO * rule.half_life_seconds * 1e9).round() / 1e9;
        if usual < least - 1e-9 {
            let problem = format!(
                "is {usual}, expected at least {LEAST_USUAL_RATIO} times half_life_seconds, {least}: what rises would be usual before it is told"
            );
            return Err(fault("usual_half_life_seconds", &problem));
        }
    }
    probability("enter", rule.enter)?;
    if let Some(leave) = rule.leave {
        probability("leave", leave)?;
        if leave > rule.enter && rule.min_excess_seconds.is_none() {
            return Err(fault(
                "leave",
                &format!("is {}, expected at most enter, {}", words::number(leave), rule.enter),
            ));
        }
    }
    check_excess(rule)?;
    if !(1..=MOST_WINDOWS).contains(&rule.min_windows) {
        let problem = format!("is {}, expected 1 to {MOST_WINDOWS}, an hour of windows", rule.min_windows);
        return Err(fault("min_windows", &problem));
    }
    let durations = [
        ("min_speech_seconds", rule.min_speech_seconds, MOST_WAITED_SECONDS),
        ("keep_firing_seconds", rule.keep_firing_seconds, LONGEST_SECONDS),
        ("cool_down_seconds", rule.cool_down_seconds, LONGEST_SECONDS),
        ("critical_after_seconds", rule.critical_after_seconds, LONGEST_SECONDS),
        ("grace_seconds", rule.grace_seconds, MOST_WAITED_SECONDS),
    ];
    durations.into_iter().try_for_each(|(key, seconds, most)| duration(key, seconds, most))
}

/// What is added up, where something is, can come to what is needed.
fn check_excess(rule: &Rule) -> Result<(), Fault> {
    let Some(enough) = rule.min_excess_seconds else {
        return match rule.excess_half_life_seconds {
            Some(_) => {
                Err(fault("excess_half_life_seconds", "has no meaning without min_excess_seconds: leave it out"))
            }
            None => Ok(()),
        };
    };
    let half_life = rule.excess_half_life_seconds();
    positive("excess_half_life_seconds", half_life)?;
    positive("min_excess_seconds", enough)?;
    // Of certainty in unbroken speech, from what is faded as fast as it comes.
    let most = (1.0 - rule.enter) * half_life / std::f64::consts::LN_2;
    if enough >= most {
        let problem = format!(
            "is {enough}, expected below {most:.1}: with this enter and an excess_half_life_seconds of {half_life} more never adds up"
        );
        return Err(fault("min_excess_seconds", &problem));
    }
    Ok(())
}

fn fault(key: &'static str, problem: &str) -> Fault {
    Fault { key, problem: problem.to_owned() }
}

fn duration(key: &'static str, seconds: f64, most: f64) -> Result<(), Fault> {
    if (0.0..=most).contains(&seconds) {
        return Ok(());
    }
    Err(fault(key, &format!("is {}, expected 0 to {most} seconds", words::number(seconds))))
}

fn positive(key: &'static str, seconds: f64) -> Result<(), Fault> {
    // Below a tenth of a second nothing is smoothed any more.
    if (0.1..=LONGEST_SECONDS).contains(&seconds) {
        return Ok(());
    }
    Err(fault(key, &format!("is {}, expected 0.1 to {LONGEST_SECONDS} seconds", words::number(seconds))))
}

fn probability(key: &'static str, level: f64) -> Result<(), Fault> {
    if level > 0.0 && level <= 1.0 {
        return Ok(());
    }
    Err(fault(key, &format!("is {}, expected above 0 and at most 1", words::number(level))))
}

fn key_line(text: &str, table: &DeTable<'_>, key: &str) -> usize {
    table.get_key_value(key).map_or(1, |(key, _)| line(text, key.span().start))
}

/// The line, counted from 1, of a place in the text.
fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANGER: &str = "[[rule]]\nname = 'anger'\nemotions = ['angry']\nenter = 0.4\n";

    #[test]
    fn the_shipped_rules_are_valid_and_name_what_crema_d_names() {
        let rules = Rules::shipped();
        let anger = &rules.rules[0];
        assert_eq!((anger.name.as_str(), anger.emotions.as_slice()), ("anger", ["angry".to_owned()].as_slice()));
        rules.check_emotions(["angry", "disgust", "fear", "happy", "neutral", "sad"].into_iter()).unwrap();
    }

    #[test]
    fn what_a_rule_does_not_say_has_a_default() {
        let rules = parse(ANGER).unwrap();
        let rule = &rules.rules[0];
        assert_eq!((rule.version, rule.half_life_seconds, rule.min_windows), (1, 4.0, 3));
        assert!((rule.leave() - 0.24).abs() < 1e-12);
        assert_eq!(parse("").unwrap().rules, []);
        let slow = format!(
            "{ANGER}min_windows = 7200\nmin_speech_seconds = 3600.0\ngrace_seconds = 3600.0\ncool_down_seconds = 86400.0\n"
        );
        assert!(parse(&slow).is_ok(), "an hour may be waited for");
        let adds_up = parse(&format!("{ANGER}leave = 0.6\nmin_excess_seconds = 2.0\n")).unwrap();
        assert_eq!(adds_up.rules[0].excess_half_life_seconds(), 20.0);
    }

    #[test]
    fn whatever_is_wrong_is_told_with_line_and_key() {
        let second = |line: &str| format!("# two rules\n{ANGER}[[rule]]\nname = 'other'\n{line}\n");
        let cases = [
            ("half_life_seconds = 0".to_owned(), 1, "half_life_seconds"),
            (format!("half_live = 3\n{ANGER}"), 1, "half_live"),
            (second("emotions = ['sad']\nenter = 0.4\nentre = 0.5"), 10, "entre"),
            (second("emotions = ['sad']\nenter = 1.5"), 9, "enter"),
            (second("emotions = ['sad']\nenter = 0.5\nleave = 0.6"), 10, "at most enter"),
            (second("emotions = []\nenter = 0.5"), 8, "emotions"),
            (second("emotions = ['sad', 'sad']\nenter = 0.5"), 8, "twice"),
            (second("emotions = ['sad']\nenter = 0.5\nmin_windows = 0"), 10, "min_windows"),
            (second("emotions = ['sad']\nenter = 0.5\nmin_windows = 7201"), 10, "is 7201, expected 1 to 7200, an hour"),
            (second("emotions = ['sad']\nenter = 0.5\nmin_windows = 1000000000"), 10, "min_windows"),
            (second("emotions = ['sad']\nenter = 0.5\nmin_speech_seconds = 3600.5"), 10, "expected 0 to 3600 seconds"),
            (second("emotions = ['sad']\nenter = 0.5\ngrace_seconds = 86400"), 10, "expected 0 to 3600 seconds"),
            (second("emotions = ['sad']\nenter = 0.5\ncool_down_seconds = -1"), 10, "cool_down_seconds"),
            (second("emotions = ['sad']\nenter = 0.5\nhalf_life_seconds = nan"), 10, "half_life_seconds"),
            (second("emotions = ['sad']\nenter = 0.5\nusual_half_life_seconds = 0.0"), 10, "usual_half_life_seconds"),
            (
                second("emotions = ['sad']\nenter = 0.5\nusual_half_life_seconds = 19.9"),
                10,
                "at least 5 times half_life_seconds, 20:",
            ),
            (second("emotions = ['sad']\nenter = 0.5\nmin_excess_seconds = 0.0"), 10, "min_excess_seconds: is 0"),
            (
                second("emotions = ['sad']\nenter = 0.5\nmin_excess_seconds = 14.5"),
                10,
                "min_excess_seconds: is 14.5, expected below 14.4",
            ),
            (second("emotions = ['sad']\nenter = 0.5\nexcess_half_life_seconds = 5"), 10, "without min_excess_seconds"),
            (second("emotions = ['sad']\nenter = 0.5\nroles = ['BOSS']"), 10, "BOSS"),
            (second("emotions = ['sad']\nenter = 0.5\nroles = ['BOT']"), 10, "\"BOT\", but a machine voice"),
            (
                second("emotions = ['sad']\nenter = 0.5\nroles = ['CUSTOMER', 'BOT']"),
                10,
                "\"BOT\", but a machine voice",
            ),
            (second("emotions = ['sad']"), 6, "enter"),
            (format!("{ANGER}{ANGER}"), 6, "another rule"),
            ("[[rule]]\nname = 'a b'\nemotions = ['sad']\nenter = 0.5".to_owned(), 2, "name"),
            ("rule = ".to_owned(), 1, ""),
        ];
        for (text, line, part) in cases {
            let invalid = parse(&text).unwrap_err();
            assert_eq!(invalid.line, line, "{invalid} in\n{text}");
            assert!(invalid.to_string().contains(part), "{invalid} does not name {part}");
        }
    }

    /// The share of a sudden rise, after minutes of nothing, by which the level is above the usual one at its highest.
    fn told_of_a_rise(ratio: f64) -> f64 {
        let above = |t: f64| (-t / ratio).exp2() - (-t).exp2();
        (0..100_000).map(|step| above(f64::from(step) / 1000.0)).fold(0.0, f64::max)
    }

    #[test]
    fn what_is_usual_is_slow_enough_for_half_of_a_sudden_rise_to_be_told() {
        let rule = |usual: f64| format!("{ANGER}half_life_seconds = 2.0\nusual_half_life_seconds = {usual:?}\n");
        for refused in [1.0, 1.9, 2.0, 9.9] {
            let text = parse(&rule(refused)).unwrap_err().to_string();
            assert!(
                text.contains(&format!("usual_half_life_seconds: is {refused}, expected at least 5 times")),
                "{text}"
            );
        }
        assert!(parse(&rule(10.0)).is_ok());
        for hundredths in 10..2000_u32 {
            let written = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let rule = |usual: u32| {
                let half_life = written(hundredths);
                format!("{ANGER}half_life_seconds = {half_life}\nusual_half_life_seconds = {}\n", written(usual))
            };
            let least = 5 * hundredths;
            assert!(parse(&rule(least)).is_ok(), "{}", rule(least));
            let text = parse(&rule(least - 1)).unwrap_err().to_string();
            let told = f64::from(least) / 100.0;
            assert!(text.contains(&format!("times half_life_seconds, {told}:")), "{text}");
        }
        assert!(told_of_a_rise(LEAST_USUAL_RATIO) > 0.5);
        let told = [1.0, 2.0, LEAST_USUAL_RATIO, 45.0].map(|ratio| (100.0 * told_of_a_rise(ratio)).round());
        assert_eq!(told, [0.0, 25.0, 53.0, 90.0]);
    }

    #[test]
    fn what_cannot_be_read_is_told_in_plain_words() {
        let anger = |line: &str| format!("{ANGER}{line}\n");
        for (text, expected) in [
            (anger("grace_seconds = '90s'"), "line 5: rule \"anger\", grace_seconds: is \"90s\", expected a number"),
            (
                anger("min_windows = 1.5"),
                "line 5: rule \"anger\", min_windows: is 1.5, expected a whole number, 0 to 4294967295",
            ),
            (anger("roles = 'BOT'"), "line 5: rule \"anger\", roles: is \"BOT\", expected a list, such as [\"…\"]"),
            (anger("roles = [1]"), "line 5: rule \"anger\", roles: is no text, expected text in quotes"),
            (
                anger("cool_down_seconds = 1e300"),
                "line 5: rule \"anger\", cool_down_seconds: is 1e300, expected 0 to 86400 seconds",
            ),
            (anger("name = 'b'"), "line 5: the key is written twice"),
            ("[[rule]]\nname = 'a'\nemotions = ['b']\n".to_owned(), "line 1: rule \"a\": enter is missing"),
            ("\n[[rule]]\nenter = 0.4\n".to_owned(), "line 2: a rule without a name: name is missing"),
            (ANGER.replace("[[rule]]", "[rule]"), "line 1: rule: is a table, expected [[rule]], once a rule"),
            (anger("grace_seconds = "), "line 5: a value is missing, or a text is not in quotes"),
            ("rule = 5".to_owned(), "line 1: rule: is 5, expected [[rule]], once a rule"),
            ("rule = [5]".to_owned(), "line 1: rule: is 5, expected [[rule]], once a rule"),
            ("half_life_seconds = '4'".to_owned(), "line 1: half_life_seconds: is \"4\", expected a number"),
        ] {
            assert_eq!(parse(&text).unwrap_err().to_string(), expected, "{text}");
        }
        let told = parse(&anger("entre = 1")).unwrap_err().to_string();
        assert!(
            told.starts_with("line 5: rule \"anger\": entre is not known, expected one of name, version,"),
            "{told}"
        );
        let told = parse(&anger("roles = ['BOSS']")).unwrap_err().to_string();
        assert!(told.starts_with("line 5: rule \"anger\", roles: is \"BOSS\", expected one of CUSTOMER,"), "{told}");
    }

    #[test]
    fn an_emotion_that_no_model_knows_is_told_with_those_there_are() {
        let rules = parse(ANGER).unwrap();
        assert!(rules.check_emotions(["angry", "sad"].into_iter()).is_ok());
        let error = rules.check_emotions(["sad", "calm", "sad"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("\"angry\"") && error.contains("calm, sad"), "{error}");
    }
}
