//! A chart as an SVG image.

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, IntoDrawingArea, IntoFont, LineSeries, PathElement,
    RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};

use super::chart::{Chart, MOST_SERIES, Ranges};
use crate::failure::Failure;
use crate::output::shown_number;

const SIZE: (u32, u32) = (960, 540);
/// The palette of Okabe and Ito, which people with colour blindness can tell apart.
const COLORS: [RGBColor; MOST_SERIES] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(153, 153, 153),
];

/// The image as text.
pub(super) fn draw(chart: &Chart, ranges: Ranges) -> Result<String, Failure> {
    let mut image = String::new();
    render(chart, ranges, &mut image)
        .map_err(|error| Failure::Failed(format!("the chart cannot be drawn: {error}")))?;
    Ok(image)
}

fn render(
    chart: &Chart,
    ranges: Ranges,
    image: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let Ranges { time, value } = ranges;
    let area = SVGBackend::with_string(image, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let margin = (value[1] - value[0]) * 0.05;
    let mut context = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(time[0]..time[1], value[0] - margin..value[1] + margin)?;
    context
        .configure_mesh()
        .x_labels(6)
        .x_label_formatter(&|at| chart.time_label(*at, ranges))
        .y_label_formatter(&|value| shown_number(*value))
        .label_style(("sans-serif", 14).into_font())
        .draw()?;
    for (series, color) in chart.series.iter().zip(COLORS) {
        for (place, points) in series.segments().into_iter().enumerate() {
            // A line needs two points.
            if let [(at, value)] = points[..] {
                context.draw_series([Circle::new((at, value), 2, color.filled())])?;
            }
            let drawn = context.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
            if place == 0 {
                drawn.label(series.name()).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2))
                });
            }
        }
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14).into_font())
        .draw()?;
    area.present()?;
    Ok(())
}
