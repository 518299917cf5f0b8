//! `annals serve` in a process of its own: rows in by HTTP against the recorder, and what pages ask.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use reqwest::Client;
use serde::Serialize;
use serde_json::json;

use crate::places::{Place, Sample, must_hold, record, sample, time, value};
use crate::report::{Report, Samples};
use crate::server::{Server, body};
use crate::{Failure, Options, aggregate, query_range, recorder};

/// Clients that store at once, and the rows of each of their batches.
const CLIENTS: u64 = 4;
const BATCH: u64 = 1_000;

/// A browser opens so many connections to one server.
const CONNECTIONS: usize = 6;

/// Pages that stay open.
const PAGES: u64 = 50;

/// A row of each record every 260 seconds: 10,000 of them are 30 days.
const INTERVAL: u64 = 260_000;

const DAY: u64 = 24 * 3_600_000;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in options.engines.iter().filter(|engine| *engine != "postgres") {
        ingest(options, report, engine).await?;
        let place = Place::new(engine)?;
        let history = place.open().await?;
        let rows = 10 * options.rows;
        aggregate::fill(&*history, rows, options.records, INTERVAL).await?;
        must_hold(&*history, rows).await?;
        history.close().await?;
        aggregate::compact(&place.url)?;
        let server = Server::annals(&place.url).await?;
        page(options, report, engine, &server).await?;
        live(options, report, engine, &server).await?;
        if engine == "sqlite" && !options.no_peer {
            query_range::run(options, report, &server, INTERVAL).await?;
        }
    }
    Ok(())
}

/// Rows a second by HTTP from several clients, in turns with the recorder. Each batch has an id.
async fn ingest(options: &Options, report: &mut Report, engine: &str) -> Result<(), Failure> {
    let Options { rows, records, rounds, .. } = *options;
    let (mut by_http, mut recorded) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        recorded.0.push(1e6 / recorder::cost(engine, rows, records)?);
        let place = Place::new(engine)?;
        let server = Server::annals(&place.url).await?;
        let begun = Instant::now();
        let clients = (0..CLIENTS).map(|client| {
            tokio::spawn(store(server.url("/v1/rows"), client, rows / CLIENTS, records))
        });
        for client in try_join_all(clients).await? {
            client?;
        }
        by_http.0.push((rows / CLIENTS * CLIENTS) as f64 / begun.elapsed().as_secs_f64());
        drop(server);
        let history = place.open().await?;
        must_hold(&*history, rows / CLIENTS * CLIENTS).await?;
        history.close().await?;
    }
    let what = format!("{engine}: {rows} rows by HTTP, {CLIENTS} clients, {BATCH} rows a batch");
    report.compare(what, by_http, "rows/s", "the recorder", &recorded);
    Ok(())
}

/// A row as it is sent. It is serialized as the recorder serializes its values.
#[derive(Serialize)]
struct Sent {
    record: String,
    value: Sample,
    stored_at: u64,
}

/// One client's part.
async fn store(url: String, client: u64, rows: u64, records: u64) -> Result<(), Failure> {
    let http = Client::new();
    let first = client * rows;
    for (batch, begin) in (0..rows).step_by(BATCH as usize).enumerate() {
        let of = |at| Sent { record: record(at, records), value: sample(at), stored_at: time(at) };
        let batch_rows: Vec<_> =
            (first + begin..first + (begin + BATCH).min(rows)).map(of).collect();
        let request = http
            .post(&url)
            .header("Annals-Writer", format!("00000000-0000-4000-8000-{client:012}"))
            .header("Annals-Batch", batch + 1);
        body(request.json(&batch_rows).send().await?).await?;
    }
    Ok(())
}

/// What a page asks of one series in a window.
async fn plot(
    http: &Client,
    server: &Server,
    record: &str,
    (from, to): (u64, u64),
    every: u64,
) -> Result<Vec<u8>, Failure> {
    let query = format!(
        "/v1/aggregate?pattern={record}&member=celsius&from={from}&to={to}&every={every}ms\
         &show=count,mean,min,max&fill=previous"
    );
    body(http.get(server.url(&query)).send().await?).await
}

/// Milliseconds from the first request of a page to the last byte of its plot of 30 days, 1,000 pixels wide.
async fn page(
    options: &Options,
    report: &mut Report,
    engine: &str,
    server: &Server,
) -> Result<(), Failure> {
    let to = aggregate::EPOCH + 10 * options.rows / options.records * INTERVAL;
    let window = (to - 30 * DAY, to);
    let http = Client::new();
    for series in [1, 24] {
        let mut milliseconds = Samples::default();
        for _ in 0..options.rounds {
            let begun = Instant::now();
            body(http.get(server.url("/")).send().await?).await?;
            body(http.get(server.url("/v1/records?limit=10000")).send().await?).await?;
            let of_connection = |first: usize| {
                let http = http.clone();
                async move {
                    for at in (first..series).step_by(CONNECTIONS) {
                        let record = record(41 * at as u64, options.records);
                        plot(&http, server, &record, window, 30 * DAY / 1_000).await?;
                    }
                    Ok::<_, Failure>(())
                }
            };
            try_join_all((0..CONNECTIONS.min(series)).map(of_connection)).await?;
            milliseconds.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        let what = format!(
            "{engine}: a page's first plot, {series} series of 30 days, {} rows",
            10 * options.rows
        );
        report.add(what, milliseconds, "ms");
    }
    let what = format!("{engine}: the server's peak memory after these plots");
    report.add(what, Samples(vec![server.peak_mebibytes()?]), "MiB");
    Ok(())
}

/// Pages that stay open for ten times `--seconds`, each with the end of its plot every second, while each
/// record gets a row a second: the time of an answer, and the server's memory in the first and in the last fifth.
async fn live(
    options: &Options,
    report: &mut Report,
    engine: &str,
    server: &Server,
) -> Result<(), Failure> {
    let http = Client::new();
    let (mut milliseconds, mut memory) = (Samples::default(), Vec::new());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..10 * options.seconds {
        second.tick().await;
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond())?;
        let row = |at: u64| json!({ "record": record(at, options.records), "value": value(at) });
        let rows: Vec<_> = (0..options.records).map(row).collect();
        body(http.post(server.url("/v1/rows")).json(&rows).send().await?).await?;
        let answers = (0..PAGES).map(|page| {
            let http = http.clone();
            async move {
                let record = record(17 * page, options.records);
                let begun = Instant::now();
                plot(&http, server, &record, (now - 3_000, now), 1_000).await?;
                Ok::<_, Failure>(begun.elapsed().as_secs_f64() * 1_000.0)
            }
        });
        milliseconds.0.extend(try_join_all(answers).await?);
        memory.push(server.mebibytes()?);
    }
    let what = format!("{engine}: an answer to one of {PAGES} live pages");
    report.add(what, milliseconds, "ms");
    let fifth = (memory.len() / 5).max(1);
    let (first, last) = (&memory[..fifth], &memory[memory.len() - fifth..]);
    let what = format!("{engine}: the server's memory, {PAGES} live pages, at the end");
    let with = format!("at the beginning of {} s", 10 * options.seconds);
    report.compare(what, Samples(last.to_vec()), "MiB", &with, &Samples(first.to_vec()));
    Ok(())
}
