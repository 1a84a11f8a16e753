//! What rules would have told of calls whose truth is known.

use std::{cmp::Reverse, collections::HashMap, fmt, fs, path::Path, sync::Arc, thread};

use anyhow::Context as _;
use serde::Deserialize;
use undertone::decision::{
    Alert, Rules,
    alert::{Reason, State},
    scores::{Leg, Row},
};

use crate::call::{CALL_SECONDS, MIXES};

/// An onset counts as told in time when an alert fires within so many seconds of it.
const IN_TIME_SECONDS: f64 = 12.0;
/// What fires so soon after a stretch still hears it.
const TAIL_SECONDS: f64 = 5.0;

/// A call that was heard.
struct Heard {
    rows: Vec<Row>,
    truth: Truth,
}

#[derive(Deserialize)]
struct Truth {
    mix: usize,
    side: String,
    stretches: Vec<(f64, f64)>,
}

/// What was told of the calls of one mix.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    calls: u32,
    onsets: u32,
    in_time: u32,
    resolved: u32,
    false_alerts: u32,
    /// False alerts of the call that has most of them.
    most_in_a_call: u32,
    /// Calls that have any.
    calls_with_any: u32,
}

/// What was told of all calls of one side, a row a mix.
type Table = [Told; MIXES.len()];

/// A rule that was tried: its values' places in the lists that were tried, as a table's cells, and what it told by the scores of each model.
struct Tried {
    places: Places,
    cells: String,
    told: Vec<Table>,
}

/// Whether it waits for a level (0) or a sum (1), then the place of each value in its list.
type Places = [usize; 5];

/// So many of the best rules are printed.
const BEST: usize = 10;
/// And so many of each form that the best rule does not have.
const BEST_OF_A_FORM: usize = 3;

/// Tries many rules, and prints the best for voices that were never heard: those that tell enough, with the fewest false alerts. A rule counts
/// for as little as the worst of it and its neighbours, one step away in one value, so that it hangs little on these very calls; so
/// does one that is tried on the scores of several models. Of equals those come first that tell most themselves.
pub(crate) fn sweep(calls: &Path, scores: &[&str]) -> anyhow::Result<()> {
    let heard = scores.iter().map(|scores| read(calls, scores.as_ref())).collect::<anyhow::Result<Vec<_>>>()?;
    let mut tried: Vec<Tried> = Vec::new();
    let mut levels = |places, [half_life, enter, min_speech, usual]: [&str; 4]| -> anyhow::Result<()> {
        let values = format!("half_life_seconds = {half_life}\nenter = {enter}\nmin_speech_seconds = {min_speech}\n");
        let rules = parse(&values, usual)?;
        let leave = thousandths(rules.rules[0].leave());
        let cells = format!("{enter} | {leave} | {half_life} | {min_speech} | – | – | {usual}");
        tried.push(Tried { places, cells, told: told(&heard, &rules) });
        Ok(())
    };
    each(
        [
            &["1.5", "2.0", "2.5", "3.0", "4.0"],
            &["0.25", "0.275", "0.30", "0.325", "0.35", "0.375", "0.40", "0.45", "0.50", "0.55", "0.60", "0.70"],
            &["1.0", "2.0", "2.5", "3.0", "3.5", "4.0"],
            &USUAL,
        ],
        |[a, b, c, d], values| levels([0, a, b, c, d], values),
    )?;
    let mut sums = |places, [enter, enough, fades, usual]: [&str; 4]| -> anyhow::Result<()> {
        let values = format!(
            "half_life_seconds = 2.0\nenter = {enter}\nmin_speech_seconds = 1.0\nmin_excess_seconds = {enough}\n\
             excess_half_life_seconds = {fades}\n"
        );
        let leave = thousandths(parse(&values, usual)?.rules[0].most_leave().min(SUM_LEAVES));
        let rules = parse(&format!("{values}leave = {leave}\n"), usual)?;
        let cells = format!("{enter} | {leave} | 2.0 | 1.0 | {enough} | {fades} | {usual}");
        tried.push(Tried { places, cells, told: told(&heard, &rules) });
        Ok(())
    };
    each(
        [
            &["0.05", "0.10", "0.125", "0.15", "0.175", "0.20", "0.25", "0.30"],
            &["1.5", "1.75", "2.0", "2.25", "2.5", "2.75", "3.0"],
            &["10", "15", "20", "30", "45", "60", "90"],
            &USUAL,
        ],
        |[a, b, c, d], values| sums([1, a, b, c, d], values),
    )?;
    print_best(tried);
    Ok(())
}

/// The level below which an alert of a rule that adds up calms, or the most that such a rule may say where that is less.
const SUM_LEAVES: f64 = 0.2;

/// Rounded down.
fn thousandths(level: f64) -> f64 {
    // What was rounded to a number of three digits stays it.
    (level * 1000.0 + 1e-6).floor() / 1000.0
}

/// What rules told by the scores of each model.
fn told(heard: &[Vec<Heard>], rules: &Arc<Rules>) -> Vec<Table> {
    thread::scope(|scope| {
        let models: Vec<_> = heard.iter().map(|calls| scope.spawn(|| table(calls, rules, "valid"))).collect();
        models.into_iter().map(|model| model.join().expect("it ends")).collect()
    })
}

/// The best, and the best of each form that the first does not have.
fn print_best(mut tried: Vec<Tried>) {
    let scores: HashMap<Places, i64> =
        tried.iter().map(|tried| (tried.places, tried.told.iter().map(score).sum())).collect();
    tried.sort_by_cached_key(|tried| Reverse((around(tried.places, &scores), scores[&tried.places])));
    print(&format!("{} rules were tried.\n", tried.len()));
    print(&format!(
        "| score | by itself | enter | leave | half-life s | speech s | excess s | fades s | usual s | onsets told | resolved | false alerts: {} | most a call |",
        names(", ")
    ));
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let form = |tried: &Tried| (tried.places[0], tried.places[4] > 0);
    let mut left = HashMap::from([(form(&tried[0]), 0)]);
    for (place, rule) in tried.iter().enumerate() {
        let left = left.entry(form(rule)).or_insert(BEST_OF_A_FORM);
        if place >= BEST {
            let Some(less) = left.checked_sub(1) else { continue };
            *left = less;
        }
        let worst = around(rule.places, &scores).map_or("–".to_owned(), |score| score.to_string());
        let itself = scores[&rule.places];
        print(&format!("| {worst} | {itself} | {} | {} |", rule.cells, brief(&sum(&rule.told))));
    }
}

/// What is usual is averaged with this half-life, seconds; –: levels are counted from 0.
const USUAL: [&str; 7] = ["–", "30", "60", "90", "120", "150", "180"];

/// Every choice of one value of each list.
fn each<'a>(
    lists: [&[&'a str]; 4],
    mut visit: impl FnMut([usize; 4], [&'a str; 4]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let choices = lists.iter().map(|list| list.len()).product();
    for mut choice in 0..choices {
        let places = lists.map(|list| {
            let place = choice % list.len();
            choice /= list.len();
            place
        });
        visit(places, std::array::from_fn(|at| lists[at][places[at]]))?;
    }
    Ok(())
}

/// The worst score of a rule and its neighbours; at the edge of what was tried that is unknown. A rule without a usual level is beside none with one.
fn around(places: Places, scores: &HashMap<Places, i64>) -> Option<i64> {
    let lists = if places[4] == 0 { 1..4 } else { 1..5 };
    let steps = lists.flat_map(|at| [-1, 1].map(|step| (at, step)));
    let neighbours = steps.map(|(at, step)| {
        let mut neighbour = places;
        neighbour[at] = places[at].checked_add_signed(step)?;
        scores.get(&neighbour).copied()
    });
    neighbours.chain([scores.get(&places).copied()]).min().flatten()
}

/// What one file of rules would have told, for each side.
pub(crate) fn rules(calls: &Path, scores: &Path, rules: &Path) -> anyhow::Result<()> {
    let calls = read(calls, scores)?;
    let rules = Arc::new(Rules::parse(&fs::read_to_string(rules)?)?);
    for side in ["valid", "train"] {
        print(&format!(
            "\n| {side} actors | calls | onsets told within 12 s | resolved afterwards | false alerts | an hour | in the worst call | calls with any |"
        ));
        print("|---|---|---|---|---|---|---|---|");
        for (row, (name, _)) in table(&calls, &rules, side).iter().zip(MIXES) {
            print(&format!("| {name} | {row} |"));
        }
    }
    Ok(())
}

fn parse(values: &str, usual: &str) -> anyhow::Result<Arc<Rules>> {
    let counts = if usual == "–" { "" } else { &format!("usual_half_life_seconds = {usual}\n") };
    let text = format!("[[rule]]\nname = \"anger\"\nemotions = [\"angry\"]\n{values}{counts}");
    Ok(Arc::new(Rules::parse(&text)?))
}

/// Nine onsets told in ten come first; then an onset weighs as much as two false alerts in the hardest mix, or one in another with an
/// emotion, or half of one where nobody but an angry party is moved.
fn score(table: &Table) -> i64 {
    let [angry, neutral, happy, others @ ..] = table;
    let told = i64::from(angry.resolved.min(angry.onsets * 9 / 10)) * 10 + 2 * i64::from(angry.resolved);
    let others: u32 = others.iter().map(|told| told.false_alerts).sum();
    told - i64::from(happy.false_alerts)
        - 4 * i64::from(angry.false_alerts + neutral.false_alerts)
        - 2 * i64::from(others)
}

/// What was told by the scores of all models.
fn sum(tables: &[Table]) -> Table {
    std::array::from_fn(|mix| {
        tables.iter().map(|table| table[mix]).fold(Told::default(), |all, told| Told {
            calls: all.calls + told.calls,
            onsets: all.onsets + told.onsets,
            in_time: all.in_time + told.in_time,
            resolved: all.resolved + told.resolved,
            false_alerts: all.false_alerts + told.false_alerts,
            most_in_a_call: all.most_in_a_call.max(told.most_in_a_call),
            calls_with_any: all.calls_with_any + told.calls_with_any,
        })
    })
}

fn brief(table: &Table) -> String {
    let [angry, ..] = table;
    let wrong: Vec<String> = table.iter().map(|told| told.false_alerts.to_string()).collect();
    let most = table.iter().map(|told| told.most_in_a_call).max().unwrap_or_default();
    format!("{} of {} | {} | {} | {most}", angry.in_time, angry.onsets, angry.resolved, wrong.join(", "))
}

/// The mixes, in the order of a table's rows.
fn names(between: &str) -> String {
    MIXES.map(|(name, _)| name).join(between)
}

fn table(calls: &[Heard], rules: &Arc<Rules>, side: &str) -> Table {
    let mut table = Table::default();
    for call in calls.iter().filter(|call| call.truth.side == side) {
        table[call.truth.mix].add(&call.truth, &alerts(call, rules));
    }
    table
}

fn alerts(call: &Heard, rules: &Arc<Rules>) -> Vec<Alert> {
    let mut leg = Leg::new(rules);
    for row in &call.rows {
        leg.add(row.clone()).expect("scores were written by this program");
    }
    leg.end();
    std::iter::from_fn(|| leg.poll_alert()).collect()
}

impl Told {
    fn add(&mut self, truth: &Truth, alerts: &[Alert]) {
        self.calls += 1;
        let fired: Vec<&Alert> = alerts.iter().filter(|alert| alert.reason == Reason::Rose).collect();
        for &(onset, _) in &truth.stretches {
            self.onsets += 1;
            let told = fired.iter().find(|alert| {
                let at = alert.at.as_secs_f64();
                at >= onset && at <= onset + IN_TIME_SECONDS
            });
            let Some(told) = told else { continue };
            self.in_time += 1;
            let calmed = |alert: &&Alert| alert.number == told.number && alert.state == State::Resolved;
            self.resolved += u32::from(alerts.iter().find(calmed).is_some_and(|alert| alert.reason == Reason::Calmed));
        }
        let about_anger = |alert: &&&Alert| {
            let at = alert.at.as_secs_f64();
            truth.stretches.iter().any(|&(begin, end)| at >= begin && at <= end + TAIL_SECONDS)
        };
        let wrong = u32::try_from(fired.iter().filter(|alert| !about_anger(alert)).count()).unwrap_or(u32::MAX);
        self.false_alerts += wrong;
        self.most_in_a_call = self.most_in_a_call.max(wrong);
        self.calls_with_any += u32::from(wrong > 0);
    }

    /// False alerts in an hour of such calls.
    fn an_hour(&self) -> f64 {
        let hours = f64::from(self.calls) * CALL_SECONDS / 3600.0;
        f64::from(self.false_alerts) / hours.max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, onsets, in_time, resolved, false_alerts, most_in_a_call, calls_with_any } = self;
        let told = if *onsets == 0 { "– | –".to_owned() } else { format!("{in_time} of {onsets} | {resolved}") };
        let an_hour = self.an_hour();
        write!(out, "{calls} | {told} | {false_alerts} | {an_hour:.1} | {most_in_a_call} | {calls_with_any}")
    }
}

fn read(calls: &Path, scores: &Path) -> anyhow::Result<Vec<Heard>> {
    let text = fs::read_to_string(scores).with_context(|| format!("cannot read {}", scores.display()))?;
    let mut heard: Vec<Heard> = Vec::new();
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).with_context(|| scores.display().to_string())?;
        if heard.last().is_none_or(|last| last.rows.first().is_some_and(|first| first.file != row.file)) {
            let name = Path::new(&row.file).with_extension("truth.json");
            let truth = calls.join(name.file_name().context("a row without a file")?);
            let truth = fs::read_to_string(&truth).with_context(|| format!("cannot read {}", truth.display()))?;
            heard.push(Heard { rows: Vec::new(), truth: serde_json::from_str(&truth)? });
        }
        heard.last_mut().expect("one was pushed").rows.push(row);
    }
    anyhow::ensure!(!heard.is_empty(), "{} holds no scores", scores.display());
    Ok(heard)
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print(line: &str) {
    println!("{line}");
}
