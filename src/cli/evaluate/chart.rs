//! Pictures as SVG, by plotters.

use plotters::{
    chart::SeriesLabelPosition,
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use undertone::evaluate::curves::Bin;

/// Colours that are told apart by most eyes (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(225, 228, 232);
const MIDDLE: RGBColor = RGBColor(130, 137, 146);
const FONT: &str = "sans-serif";
const FONT_PIXELS: u32 = 13;

/// What keeps a picture from being drawn: a text that plotters cannot place.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// One line of a chart.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Which of the colours; lines of one model share it.
    pub(super) colour: usize,
    pub(super) dashed: bool,
}

/// Axes of a line chart.
pub(super) struct Axes {
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
    pub(super) x_name: &'static str,
    pub(super) y_name: &'static str,
    /// Whether both are parts, told in per cent.
    pub(super) percent: bool,
}

/// A value and its interval at one place of a [`dots`] chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dot {
    /// Which of the categories.
    pub(super) at: usize,
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// `[truth][answer]` as shares of each row, darker where more.
pub(super) fn confusion(labels: &[String], matrix: &[Vec<u64>]) -> Result<String, Error> {
    const CELL: i32 = 52;
    const LEFT: i32 = 74;
    const TOP: i32 = 44;
    let count = i32::try_from(labels.len())?;
    let size = (u32::try_from(LEFT + CELL * count + 8)?, u32::try_from(TOP + CELL * count + 8)?);
    picture(size, |root| {
        let centre = Pos::new(HPos::Center, VPos::Center);
        root.draw(&Text::new("answered", (LEFT + CELL * count / 2, 8), text(12, &MIDDLE, centre)))?;
        for (row, (label, counts)) in (0..).zip(labels.iter().zip(matrix)) {
            let middle = TOP + CELL * row + CELL / 2;
            root.draw(&Text::new(
                label.clone(),
                (LEFT - 8, middle),
                text(13, &INK, Pos::new(HPos::Right, VPos::Center)),
            ))?;
            root.draw(&Text::new(label.clone(), (LEFT + CELL * row + CELL / 2, 28), text(13, &INK, centre)))?;
            let all: u64 = counts.iter().sum();
            for (column, &cell) in (0..).zip(counts) {
                let share = if all == 0 { 0.0 } else { cell as f64 / all as f64 };
                let (x, y) = (LEFT + CELL * column, TOP + CELL * row);
                root.draw(&Rectangle::new([(x, y), (x + CELL - 2, y + CELL - 2)], shade(share).filled()))?;
                let ink = if share > 0.5 { WHITE } else { INK };
                let at = (x + CELL / 2 - 1, y + CELL / 2 - 1);
                root.draw(&Text::new(format!("{:.0}", share * 100.0), at, text(15, &ink, centre)))?;
            }
        }
        Ok(())
    })
}

/// How right answers are at each confidence, beside the diagonal on which they would be as right as they are sure.
pub(super) fn reliability(bins: &[Bin], colour: usize) -> Result<String, Error> {
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1) as f64;
    picture((380, 320), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .set_label_area_size(LabelAreaPosition::Left, 52)
            .set_label_area_size(LabelAreaPosition::Bottom, 40)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        mesh(&mut chart, "confidence, %", "right, %", true)?;
        // How many there are of each confidence, as a faint floor.
        chart.draw_series(bins.iter().map(|bin| {
            let height = 0.2 * bin.count as f64 / most;
            Rectangle::new([(bin.from + 0.004, 0.0), (bin.to - 0.004, height)], FAINT.filled())
        }))?;
        chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 4, 4, MIDDLE.stroke_width(1)))?;
        let told: Vec<(f64, f64)> =
            bins.iter().filter(|bin| bin.count > 0).map(|bin| (bin.confidence, bin.accuracy)).collect();
        chart.draw_series(LineSeries::new(told.iter().copied(), hue(colour).stroke_width(2)))?;
        chart.draw_series(told.iter().map(|&at| Circle::new(at, 4, hue(colour).filled())))?;
        Ok(())
    })
}

/// Lines over a plane, with a legend where there are several.
pub(super) fn lines(axes: &Axes, lines: &[Line]) -> Result<String, Error> {
    picture((620, 340), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .set_label_area_size(LabelAreaPosition::Left, 56)
            .set_label_area_size(LabelAreaPosition::Bottom, 40)
            .build_cartesian_2d(axes.x.0..axes.x.1, axes.y.0..axes.y.1)?;
        mesh(&mut chart, axes.x_name, axes.y_name, axes.percent)?;
        for line in lines {
            let style = hue(line.colour).stroke_width(2);
            let points = line.points.iter().copied();
            let drawn = if line.dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?
            } else {
                chart.draw_series(LineSeries::new(points, style))?
            };
            let dashed = line.dashed;
            drawn.label(line.name.clone()).legend(move |(x, y)| {
                let end = if dashed { x + 9 } else { x + 18 };
                PathElement::new([(x, y), (end, y)], style)
            });
        }
        if lines.len() > 1 {
            legend(&mut chart, SeriesLabelPosition::UpperRight)?;
        }
        Ok(())
    })
}

/// A dot with its interval for each category and series, the series beside each other, in per cent. `reference` is a line across.
pub(super) fn dots(
    categories: &[String],
    series: &[(String, Vec<Dot>)],
    reference: Option<(&str, f64)>,
) -> Result<String, Error> {
    let width = (110 + 74 * categories.len()).max(380);
    let values = || series.iter().flat_map(|(_, dots)| dots);
    let low = values().map(|dot| dot.low).chain(reference.map(|(_, value)| value)).fold(1.0, f64::min);
    let high = values().map(|dot| dot.high).chain(reference.map(|(_, value)| value)).fold(0.0, f64::max);
    let (low, high) = (((low - 0.02) * 20.0).floor() / 20.0, ((high + 0.02) * 20.0).ceil() / 20.0);
    let (low, high) = (low.max(0.0), high.min(1.0));
    // A legend above the plot: dots leave no corner free for sure.
    let legend_lines = i32::try_from(series.len() + usize::from(reference.is_some()))?;
    let top = 8 + 18 * legend_lines;
    picture((u32::try_from(width)?, u32::try_from(300 + top)?), |root| {
        let names = series.iter().map(|(name, _)| name.as_str()).chain(reference.map(|(name, _)| name));
        for (row, name) in (0..).zip(names) {
            let y = 12 + 18 * row;
            let colour = if usize::try_from(row)? < series.len() { hue(usize::try_from(row)?) } else { MIDDLE };
            if colour == MIDDLE {
                for from in [58, 67] {
                    root.draw(&PathElement::new([(from, y), (from + 5, y)], MIDDLE.stroke_width(2)))?;
                }
            } else {
                root.draw(&Circle::new((65, y), 4, colour.filled()))?;
            }
            let style = text(FONT_PIXELS, &INK, Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(name.to_owned(), (80, y), style))?;
        }
        let count = categories.len() as f64;
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_top(top + 4)
            .set_label_area_size(LabelAreaPosition::Left, 52)
            .set_label_area_size(LabelAreaPosition::Bottom, 28)
            .build_cartesian_2d(-0.5..count - 0.5, low..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(6)
            .y_desc("UAR, %")
            .axis_style(MIDDLE)
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .label_style(text(FONT_PIXELS, &INK, Pos::default()))
            .y_label_formatter(&|value| format!("{:.0}", value * 100.0))
            .draw()?;
        chart.draw_series((0_u32..).zip(categories).map(|(at, name)| {
            let style = text(FONT_PIXELS, &INK, Pos::new(HPos::Center, VPos::Top));
            EmptyElement::at((f64::from(at), low)) + Text::new(name.clone(), (0, 9), style)
        }))?;
        if let Some((_, value)) = reference {
            chart.draw_series(DashedLineSeries::new(
                [(-0.5, value), (count - 0.5, value)],
                5,
                4,
                MIDDLE.stroke_width(1),
            ))?;
        }
        for (index, (_, dots)) in series.iter().enumerate() {
            let aside = (index as f64 - (series.len() - 1) as f64 / 2.0) * (0.6 / series.len() as f64).min(0.16);
            let x = |dot: &Dot| dot.at as f64 + aside;
            chart.draw_series(dots.iter().map(|dot| {
                PathElement::new([(x(dot), dot.low), (x(dot), dot.high)], hue(index).mix(0.45).stroke_width(2))
            }))?;
            chart.draw_series(dots.iter().map(|dot| Circle::new((x(dot), dot.value), 4, hue(index).filled())))?;
            if series.len() == 1 {
                chart.draw_series(dots.iter().map(|dot| {
                    let style = text(12, &INK, Pos::new(HPos::Left, VPos::Center));
                    EmptyElement::at((x(dot), dot.value))
                        + Text::new(format!("{:.1}", dot.value * 100.0), (7, 0), style)
                }))?;
            }
        }
        Ok(())
    })
}

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// What `draw` draws, without the name space that a picture within a page does not need.
fn picture(size: (u32, u32), draw: impl FnOnce(&Root<'_>) -> Result<(), Error>) -> Result<String, Error> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&root)?;
        root.present()?;
    }
    Ok(svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", " role=\"img\""))
}

fn mesh(chart: &mut Plane<'_, '_>, x_name: &str, y_name: &str, percent: bool) -> Result<(), Error> {
    let tell = |value: &f64| match value {
        _ if percent => format!("{:.0}", value * 100.0),
        _ if value.fract().abs() < 1e-9 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    };
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(6)
        .x_desc(x_name)
        .y_desc(y_name)
        .axis_style(MIDDLE)
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .label_style(text(FONT_PIXELS, &INK, Pos::default()))
        .x_label_formatter(&tell)
        .y_label_formatter(&tell)
        .draw()?;
    Ok(())
}

fn legend<'a, 'b: 'a>(chart: &mut Plane<'a, 'b>, position: SeriesLabelPosition) -> Result<(), Error> {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(FAINT)
        .label_font(text(FONT_PIXELS, &INK, Pos::default()))
        .margin(8)
        .draw()?;
    Ok(())
}

fn text(pixels: u32, colour: &RGBColor, pos: Pos) -> TextStyle<'_> {
    TextStyle::from((FONT, pixels).into_font()).color(colour).pos(pos)
}

/// The colour of the series of this number.
pub(super) fn hue(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// White at 0, the first colour at 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a channel of a colour")]
fn shade(share: f64) -> RGBColor {
    let channel = |full: u8| (255.0 - (255.0 - f64::from(full)) * share).round() as u8;
    let RGBColor(red, green, blue) = COLOURS[0];
    RGBColor(channel(red), channel(green), channel(blue))
}
