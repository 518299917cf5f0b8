//! `annals sql`: SQL over a history on any backend.

mod history;
mod plan;
mod row;
mod time_bucket;

use std::collections::HashSet;
use std::sync::Arc;

use annals::PersistenceBackend;
use clap::Parser;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, Error, Row, Statement};
use tokio::runtime::Handle;

use crate::failure::Failure;
use crate::output::{Format, Header, Printer};
use crate::store;
use history::History;
use row::SqlRow;

/// Query a history in SQL
///
/// The history is the table record_history with the columns record_name (text), value_json (the
/// JSON text of the value) and stored_at (Unix milliseconds). The SQL is SQLite's, with its JSON
/// functions. Only SELECT is possible.
///
/// Conditions on record_name (=, IN, LIKE, GLOB) and stored_at (=, <, <=, >, >=, BETWEEN) limit what
/// is read from the backend. So does LIMIT if the rows are ordered by record_name, then stored_at in
/// either direction, or by stored_at for a single record_name. LIKE is case-sensitive, as names are.
/// Each table in FROM is read from its own snapshot.
///
/// time_bucket(width, stored_at) is the start of the bucket that a time is in: of a fixed width (15m,
/// 1h, 24h, or a number of milliseconds) or of the calendar (1d, 1w, 1mo, 1q, 1y), in UTC or in the
/// time zone in a third argument. `annals aggregate` computes the same buckets faster.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// One SELECT
    sql: String,

    /// The format of the output [default: table on a terminal, ndjson otherwise]
    ///
    /// In json and ndjson all text is a string, even JSON text: value_json ->> '$.member' selects a
    /// member. A blob is printed as hexadecimal digits.
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

const EXAMPLES: &str = "\
Examples:
  annals sql 'SELECT record_name, count(*) AS n FROM record_history GROUP BY 1'
  annals sql \"SELECT datetime(stored_at / 1000, 'unixepoch') AS at,
                     value_json ->> '\\$.celsius' AS celsius
              FROM record_history WHERE record_name = 'weather::vienna'
              ORDER BY stored_at DESC LIMIT 5\"
  annals sql \"SELECT time_bucket('1d', stored_at, 'Europe/Vienna') AS day,
                     avg(value_json ->> '\\$.celsius') AS mean
              FROM record_history GROUP BY record_name, day\"
  annals --backend redb:history.redb sql --output csv \\
      \"SELECT * FROM record_history
       WHERE record_name LIKE 'host::cpu%' AND stored_at > 1740081234000\"";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let store = store::open_to_read(backend).await?;
    let backend = store.clone();
    let runtime = Handle::current();
    let selected = tokio::task::spawn_blocking(move || select(backend, runtime, &args)).await;
    selected.map_err(|error| Failure::Failed(format!("the query was interrupted: {error}")))??;
    store.close().await?;
    Ok(())
}

/// Runs on a thread that may block.
fn select(
    backend: Arc<dyn PersistenceBackend>,
    runtime: Handle,
    args: &Args,
) -> Result<(), Failure> {
    let history = History::new(backend, runtime);
    let connection = connect(&history)
        .map_err(|error| Failure::Failed(format!("SQLite does not start: {error}")))?;
    let mut statement = connection.prepare(&args.sql).map_err(refused)?;
    if !statement.readonly() || statement.column_count() == 0 {
        let message = "only SELECT is possible: annals sql is read-only";
        return Err(Failure::Usage(message.to_owned()));
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    check_names(&names, args.output)?;
    let mut printer = Printer::new(args.output, Header::of_members(&names));
    print(&mut statement, &names, &history, &mut printer)?;
    printer.finish()
}

fn connect(history: &Arc<History>) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    // A misspelt column in double quotes is an error, not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // As record names are compared.
    connection.pragma_update(None, "case_sensitive_like", true)?;
    time_bucket::attach(&connection)?;
    history.attach(&connection)?;
    Ok(connection)
}

fn print(
    statement: &mut Statement<'_>,
    names: &[String],
    history: &History,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let failed = |error: Error| match history.error() {
        Some(error) => error.into(),
        None => Failure::Failed(format!("the query failed: {}", reason(&error))),
    };
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let values = (0..names.len()).map(|column| value(row, column)).collect::<Result<_, _>>();
        printer.line(&SqlRow { names, values: values.map_err(failed)? })?;
    }
    Ok(())
}

fn value(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    // SQL can make text that is not UTF-8 from a blob.
    row.get_ref(column).map(|value| match value {
        rusqlite::types::ValueRef::Text(text) => {
            Value::Text(String::from_utf8_lossy(text).into_owned())
        }
        other => other.try_into().unwrap_or(Value::Null),
    })
}

/// A JSON object has each member once.
fn check_names(names: &[String], output: Option<Format>) -> Result<(), Failure> {
    if matches!(output, Some(Format::Csv | Format::Table)) {
        return Ok(());
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(name) => {
            Err(Failure::Usage(format!("two columns have the name {name}; rename one with AS")))
        }
        None => Ok(()),
    }
}

/// Why SQLite refuses the SQL.
fn refused(error: Error) -> Failure {
    Failure::Usage(match error {
        Error::MultipleStatement => "one query at a time".to_owned(),
        Error::NulError(_) => "SQL has no NUL characters".to_owned(),
        Error::SqlInputError { msg, sql, offset, .. } => {
            let at = usize::try_from(offset).map_or_else(
                |_| String::new(),
                |offset| {
                    // SQLite counts bytes.
                    let before = sql.get(..offset).map_or(offset, |before| before.chars().count());
                    format!(" (at character {})", before + 1)
                },
            );
            format!("the SQL is wrong: {msg}{at}{}", what_is_there(&msg))
        }
        error => {
            let reason = reason(&error);
            format!("the SQL is wrong: {reason}{}", what_is_there(&reason))
        }
    })
}

/// The tables and columns that exist, after one that does not.
fn what_is_there(reason: &str) -> &'static str {
    match reason.split_once(": ") {
        Some(("no such column", _)) => "; record_history has record_name, value_json and stored_at",
        Some(("no such table", _)) => "; the table is record_history",
        _ => "",
    }
}

/// The message of SQLite, without its error code.
fn reason(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        error => error.to_string(),
    }
}
