//! Several models in one table: a row a setting, a column a model, and people below.

use std::iter;

use super::{
    Scored,
    columns::{self, Column, Row},
    percent, print,
};

/// Characters of a line that a terminal shows; models that do not fit stand in a table below.
const LINE_CHARACTERS: usize = 100;

/// Between two columns.
const GAP_CHARACTERS: usize = 2;

/// The UAR of every model under every setting, all of which they share.
pub(super) fn show(models: &[&Scored]) -> anyhow::Result<()> {
    let Some(first) = models.first() else { return Ok(()) };
    print("UAR and its 95 % interval, in per cent")?;
    let settings = Column::settings(&Row::all(&first.results));
    let models: Vec<Column> = models.iter().map(|model| column(model)).collect();
    for models in blocks(&models, LINE_CHARACTERS - settings.width()) {
        print(format!("\n{}", columns::table(iter::once(&settings).chain(models))))?;
    }
    if let Some(people) = first.results.first().and_then(|outcome| outcome.listeners.as_ref()) {
        print(format!(
            "\npeople who heard {} of these clips: {} of their {} votes right, {} by plurality",
            people.clips,
            percent(people.accuracy),
            people.votes,
            percent(people.plurality_accuracy),
        ))?;
    }
    print("")
}

fn column(model: &Scored) -> Column {
    let cell = |row: Row<'_>| match row {
        Row::Model(_) => format!("{:>4} ({})", row.uar(), row.interval()),
        Row::Vote(_) | Row::Plurality(_) => format!("{:>4}", row.uar()),
    };
    // The hash tells apart models of one name.
    let head = format!("{} {}\n{}", model.name, model.version, &model.sha256[..12]);
    Column::text(head, Row::all(&model.results).into_iter().map(cell).collect())
}

/// Runs of columns, each as many as so many characters hold, and at least one.
fn blocks(mut columns: &[Column], characters: usize) -> Vec<&[Column]> {
    let mut blocks = Vec::new();
    while !columns.is_empty() {
        let taken = columns.iter().scan(0, |taken, column| {
            *taken += GAP_CHARACTERS + column.width();
            Some(*taken)
        });
        let (block, others) = columns.split_at(taken.take_while(|&taken| taken <= characters).count().max(1));
        blocks.push(block);
        columns = others;
    }
    blocks
}
