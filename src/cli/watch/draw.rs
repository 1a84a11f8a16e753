//! The board as it is seen.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Paragraph},
};
use tui_input::Input;
use undertone::server::proto::{AlertSeverity, AlertState};

use super::{
    board::{Board, Link},
    keys::Question,
};

mod alerts;
mod calls;
mod room;
mod table;

use room::{Room, Wanted};

/// Cells of a full bar.
const BAR: usize = 12;
/// From so many columns on the first line names the program and the server.
const NAMED: u16 = 70;
/// From so many lines on what was done last and what keys mean have a line each.
const TALL: u16 = 12;
/// From so many lines on, where something is asked and does not fit beside the keys, they have a line of their own.
const ASKED: u16 = 6;
/// Stands before what is typed.
const PROMPT: &str = " > ";

/// What is shown beside the board itself.
#[derive(Debug)]
pub(super) struct Frill<'a> {
    /// The server.
    pub(super) url: &'a str,
    /// What was done last, or went wrong.
    pub(super) notice: &'a str,
    /// What is asked or told in place of it.
    pub(super) question: Option<Question<'a>>,
    /// What keys mean.
    pub(super) help: String,
}

/// Draws all of it, as it is at this time.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, frill: &Frill<'_>, now: SystemTime) {
    let area = frame.area();
    let size = (area.width, area.height);
    let block = || Block::new().borders(room::borders(size));
    let lines = board.selected().map(|alert| alerts::evidence(alert, board.answer(), block().inner(area).width));
    let lines = lines.unwrap_or_default();
    let rows = board.rows(now);
    let foot = foot(frill, size);
    let typed = frill.question.as_ref().and_then(|question| question.typed);
    let wanted =
        Wanted { alerts: board.alerts().len(), evidence: lines.len(), foot: foot.len() + usize::from(typed.is_some()) };
    let room = Room::of(size, wanted);
    let heights = [room.head, room.calls, room.alerts, room.evidence, room.foot].map(Constraint::Length);
    let [head, calls, alerts, evidence, below] = Layout::vertical(heights).areas(area);
    frame.render_widget(header(board, frill.url, area.width, now), head);
    calls::draw(frame, calls, rows, block(), now);
    alerts::draw(frame, alerts, board, block(), now);
    let of_selected = board.selected().map_or_else(String::new, |alert| alerts::evidence_title(alert, now));
    frame.render_widget(Paragraph::new(lines).block(block().title(of_selected)), evidence);
    let [above, prompt] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(u16::from(typed.is_some()))]).areas(below);
    frame.render_widget(Paragraph::new(foot), above);
    if let Some(typed) = typed {
        draw_prompt(frame, prompt, typed);
    }
}

/// The lowest lines, without what is typed.
fn foot(frill: &Frill<'_>, (width, height): (u16, u16)) -> Vec<Line<'static>> {
    let help = || Line::from(format!(" {}", frill.help)).dim();
    let notice = || Line::from(format!(" {}", frill.notice));
    let Some(question) = &frill.question else {
        return match frill.notice {
            _ if height >= TALL => vec![notice(), help()],
            "" if height >= ASKED => vec![help()],
            "" => Vec::new(),
            _ => vec![notice()],
        };
    };
    let asked = || Span::from(format!(" {}", question.text)).bold();
    let both = Line::from_iter([asked(), Span::from(format!("   {}", frill.help)).dim()]);
    // An answer to what was done before comes beside the next question.
    let mut lines = if height >= TALL && !frill.notice.is_empty() { vec![notice()] } else { Vec::new() };
    if both.width() <= usize::from(width) {
        lines.push(both);
    } else {
        lines.push(Line::from(asked()));
        if height >= ASKED {
            lines.push(help());
        }
    }
    if height >= TALL && lines.len() == 1 && question.typed.is_none() {
        // As many as otherwise: nothing moves.
        lines.push(Line::default());
    }
    lines
}

/// What is typed, as far as there is room for it around the cursor.
fn draw_prompt(frame: &mut Frame<'_>, area: Rect, typed: &Input) {
    let [mark, field] = Layout::horizontal([Constraint::Length(PROMPT.len() as u16), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Span::from(PROMPT).bold(), mark);
    if field.is_empty() {
        return;
    }
    // A cell is left for the cursor behind the last letter.
    let scroll = typed.visual_scroll(usize::from(field.width) - 1);
    let cells = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(typed.value()).scroll((0, cells(scroll))), field);
    let at = cells(typed.visual_cursor().saturating_sub(scroll));
    frame.set_cursor_position((field.x + at.min(field.width - 1), field.y));
}

fn header(board: &Board, url: &str, width: u16, now: SystemTime) -> Line<'static> {
    let link = match board.link() {
        Link::Connecting => Span::from("connecting").yellow(),
        Link::Connected => Span::from("connected").green(),
        Link::Disconnected { problem, since } => {
            let age = now.duration_since(*since).unwrap_or_default();
            Span::from(format!("DISCONNECTED for {}: {problem}", clock(age))).red().bold()
        }
    };
    let (live, firing) = (board.live(), board.firing());
    let mut spans = vec![Span::from(" ")];
    if width >= NAMED {
        spans = vec![Span::from(" undertone ").bold(), Span::from(format!(" {url}  "))];
    }
    spans.extend([
        link,
        Span::from(format!("   {live} {}   ", if live == 1 { "call" } else { "calls" })),
        Span::styled(format!("{firing} firing"), if firing > 0 { Style::new().red().bold() } else { Style::new() }),
        Span::from(format!("   sequence {}", board.sequence())),
    ]);
    if board.nodes().len() > 1 {
        spans.push(Span::from(format!("   servers {}", board.nodes().join(", "))));
    }
    if board.missed() > 0 {
        spans.push(Span::from(format!("   {} entries missed", board.missed())).red());
    }
    Line::from(spans)
}

fn of_state(state: AlertState, severity: AlertSeverity) -> Style {
    match state {
        AlertState::Firing if severity == AlertSeverity::Critical => Style::new().red().bold(),
        AlertState::Firing => Style::new().yellow().bold(),
        AlertState::Acknowledged | AlertState::Snoozed => Style::new().cyan(),
        AlertState::Resolved | AlertState::Unspecified => Style::new().dim(),
    }
}

fn colour(label: &str) -> Color {
    match label {
        "angry" => Color::Red,
        "disgust" => Color::Magenta,
        "fear" => Color::Yellow,
        "happy" => Color::Green,
        "sad" => Color::Blue,
        _ => Color::Reset,
    }
}

fn age(at: Timestamp, now: SystemTime) -> Duration {
    // Another machine's clock may be ahead.
    SystemTime::try_from(at).ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default()
}

/// "1:05", or "1:00:05".
fn clock(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

#[cfg(test)]
mod tests;
