//! Alerts, and what the selected one rests on.

use std::time::{Duration, SystemTime};

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell, TableState},
};
use undertone::server::proto::{Alert, Evidence};

use super::{
    BAR, age, clock, colour, of_state,
    table::{Column, table},
};
use crate::cli::{
    text,
    watch::board::{Answer, Board},
};

const COLUMNS: [Column; 7] = [
    Column::new("state", Constraint::Length(13), 0),
    Column::new("severity", Constraint::Length(9), 90),
    Column::new("rule", Constraint::Length(14), 0),
    Column::new("since", Constraint::Length(9), 70),
    Column::new("call", Constraint::Fill(2), 0),
    Column::new("leg", Constraint::Length(10), 80),
    Column::new("why", Constraint::Fill(2), 50),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, board: &Board, block: Block<'_>, now: SystemTime) {
    let alerts = board.alerts().into_iter().filter_map(|entry| entry.alert.as_ref());
    let rows = alerts.map(|alert| (cells(alert, now), of_state(alert.state(), alert.severity())));
    let table = table(&COLUMNS, rows, block.title(" Alerts "), area).row_highlight_style(Style::new().reversed());
    let mut state = TableState::new().with_selected(board.selected_index());
    frame.render_stateful_widget(table, area, &mut state);
}

fn cells(alert: &Alert, now: SystemTime) -> Vec<Cell<'static>> {
    let why = match (alert.actor.as_str(), alert.actor_reason.as_str()) {
        ("", _) => text::plain(alert.reason().as_str_name(), "ALERT_REASON_"),
        (actor, "") => actor.to_owned(),
        (actor, reason) => format!("{actor}: {reason}"),
    };
    let cells = [
        text::plain(alert.state().as_str_name(), "ALERT_STATE_"),
        text::plain(alert.severity().as_str_name(), "ALERT_SEVERITY_"),
        alert.rule.clone(),
        alert.changed_at.map_or_else(String::new, |at| clock(age(at, now))),
        alert.call_id.clone(),
        alert.leg_id.clone(),
        why,
    ];
    cells.into_iter().map(Cell::from).collect()
}

/// Of when the evidence is: a server tells an alert when it changes, and not what its level is in between.
pub(super) fn evidence_title(alert: &Alert, now: SystemTime) -> String {
    let when = alert.changed_at.map_or_else(String::new, |at| format!(", {} ago", clock(age(at, now))));
    format!(" Evidence as of the selected alert's last change{when} ")
}

/// What an alert rests on and who answered it last, in lines of at most this width.
pub(super) fn evidence(alert: &Alert, answer: Option<&Answer>, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(answer) = answer {
        let Answer { state, actor, reason } = answer;
        let done = text::plain(state.as_str_name(), "ALERT_STATE_");
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        lines.extend(wrapped(&format!("{done} by {actor}{why}"), width).into_iter().map(Line::from));
    }
    if let Some(evidence) = &alert.evidence {
        lines.extend(heard(alert, evidence));
    }
    lines
}

fn heard(alert: &Alert, evidence: &Evidence) -> Vec<Line<'static>> {
    let rate_hz = u32::try_from(evidence.sample_rate_hertz).unwrap_or_default();
    let at = |samples| clock(Duration::try_from_secs_f64(text::seconds(samples, rate_hz)).unwrap_or_default());
    let mut lines = vec![Line::from(format!(
        " {} {} on {}, {}: {} to {} of the call, {} windows",
        alert.rule,
        alert.rule_version,
        alert.call_id,
        alert.leg_id,
        at(evidence.start_samples),
        at(evidence.end_samples),
        evidence.windows
    ))];
    if evidence.scores.is_empty() {
        lines.push(Line::from(" what was heard is not to be known any more").dim());
        return lines;
    }
    let snr = evidence.snr_db.map_or_else(String::new, |snr| format!(", {snr:.0} dB over noise"));
    lines.push(Line::from(format!(
        " level {:.2} {}{}  at most {:.2} at {}; speech {:.0} %{snr}",
        evidence.level,
        text::bar_of(evidence.level, BAR),
        text::usually(evidence.usual_level),
        evidence.peak,
        at(evidence.peak_end_samples),
        evidence.speech_ratio * 100.0
    )));
    let scores = evidence.scores.iter().map(|score| {
        Span::styled(format!(" {} {:.2} ", score.label, score.probability), Style::new().fg(colour(&score.label)))
    });
    lines.push(Line::from_iter(scores));
    let sha256 = evidence.model_sha256.get(..12).unwrap_or(&evidence.model_sha256);
    lines.push(Line::from(format!(" model {} {sha256}", evidence.model)).dim());
    lines
}

/// A text in lines of at most so many cells, broken between words where that can be; each begins a cell in from the border.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width).max(3);
    let cells = |text: &str| Span::raw(text).width();
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && cells(&line) + 1 + cells(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        line.push(' ');
        for letter in word.chars() {
            if cells(&line) + cells(letter.encode_utf8(&mut [0; 4])) > width {
                lines.push(std::mem::replace(&mut line, " ".to_owned()));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_between_words_and_long_words_anywhere() {
        assert_eq!(wrapped("I listen in", 20), [" I listen in"]);
        assert_eq!(wrapped("I listen  in", 10), [" I listen", " in"]);
        assert_eq!(wrapped("an abcdefghijkl m", 6), [" an", " abcde", " fghij", " kl m"]);
        assert_eq!(wrapped("日本語", 5), [" 日本", " 語"], "two cells a letter");
        assert!(wrapped("none is wider than this", 0).iter().all(|line| Span::raw(line.as_str()).width() <= 3));
    }
}
