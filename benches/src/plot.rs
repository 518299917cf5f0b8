//! How cost grows with rows and with records, as SVG files.

use std::path::Path;

use plotters::prelude::*;
use plotters::series::LineSeries;

use crate::places::{Place, fill};
use crate::{Failure, Options, latest, recorder};

const ROWS: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const RECORDS: [u64; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// Points of one engine.
type Line = (String, Vec<(f64, f64)>);

pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plots");
    std::fs::create_dir_all(&folder)?;
    let (mut store_by_rows, mut latest_by_rows) = (Vec::new(), Vec::new());
    let (mut store_by_records, mut latest_by_records) = (Vec::new(), Vec::new());
    for engine in &options.engines {
        let (mut stores, mut latests) = (Vec::new(), Vec::new());
        for rows in ROWS.into_iter().filter(|rows| *rows <= 10 * options.rows) {
            stores.push((rows as f64, recorder::cost(engine, rows, options.records)?));
            latests.push((rows as f64, latest_of(engine, rows, options.records).await?));
        }
        store_by_rows.push((engine.clone(), stores));
        latest_by_rows.push((engine.clone(), latests));
        let (mut stores, mut latests) = (Vec::new(), Vec::new());
        for records in RECORDS {
            stores.push((records as f64, recorder::cost(engine, options.rows, records)?));
            let milliseconds = latest_of(engine, options.rows, records).await?;
            latests.push((records as f64, milliseconds * 1_000.0 / records as f64));
        }
        store_by_records.push((engine.clone(), stores));
        latest_by_records.push((engine.clone(), latests));
    }
    let fixed = format!("{} records", options.records);
    let many = format!("{} rows", options.rows);
    for (file, title, of, lines) in [
        ("store-by-rows", format!("us a row by the recorder, {fixed}"), "rows", store_by_rows),
        ("latest-by-rows", format!("ms for the latest 5 of {fixed}"), "rows", latest_by_rows),
        (
            "store-by-records",
            format!("us a row by the recorder, {many}"),
            "records",
            store_by_records,
        ),
        (
            "latest-by-records",
            format!("us a record for its latest 5, {many}"),
            "records",
            latest_by_records,
        ),
    ] {
        draw(&folder.join(file).with_extension("svg"), &title, of, &lines)?;
    }
    Ok(())
}

async fn latest_of(engine: &str, rows: u64, records: u64) -> Result<f64, Failure> {
    let place = Place::new(engine)?;
    let history = place.open().await?;
    fill(&*history, 0, rows, records).await?;
    let expected =
        (0..records).map(|record| rows.saturating_sub(record).div_ceil(records).min(5)).sum();
    let median = latest::measure(&*history, expected).await?.median();
    history.close().await?;
    Ok(median)
}

fn draw(file: &Path, title: &str, of: &str, lines: &[Line]) -> Result<(), Failure> {
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let values = points().map(pick);
        values
            .fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)))
    };
    let ((left, right), (_, top)) = (range(|point| point.0), range(|point| point.1));
    let area = SVGBackend::new(file, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((left..right).log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(of)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for (number, (engine, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(number).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color).point_size(3))?
            .label(engine)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}
