//! A table whose less pressing columns go where the screen is narrow.

use ratatui::{
    layout::{Constraint, Rect},
    style::{Style, Stylize as _},
    widgets::{Block, Cell, Row, Table},
};

/// From this width on columns are as wide as they ask to be; below they share it evenly.
const NARROW: u16 = 50;

/// A column, shown on screens of this width and wider.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) width: Constraint,
    pub(super) from: u16,
}

impl Column {
    pub(super) const fn new(name: &'static str, width: Constraint, from: u16) -> Self {
        Self { name, width, from }
    }
}

/// The rows, a cell a column, that were shown so; the heads of the columns stand where they leave room for a row.
pub(super) fn table<'a>(
    columns: &'a [Column],
    rows: impl IntoIterator<Item = (Vec<Cell<'a>>, Style)>,
    block: Block<'a>,
    area: Rect,
) -> Table<'a> {
    let shown = |column: &&Column| column.from <= area.width;
    let row = |(cells, style): (Vec<Cell<'a>>, Style)| {
        let cells = cells.into_iter().zip(columns).filter(|(_, column)| shown(column));
        Row::new(cells.map(|(cell, _)| cell)).style(style)
    };
    let shown = || columns.iter().filter(shown);
    let widths = shown().map(|column| if area.width < NARROW { Constraint::Fill(1) } else { column.width });
    let heads = block.inner(area).height > 1;
    let table = Table::new(rows.into_iter().map(row), widths).block(block);
    if heads { table.header(Row::new(shown().map(|column| column.name)).dim()) } else { table }
}
