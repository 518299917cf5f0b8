//! A steady load with retention for as long as one likes: size, memory, descriptors and the time of a
//! store, drawn over time into `docs/images`.

use std::path::Path;
use std::time::{Duration, Instant};

use annals::{Batch, Order, QueryParams, Row};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::places::{Place, record, value};
use crate::{Failure, Options, process};

/// A batch of this many rows …
const ROWS: u64 = 20;
/// … comes this often: 2,000 rows a second.
const PACE: Duration = Duration::from_millis(10);

/// How long rows are kept, and how often older ones are deleted.
const KEPT: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(5);

/// How many points a line has at most.
const POINTS: u64 = 240;

/// What is drawn, and its unit.
const PANELS: [&str; 4] =
    ["size of the files, MB", "memory, MB", "open descriptors", "longest store, ms"];

/// Seconds since the beginning, and one value for each panel.
type Point = (f64, [f64; 4]);

pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    for engine in options.engines.iter().filter(|engine| *engine != "postgres") {
        let (points, rows) =
            soak(engine, Duration::from_secs(options.seconds), options.records).await?;
        let file = folder.join(format!("soak-{engine}.svg"));
        draw(&file, engine, &points)?;
        println!("{engine}: {rows} rows in {} s, drawn into {}", options.seconds, file.display());
        for (panel, what) in PANELS.iter().enumerate() {
            let of = |part: &[Point]| part.iter().map(|point| point.1[panel]).fold(0.0, f64::max);
            // The first half fills caches and the window of retention.
            let (first, second) = points.split_at(points.len() / 2);
            println!("  {what}: at most {:.1}, then {:.1}", of(first), of(second));
        }
    }
    Ok(())
}

async fn soak(engine: &str, long: Duration, records: u64) -> Result<(Vec<Point>, u64), Failure> {
    let place = Place::new(engine)?;
    let history = place.open().await?;
    let (begin, every) = (Instant::now(), long / POINTS as u32);
    let (mut points, mut longest, mut swept) = (Vec::new(), Duration::ZERO, begin);
    let (mut deleted, mut number) = (0, 0);
    let mut ticks = tokio::time::interval(PACE);
    let time = |at: Instant| 1 + (at - begin).as_millis() as u64;
    while begin.elapsed() < long {
        ticks.tick().await;
        let now = Instant::now();
        let rows: Result<Vec<Row>, _> = (number..number + ROWS)
            .map(|n| Row::new(&record(n, records), &value(n), time(now)))
            .collect();
        history.store_batch(&Batch::new(rows?)).await?;
        number += ROWS;
        longest = longest.max(now.elapsed());
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            deleted += history.cleanup(time(now).saturating_sub(KEPT.as_millis() as u64)).await?;
            history.query(&record(0, records), QueryParams::latest(5)).await?;
        }
        if begin.elapsed() >= every * points.len() as u32 {
            let milliseconds = std::mem::take(&mut longest).as_secs_f64() * 1_000.0;
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            points.push((
                begin.elapsed().as_secs_f64(),
                [
                    megabytes(place.bytes()?),
                    megabytes(process::present_kibibytes()? << 10),
                    process::descriptors()? as f64,
                    milliseconds,
                ],
            ));
        }
    }
    // Every row is there or was deleted, and of each record in the order in which it was stored.
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let kept = history.query("*", params).await?;
    let in_order = kept.windows(2).all(|two| {
        two[0].record_name != two[1].record_name || two[0].stored_at <= two[1].stored_at
    });
    if kept.len() as u64 + deleted != number || !in_order {
        return Err(format!("{number} stored, {deleted} deleted, {} there", kept.len()).into());
    }
    history.close().await?;
    Ok((points, number))
}

fn draw(file: &Path, engine: &str, points: &[Point]) -> Result<(), Failure> {
    let area = SVGBackend::new(file, (860, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, area) in area.split_evenly((2, 2)).iter().enumerate() {
        let line: Vec<_> = points.iter().map(|(at, values)| (*at, values[panel])).collect();
        draw_panel(area, &format!("{engine}: {}", PANELS[panel]), &line)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    line: &[(f64, f64)],
) -> Result<(), Failure> {
    let greatest = |pick: fn(&(f64, f64)) -> f64| line.iter().map(pick).fold(1.0, f64::max);
    let (right, top) = (greatest(|point| point.0), greatest(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(45)
        .build_cartesian_2d(0.0..right, 0.0..top * 1.1)?;
    chart.configure_mesh().x_desc("seconds").light_line_style(WHITE).draw()?;
    chart.draw_series(LineSeries::new(line.iter().copied(), BLUE.stroke_width(1)))?;
    Ok(())
}
