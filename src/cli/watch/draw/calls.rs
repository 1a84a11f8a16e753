//! Calls, a row a leg.

use std::time::SystemTime;

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell},
};
use undertone::server::proto::AlertSeverity;

use super::{
    BAR, age, clock, colour, of_state,
    table::{Column, table},
};
use crate::cli::{
    text,
    watch::board::{Row, Trend},
};

const COLUMNS: [Column; 9] = [
    Column::new("call", Constraint::Fill(2), 0),
    Column::new("leg", Constraint::Length(10), 80),
    Column::new("time", Constraint::Length(8), 70),
    Column::new("heard", Constraint::Length(10), 0),
    Column::new("", Constraint::Length(17), 80),
    Column::new("trend", Constraint::Length(5), 60),
    Column::new("speech", Constraint::Length(6), 100),
    Column::new("now", Constraint::Length(12), 100),
    Column::new("alerts", Constraint::Fill(1), 30),
];

/// As many rows as there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, rows: Vec<Row<'_>>, block: Block<'_>, now: SystemTime) {
    let inner = usize::from(block.inner(area).height);
    // The heads of the columns.
    let room = if inner > 1 { inner - 1 } else { inner };
    let title =
        if rows.len() > room { format!(" Calls: {room} of {} legs ", rows.len()) } else { " Calls ".to_owned() };
    let rows = rows.into_iter().take(room).map(|row| (cells(&row, now), Style::new()));
    frame.render_widget(table(&COLUMNS, rows, block.title(title), area), area);
}

fn cells(row: &Row<'_>, now: SystemTime) -> Vec<Cell<'static>> {
    let Row { call, leg, trend } = row;
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
    vec![
        Cell::from(call.call_id.clone()),
        Cell::from(leg.leg_id.clone()),
        Cell::from(call.began_at.map_or_else(String::new, |at| clock(age(at, now)))),
        Cell::from(heard),
        Cell::from(bar),
        Cell::from(trend),
        Cell::from(format!("{:3.0} %", leg.speech_ratio * 100.0)),
        Cell::from(Span::from(reason).dim()),
        Cell::from(Line::from_iter(alerts)),
    ]
}
