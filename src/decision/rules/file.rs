//! Reading a file of rules, with the line of whatever is wrong in it.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Rule, Rules};
use crate::{decision::words, policy::Role};

#[cfg(test)]
mod tests;

/// Letters, digits and what joins them: names go into ids, labels and file names.
const NAME_LENGTH: usize = 64;
/// Far more rules than anybody watches; every one costs each leg a little.
const MOST_RULES: usize = 64;

/// What is usual must follow the level so many times more slowly. Then a level that rises from nothing, after minutes of nothing, comes to
/// 5^(-1/4) · (1 - 1/5) = 0.53 of the rise above the usual; at 2 times it comes to 0.25, and at 1 to nothing, so that no rule would fire.
const LEAST_USUAL_RATIO: f64 = 5.0;

/// What was added up must not fade within a few windows: by such a sum the same speech would fire or not as its windows lie.
const LEAST_EXCESS_HALF_LIFE_SECONDS: f64 = 5.0;

/// Below a tenth of a second nothing is smoothed any more.
const LEAST_SECONDS: f64 = 0.1;
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
    }
    check_excess(rule)?;
    check_leave(rule)?;
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
    if half_life < LEAST_EXCESS_HALF_LIFE_SECONDS {
        let problem = format!(
            "is {half_life}, expected at least {LEAST_EXCESS_HALF_LIFE_SECONDS} seconds: less is of few windows, and hangs on how they lie"
        );
        return Err(fault("excess_half_life_seconds", &problem));
    }
    positive("min_excess_seconds", enough)?;
    let most = most_excess(rule);
    if most < LEAST_SECONDS {
        return Err(fault("enter", &format!("is {}: no window exceeds it by enough to add up", rule.enter)));
    }
    if enough >= most {
        let counts = if rule.usual_half_life_seconds.is_some() { " and what becomes usual meanwhile" } else { "" };
        let problem = format!(
            "is {enough}, expected below {most:.1}: with this enter, an excess_half_life_seconds of {half_life}{counts}, certainty never adds up to more"
        );
        return Err(fault("min_excess_seconds", &problem));
    }
    Ok(())
}

/// The most that certainty in unbroken speech adds up to in an hour, at the default stride: it fades as it comes, and becomes usual.
fn most_excess(rule: &Rule) -> f64 {
    const STRIDE_SECONDS: f64 = 0.5;
    let kept = |half_life: f64| (-STRIDE_SECONDS / half_life).exp2();
    let (faded, learnt) = (kept(rule.excess_half_life_seconds()), rule.usual_half_life_seconds.map_or(1.0, kept));
    let (mut sum, mut usual, mut most) = (0.0, 0.0, 0.0_f64);
    for _ in 0..MOST_WINDOWS {
        sum = faded * sum + (1.0 - usual - rule.enter) * STRIDE_SECONDS;
        usual = learnt * usual + (1.0 - learnt);
        most = most.max(sum);
    }
    most
}

/// What fires by a level that stays does not calm by it.
fn check_leave(rule: &Rule) -> Result<(), Fault> {
    let (leave, most) = (rule.leave(), rule.most_leave());
    if leave <= most {
        return Ok(());
    }
    let leave = words::number(leave);
    let problem = match rule.min_excess_seconds {
        None => format!("is {leave}, expected at most enter, {most}"),
        // Rounded down, so that what is told is taken.
        Some(_) => format!(
            "is {leave}, expected at most {}: what adds up by a level that stays would calm by it, and fire again, with this enter and what adds up",
            (most * 1e4).floor() / 1e4
        ),
    };
    Err(fault("leave", &problem))
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
    if (LEAST_SECONDS..=LONGEST_SECONDS).contains(&seconds) {
        return Ok(());
    }
    Err(fault(key, &format!("is {}, expected {LEAST_SECONDS} to {LONGEST_SECONDS} seconds", words::number(seconds))))
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
