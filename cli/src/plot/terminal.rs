//! A chart of characters: braille lines, or a letter for each series where there are no colours.

use console::{Color, Style};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color as Paint;
use ratatui_core::symbols::Marker;
use ratatui_core::widgets::Widget;
use ratatui_widgets::chart::{Axis, Chart as Lines, Dataset, GraphType};

use super::chart::{Chart, MOST_SERIES, Ranges};
use crate::output::{shown_name, shown_number};

const HEIGHT: u16 = 20;
/// The colours of the series, in their order.
const COLORS: [(Paint, Color); MOST_SERIES] = [
    (Paint::Cyan, Color::Cyan),
    (Paint::Yellow, Color::Yellow),
    (Paint::Magenta, Color::Magenta),
    (Paint::Green, Color::Green),
    (Paint::Red, Color::Red),
    (Paint::Blue, Color::Blue),
    (Paint::LightCyan, Color::White),
    (Paint::LightYellow, Color::Black),
];

/// Whether stdout shows colours: a terminal, unless `NO_COLOR` is set.
pub(super) fn colors() -> bool {
    console::colors_enabled() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// The chart and its legend, no wider than `width`.
pub(super) fn draw(chart: &Chart, ranges: Ranges, width: usize, colors: bool) -> String {
    let width = u16::try_from(width).unwrap_or(u16::MAX).clamp(40, 400);
    let letters = !colors && chart.series.len() > 1;
    let segments: Vec<Vec<Vec<(f64, f64)>>> =
        chart.series.iter().map(|series| series.segments()).collect();
    let lines = segments.iter().zip(0..).flat_map(|(segments, place)| {
        segments.iter().map(move |points| {
            let marker = if letters { Marker::Custom(letter(place)) } else { Marker::Braille };
            let paint = COLORS[place % MOST_SERIES].0;
            Dataset::default().marker(marker).graph_type(GraphType::Line).style(paint).data(points)
        })
    });
    let between = |[low, high]: [f64; 2], parts: u32| {
        (0..=parts).map(move |part| low + (high - low) * f64::from(part) / f64::from(parts))
    };
    let times = between(ranges.time, 2).map(|at| chart.time_label(at, ranges));
    let values = between(ranges.value, 4).map(shown_number);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, HEIGHT));
    Lines::new(lines.collect())
        .legend_position(None)
        .x_axis(Axis::default().bounds(ranges.time).labels(times))
        .y_axis(Axis::default().bounds(ranges.value).labels(values))
        .render(buffer.area, &mut buffer);
    let mut text: String =
        (0..HEIGHT).map(|row| line(&buffer, row, width, colors) + "\n").collect();
    for (series, place) in chart.series.iter().zip(0..) {
        let sign = if letters { letter(place) } else { '━' };
        let name = console::truncate_str(&shown_name(&series.name()), usize::from(width) - 2, "…")
            .into_owned();
        text += &format!("{} {name}\n", painted(&sign.to_string(), COLORS[place].1, colors));
    }
    text
}

fn letter(place: usize) -> char {
    char::from(b'a' + u8::try_from(place % MOST_SERIES).unwrap_or(0))
}

fn painted(text: &str, color: Color, colors: bool) -> String {
    match colors {
        true => Style::new().fg(color).force_styling(true).apply_to(text).to_string(),
        false => text.to_owned(),
    }
}

fn line(buffer: &Buffer, row: u16, width: u16, colors: bool) -> String {
    let mut line = String::new();
    for column in 0..width {
        let cell = &buffer[(column, row)];
        let color = COLORS.iter().find(|(paint, _)| *paint == cell.fg);
        match color.filter(|_| cell.symbol() != " ") {
            Some((_, color)) => line += &painted(cell.symbol(), *color, colors),
            None => line += cell.symbol(),
        }
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use jiff::tz::TimeZone;

    use super::*;

    fn chart(names: &[&str]) -> (Chart, Ranges) {
        let mut chart = Chart::new(TimeZone::UTC);
        for (name, base) in names.iter().zip([0.0, 5.0, 50.0]) {
            for at in 0..100_u32 {
                let value = base + f64::from(at % 10);
                let at_ms = 1_740_081_234_000 + i64::from(at) * 3_600_000;
                chart.add(name, at_ms, (at != 50).then_some(value)).unwrap();
            }
        }
        let time = [1_740_081_234_000.0, 1_740_081_234_000.0 + 99.0 * 3_600_000.0];
        (chart, Ranges { time, value: [0.0, 59.0] })
    }

    #[test]
    fn one_series_is_braille_within_80_columns_and_has_its_axes() {
        let (chart, ranges) = chart(&["one"]);
        let text = draw(&chart, ranges, 80, false);
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
        assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{text}");
        for label in ["59", "2025-02-20", "2025-02-24", "━ one"] {
            assert!(text.contains(label), "{label}\n{text}");
        }
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn without_colours_several_series_have_letters() {
        let (chart, ranges) = chart(&["graz", "vienna\x1b[2J"]);
        let text = draw(&chart, ranges, 80, false);
        assert!(text.contains("\na graz\n") && text.contains("\nb \"vienna\\u001b[2J\"\n"));
        assert!(text.matches('b').count() > 20 && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn with_colours_each_series_has_its_own() {
        let (chart, ranges) = chart(&["graz", "vienna"]);
        let text = draw(&chart, ranges, 80, true);
        assert!(text.contains("\x1b[36m") && text.contains("\x1b[33m"), "{text}");
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
    }
}
