//! What annals costs, measured in one run against the engine by hand and the peer.
//!
//! `cargo run --release -p annals-benches -- all`, or a subset by name. Every workload ends with a
//! count of what it wrote: no figure stands for rows that a query does not find.

mod aggregate;
mod columns;
mod copy;
mod datasets;
mod follow;
mod forward;
mod idle;
mod import;
mod latest;
mod long;
mod peer;
mod places;
mod plot;
mod process;
mod query_range;
mod range;
mod raw;
mod recorder;
mod reopen;
mod report;
mod rest;
mod retention;
mod serve;
mod server;
mod soak;
mod store;
mod stream;
mod waits;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::{Output, Report};

/// Any error; the program ends with it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures annals on every engine.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure.
    #[arg(default_value = "all")]
    workloads: Vec<Workload>,
    /// The engines to measure.
    #[arg(long, value_delimiter = ',', default_value = "sqlite,redb,postgres")]
    engines: Vec<String>,
    /// Rows of the history that is read.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Records the rows are spread over.
    #[arg(long, default_value_t = 1_000)]
    records: u64,
    /// How often every measurement is repeated, in turns with what it is compared with.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load per measurement of `store`, and of `soak`.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Leave the peers out: AimDB's backend, which has to be built first, and VictoriaMetrics, which has to
    /// be installed (`victoria-metrics` in Debian).
    #[arg(long)]
    no_peer: bool,
    /// How the table is printed.
    #[arg(long, default_value = "markdown")]
    output: Output,
    /// Reads a store and prints its own memory; used by `stream`, which wants a process without
    /// anything else in it.
    #[arg(long, hide = true)]
    read_and_measure: Option<String>,
    /// Records into a store and prints what that took; used by `recorder`, for the same reason.
    #[arg(long, hide = true)]
    record_and_measure: Option<String>,
    /// Computes daily buckets of a store and prints its own memory; used by `aggregate`, for the same
    /// reason.
    #[arg(long, hide = true)]
    aggregate_and_measure: Option<String>,
    /// Records into PostgreSQL and prints how many rows; used by `copy`, for several processes.
    #[arg(long, hide = true)]
    copy_and_measure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Everything but `plot` and `soak`.
    All,
    /// Rows a second through `store` from 1, 16 and 256 callers.
    Store,
    /// How long a `store` takes when nothing else goes on.
    Idle,
    /// Rows a second through the recorder; its memory; bytes on disk, and bytes written to it.
    Recorder,
    /// What a row costs with 100,000 records.
    Records,
    /// Rows a second through a recorder into PostgreSQL, against COPY by hand.
    Copy,
    /// Rows a second from a file to PostgreSQL by the forwarder, and how long it takes to catch up.
    Forward,
    /// How late rows reach ten followers at 50,000 rows a second.
    Follow,
    /// The latest 5 of every record, over a history and one ten times as long.
    Latest,
    /// One record read whole: typed, as text, streamed.
    Range,
    /// Hourly buckets of one record and of all, against `annals sql` (build annals-cli first).
    Aggregate,
    /// `annals import` of CSV against NDJSON, and its memory (build annals-cli first).
    Import,
    /// Rows at rest, in columns, against the same rows as text; without an engine.
    Rest,
    /// A store whose rows rest in columns against one whose rows rest as text: recorder, bytes, ranges.
    Columns,
    /// Not part of `all`: daily buckets and the latest 5 of a history of 100 times `--rows`, at rest.
    Long,
    /// The longest wait of a `store` while the history is read, and while half of it is cleaned up.
    Waits,
    /// From opening a history to its first answer.
    Reopen,
    /// A million expired rows, as whole partitions and chunks and row by row.
    Retention,
    /// `annals serve`: rows in by HTTP, pages, and `query_range` against VictoriaMetrics (build annals-cli first).
    Serve,
    /// Memory of a process that reads the whole history as a stream.
    Stream,
    /// Cost against rows and against records, drawn into `benches/plots`.
    Plot,
    /// A steady load with retention for `--seconds`, drawn into `docs/images`.
    Soak,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Failure) -> ExitCode {
    eprintln!("annals-benches: {error}");
    ExitCode::FAILURE
}

async fn run(options: &Options) -> Result<(), Failure> {
    if let Some(url) = &options.read_and_measure {
        return stream::read_and_measure(url).await;
    }
    if let Some(url) = &options.record_and_measure {
        return recorder::record_and_measure(url, options).await;
    }
    if let Some(url) = &options.aggregate_and_measure {
        return aggregate::aggregate_and_measure(url).await;
    }
    if let Some(url) = &options.copy_and_measure {
        return copy::record_and_measure(url, options).await;
    }
    let wanted = |workload| {
        options.workloads.contains(&workload) || options.workloads.contains(&Workload::All)
    };
    let mut report = Report::default();
    if wanted(Workload::Store) {
        store::run(options, &mut report).await?;
    }
    if wanted(Workload::Idle) {
        idle::run(options, &mut report).await?;
    }
    if wanted(Workload::Recorder) {
        recorder::run(options, &mut report)?;
    }
    if wanted(Workload::Records) {
        recorder::many_records(options, &mut report)?;
    }
    if wanted(Workload::Copy) && options.engines.iter().any(|engine| engine == "postgres") {
        copy::run(options, &mut report).await?;
    }
    if wanted(Workload::Forward) && options.engines.iter().any(|engine| engine == "postgres") {
        forward::run(options, &mut report).await?;
    }
    if wanted(Workload::Follow) {
        follow::run(options, &mut report).await?;
    }
    if wanted(Workload::Latest) {
        latest::run(options, &mut report).await?;
    }
    if wanted(Workload::Range) {
        range::run(options, &mut report).await?;
    }
    if wanted(Workload::Aggregate) {
        aggregate::run(options, &mut report).await?;
    }
    if wanted(Workload::Import) {
        import::run(options, &mut report).await?;
    }
    if wanted(Workload::Rest) {
        rest::run(options, &mut report)?;
    }
    if wanted(Workload::Columns) {
        columns::run(options, &mut report).await?;
    }
    if wanted(Workload::Waits) {
        waits::run(options, &mut report).await?;
    }
    if wanted(Workload::Reopen) {
        reopen::run(options, &mut report).await?;
    }
    if wanted(Workload::Retention) {
        retention::run(options, &mut report).await?;
    }
    if wanted(Workload::Serve) {
        serve::run(options, &mut report).await?;
    }
    if wanted(Workload::Stream) {
        stream::run(options, &mut report).await?;
    }
    if options.workloads.contains(&Workload::Long) {
        long::run(options, &mut report).await?;
    }
    if options.workloads.contains(&Workload::Plot) {
        plot::run(options).await?;
    }
    if options.workloads.contains(&Workload::Soak) {
        soak::run(options).await?;
    }
    report.print(options.output)
}
