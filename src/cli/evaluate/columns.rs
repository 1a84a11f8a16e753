//! What tables of scores are made of: a row a setting, people below, and columns that know how wide they are.

use comfy_table::{CellAlignment, Table, presets};
use undertone::evaluate::{Listeners, Outcome};

use super::percent;

/// Heads of what a setting consists of, in two lines.
const SETTING_HEADS: [[&str; 3]; 2] = [["", "heard", ""], ["line", "before", "window"]];

/// Who is scored in a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    /// The model, under one setting.
    Model(&'a Outcome),
    /// People, each vote by itself.
    Vote(&'a Listeners),
    /// People, by what most of them voted for.
    Plurality(&'a Listeners),
}

/// A column of a table.
pub(super) struct Column {
    head: String,
    cells: Vec<String>,
    alignment: CellAlignment,
}

impl<'a> Row<'a> {
    /// A row a setting; then people, in the clips of the first, where their votes are known.
    pub(super) fn all(outcomes: &'a [Outcome]) -> Vec<Self> {
        let people = outcomes.first().and_then(|first| first.listeners.as_ref());
        let people = people.map(|people| [Self::Vote(people), Self::Plurality(people)]).into_iter().flatten();
        outcomes.iter().map(Self::Model).chain(people).collect()
    }

    /// UAR in per cent.
    pub(super) fn uar(self) -> String {
        percent(match self {
            Self::Model(outcome) => outcome.scores.uar,
            Self::Vote(people) => people.uar,
            Self::Plurality(people) => people.plurality_uar,
        })
    }

    /// The interval of the UAR in per cent, where there is one.
    pub(super) fn interval(self) -> String {
        self.figure(|outcome| format!("{}–{}", percent(outcome.scores.uar_low), percent(outcome.scores.uar_high)))
    }

    /// Accuracy in per cent.
    pub(super) fn accuracy(self) -> String {
        percent(match self {
            Self::Model(outcome) => outcome.scores.accuracy,
            Self::Vote(people) => people.accuracy,
            Self::Plurality(people) => people.plurality_accuracy,
        })
    }

    /// What only a model has.
    pub(super) fn figure(self, figure: impl FnOnce(&Outcome) -> String) -> String {
        match self {
            Self::Model(outcome) => figure(outcome),
            Self::Vote(_) | Self::Plurality(_) => String::new(),
        }
    }
}

impl Column {
    /// Of figures: to the right.
    pub(super) fn figures<'a>(head: &str, rows: &[Row<'a>], cell: impl FnMut(Row<'a>) -> String) -> Self {
        Self { head: head.to_owned(), cells: rows.iter().copied().map(cell).collect(), alignment: CellAlignment::Right }
    }

    /// Of text: to the left.
    pub(super) fn text(head: String, cells: Vec<String>) -> Self {
        Self { head, cells, alignment: CellAlignment::Left }
    }

    /// The settings, or that it is people. Its head has two lines.
    pub(super) fn settings(rows: &[Row<'_>]) -> Self {
        let settings = rows.iter().filter_map(|row| match row {
            Row::Model(outcome) => Some(setting(outcome)),
            Row::Vote(_) | Row::Plurality(_) => None,
        });
        let all: Vec<[&str; 3]> = SETTING_HEADS.into_iter().chain(settings).collect();
        let [line, heard] = [0, 1].map(|part| all.iter().map(|parts| parts[part].len()).max().unwrap_or_default());
        let text = |[a, b, c]: [&str; 3]| format!("{a:line$} {b:heard$} {c}");
        let cells = rows.iter().map(|row| match row {
            Row::Model(outcome) => text(setting(outcome)),
            Row::Vote(_) => "people, one vote".to_owned(),
            Row::Plurality(_) => "people, plurality".to_owned(),
        });
        Self::text(SETTING_HEADS.map(text).join("\n"), cells.collect())
    }

    /// Characters of its widest line.
    pub(super) fn width(&self) -> usize {
        let lines = self.head.lines().chain(self.cells.iter().map(String::as_str));
        lines.map(|line| line.chars().count()).max().unwrap_or_default()
    }
}

fn setting(outcome: &Outcome) -> [&str; 3] {
    [outcome.condition.as_str(), outcome.baseline.as_str(), outcome.window.as_str()]
}

/// Lines of a table of these columns, of which the first holds as many rows as any.
pub(super) fn table<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let columns: Vec<&Column> = columns.into_iter().collect();
    let mut table = bare(columns.iter().map(|column| column.head.clone()).collect());
    for (column, like) in table.column_iter_mut().zip(&columns) {
        column.set_cell_alignment(like.alignment);
    }
    for row in 0..columns.first().map_or(0, |first| first.cells.len()) {
        table.add_row(columns.iter().map(|column| column.cells.get(row).cloned().unwrap_or_default()));
    }
    table.trim_fmt()
}

/// A table without rules, whose columns stand two characters apart.
pub(super) fn bare(heads: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads);
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}
