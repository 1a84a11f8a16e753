//! The board as it is seen.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Table, TableState},
};
use undertone::server::proto::{Alert, AlertEntry, AlertSeverity, AlertState};

use super::board::{self, Board, Link, Trend};
use crate::cli::text;

/// Cells of a full bar.
const BAR: usize = 12;

/// What is shown beside the board itself.
#[derive(Debug)]
pub(super) struct Frill<'a> {
    /// The server.
    pub(super) url: &'a str,
    /// What was done last, or went wrong.
    pub(super) notice: &'a str,
    /// A question, and what is typed so far.
    pub(super) question: Option<(String, &'a str)>,
    /// What keys mean.
    pub(super) help: String,
}

/// Draws all of it, as it is at this time.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, frill: &Frill<'_>, now: SystemTime) {
    let [head, calls, alerts, evidence, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(6),
        Constraint::Length(2),
    ])
    .areas(frame.area());
    frame.render_widget(header(board, frill.url, now), head);
    draw_calls(frame, calls, board, now);
    draw_alerts(frame, alerts, board, now);
    let lines = board.selected().map(evidence_of).unwrap_or_default();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" Evidence of the selected alert ")),
        evidence,
    );
    let lower = match &frill.question {
        Some((question, typed)) => Line::from(vec![
            Span::from(format!(" {question} ")).bold(),
            Span::from(format!("{typed}▏")),
            Span::from(format!("   {}", frill.help)).dim(),
        ]),
        None => Line::from(format!(" {}", frill.help)).dim(),
    };
    frame.render_widget(Paragraph::new(vec![Line::from(format!(" {}", frill.notice)), lower]), foot);
}

fn header(board: &Board, url: &str, now: SystemTime) -> Line<'static> {
    let link = match board.link() {
        Link::Connecting => Span::from("connecting").yellow(),
        Link::Connected => Span::from("connected").green(),
        Link::Disconnected { problem, since } => {
            let age = now.duration_since(*since).unwrap_or_default();
            Span::from(format!("DISCONNECTED for {}: {problem}", clock(age))).red().bold()
        }
    };
    let (live, firing) = (board.live(), board.firing());
    let mut spans = vec![
        Span::from(" undertone ").bold(),
        Span::from(format!(" {url}  ")),
        link,
        Span::from(format!("   {live} {}   ", if live == 1 { "call" } else { "calls" })),
        Span::styled(format!("{firing} firing"), if firing > 0 { Style::new().red().bold() } else { Style::new() }),
        Span::from(format!("   sequence {}", board.sequence())),
    ];
    if board.nodes().len() > 1 {
        spans.push(Span::from(format!("   servers {}", board.nodes().join(", "))));
    }
    if board.missed() > 0 {
        spans.push(Span::from(format!("   {} entries missed", board.missed())).red());
    }
    Line::from(spans)
}

fn draw_calls(frame: &mut Frame<'_>, area: Rect, board: &Board, now: SystemTime) {
    let rows = board.rows(now);
    // The border and the heads of the columns.
    let room = usize::from(area.height.saturating_sub(3));
    let title =
        if rows.len() > room { format!(" Calls: {room} of {} legs ", rows.len()) } else { " Calls ".to_owned() };
    let table = Table::new(
        rows.into_iter().take(room).map(|row| call_row(&row, now)),
        [
            Constraint::Fill(2),
            Constraint::Length(10),
            Constraint::Length(8),
            Constraint::Length(10),
            Constraint::Length(17),
            Constraint::Length(5),
            Constraint::Length(6),
            Constraint::Length(12),
            Constraint::Fill(1),
        ],
    )
    .header(Row::new(["call", "leg", "time", "heard", "", "trend", "speech", "now", "alerts"]).dim())
    .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn call_row(row: &board::Row<'_>, now: SystemTime) -> Row<'static> {
    let board::Row { call, leg, trend } = row;
    let (heard, bar) = match &leg.smoothed {
        _ if leg.consent_withdrawn => (Span::from("withdrawn").dim(), Span::default()),
        _ if !leg.analysed => (Span::from("dropped").dim(), Span::default()),
        None => (Span::from("…").dim(), Span::default()),
        Some(smoothed) => {
            let style = Style::new().fg(colour(&smoothed.label));
            let bar = format!("{:.2} {}", smoothed.confidence, text::bar_of(smoothed.confidence, BAR));
            (Span::styled(smoothed.label.clone(), style), Span::styled(bar, style))
        }
    };
    let trend = match trend {
        Trend::Unknown => "",
        Trend::Rising => "↑",
        Trend::Steady => "→",
        Trend::Falling => "↓",
    };
    let reason = leg.not_scored.map(text::not_scored).unwrap_or_default();
    let alerts = leg.alerts.iter().map(|alert| {
        let severity = if alert.severity() == AlertSeverity::Critical { "!" } else { "" };
        Span::styled(format!("{}{severity} ", alert.rule), of_state(alert.state(), alert.severity()))
    });
    Row::new([
        Cell::from(call.call_id.clone()),
        Cell::from(leg.leg_id.clone()),
        Cell::from(call.began_at.map_or_else(String::new, |at| clock(age(at, now)))),
        Cell::from(heard),
        Cell::from(bar),
        Cell::from(trend),
        Cell::from(format!("{:3.0} %", leg.speech_ratio * 100.0)),
        Cell::from(Span::from(reason).dim()),
        Cell::from(Line::from_iter(alerts)),
    ])
}

fn draw_alerts(frame: &mut Frame<'_>, area: Rect, board: &Board, now: SystemTime) {
    let rows = board.alerts().into_iter().filter_map(|entry| alert_row(entry, now));
    let table = Table::new(
        rows,
        [
            Constraint::Length(13),
            Constraint::Length(9),
            Constraint::Length(14),
            Constraint::Length(9),
            Constraint::Fill(2),
            Constraint::Length(10),
            Constraint::Fill(2),
        ],
    )
    .header(Row::new(["state", "severity", "rule", "since", "call", "leg", "why"]).dim())
    .row_highlight_style(Style::new().reversed())
    .block(Block::bordered().title(" Alerts "));
    let mut state = TableState::new().with_selected(board.selected_index());
    frame.render_stateful_widget(table, area, &mut state);
}

fn alert_row(entry: &AlertEntry, now: SystemTime) -> Option<Row<'static>> {
    let alert = entry.alert.as_ref()?;
    let reason = text::plain(alert.reason().as_str_name(), "ALERT_REASON_");
    let why = match alert.actor.as_str() {
        "" => reason,
        actor => format!("{actor}: {}", alert.actor_reason),
    };
    Some(
        Row::new([
            text::plain(alert.state().as_str_name(), "ALERT_STATE_"),
            text::plain(alert.severity().as_str_name(), "ALERT_SEVERITY_"),
            alert.rule.clone(),
            alert.changed_at.map_or_else(String::new, |at| clock(age(at, now))),
            alert.call_id.clone(),
            alert.leg_id.clone(),
            why,
        ])
        .style(of_state(alert.state(), alert.severity())),
    )
}

fn evidence_of(alert: &Alert) -> Vec<Line<'static>> {
    let Some(evidence) = &alert.evidence else { return Vec::new() };
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
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use undertone::server::proto::OpenAlert;

    use super::*;
    use crate::cli::watch::{
        board::tests::{NOW, alert, board_of, call, round},
        feed::Update,
    };

    fn screen(board: &Board, question: Option<(String, &str)>, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let frill = Frill { url: "http://a:1", notice: "told", question, help: "keys".to_owned() };
        terminal.draw(|frame| draw(frame, board, &frill, NOW + Duration::from_secs(65))).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }

    fn line<'a>(screen: &'a str, with: &str) -> &'a str {
        screen.lines().find(|line| line.contains(with)).unwrap_or_else(|| panic!("no {with} on\n{screen}"))
    }

    #[test]
    fn calls_alerts_and_evidence_are_seen() {
        let mut angry = call("1", 0.82);
        let rule = "anger".to_owned();
        let state = AlertState::Firing.into();
        angry.legs[0].alerts =
            vec![OpenAlert { rule, state, severity: AlertSeverity::Critical.into(), ..OpenAlert::default() }];
        let mut silent = call("2", 0.1);
        silent.legs[0].not_scored = Some(1);
        let board = board_of([Update::Connected, round([silent, angry], &[]), alert("a", 7, AlertState::Firing)]);
        let screen = screen(&board, None, (110, 30));
        let head = screen.lines().next().unwrap();
        for part in ["http://a:1", "connected", "2 calls", "1 firing", "sequence 7"] {
            assert!(head.contains(part), "{head}");
        }
        let calls: Vec<&str> =
            screen.lines().filter(|line| line.contains("call-1") || line.contains("call-2")).collect();
        assert!(
            calls[0].contains("call-1") && calls[0].contains("1:05") && calls[0].contains("0.82 ██████████"),
            "{screen}"
        );
        assert!(calls[0].contains("75 %") && calls[0].contains("anger!"), "{screen}");
        assert!(calls[1].contains("neutral") && calls[1].contains("silence"), "{screen}");
        let alert = line(&screen, "call-of-a  ");
        assert!(alert.contains("firing") && alert.contains("warning") && alert.contains("anger"), "{alert}");
        assert!(line(&screen, "anger 2 on call-of-a").contains("0:10 to 0:20 of the call, 12 windows"), "{screen}");
        assert!(line(&screen, "level 0.62").contains("at most 0.70 at 0:19; speech 90 %, 18 dB"), "{screen}");
        assert!(line(&screen, "angry 0.62").contains("angry"), "{screen}");
        assert!(line(&screen, "keys").starts_with(" keys") && screen.contains(" told"), "{screen}");
    }

    #[test]
    fn a_break_is_told_and_a_question_takes_the_place_of_help() {
        let gone = Update::Disconnected { problem: "cannot reach it".to_owned(), again_in: Duration::ZERO };
        let board = board_of([Update::Connected, gone]);
        let screen = screen(&board, Some(("Why?".to_owned(), "becau")), (100, 24));
        assert!(line(&screen, "DISCONNECTED").contains("for 1:05: cannot reach it"), "{screen}");
        assert!(line(&screen, "Why?").contains("becau▏"), "{screen}");
    }

    #[test]
    fn what_must_not_be_known_is_not_shown_and_small_screens_are_no_trouble() {
        let mut withdrawn = call("1", 0.9);
        withdrawn.legs[0].consent_withdrawn = true;
        let mut agent = call("2", 0.9);
        agent.legs[0].analysed = false;
        let board = board_of([Update::Connected, round([withdrawn, agent], &[])]);
        let seen = screen(&board, None, (110, 30));
        assert!(line(&seen, "call-1").contains("withdrawn") && line(&seen, "call-2").contains("dropped"), "{seen}");
        assert!(!seen.contains("0.90"), "{seen}");
        let crowd = board_of([Update::Connected, round((0..500).map(|at| call(&at.to_string(), 0.1)), &[])]);
        assert!(screen(&crowd, None, (110, 30)).contains("of 500 legs"));
        for size in [(1, 1), (20, 5), (300, 3)] {
            screen(&crowd, None, size);
        }
    }
}
