//! How the history lies on the server: found there, or chosen for a schema that is created.

use annals_core::{ErrorKind, PersistenceError};
use tokio_postgres::Row;

use crate::config::{PostgresConfig, Storage, Timescale};
use crate::error;
use crate::session::Session;
use crate::sql::{literal, quote};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One table.
    Plain,
    /// PostgreSQL's own partitions, by time.
    Partitioned,
    /// TimescaleDB's chunks, by time.
    Hypertable,
    /// Citus's shards, by record.
    Distributed,
}

impl Layout {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain table",
            Self::Partitioned => "partitioned table",
            Self::Hypertable => "hypertable",
            Self::Distributed => "distributed table",
        }
    }
}

/// The extensions that the database has.
#[derive(Debug, Clone)]
pub(crate) struct Extensions {
    /// The schema that TimescaleDB's functions are in, as an identifier.
    pub(crate) timescale: Option<String>,
    /// TimescaleDB runs under the Apache licence, and does not compress.
    pub(crate) apache: bool,
    pub(crate) citus: bool,
}

impl Extensions {
    /// Columns for [`read`](Self::read).
    pub(crate) const COLUMNS: &str = "\
        (SELECT n.nspname::text FROM pg_catalog.pg_extension e \
           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
           WHERE e.extname = 'timescaledb'), \
        coalesce(current_setting('timescaledb.license', true) = 'apache', false), \
        EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')";

    /// From three columns, of which this is the first.
    pub(crate) fn read(row: &Row, first: usize) -> Self {
        let timescale: Option<String> = row.get(first);
        Self {
            timescale: timescale.map(|schema| quote(&schema)),
            apache: row.get(first + 1),
            citus: row.get(first + 2),
        }
    }
}

/// The layout of a schema that is created.
pub(crate) fn choose(
    operation: &'static str,
    storage: &Storage,
    extensions: &Extensions,
) -> Result<Layout, PersistenceError> {
    let missing = |option: &str, extension: &str| {
        let message = format!(
            "`{option}` needs the extension {extension}, which this database does not have: \
             CREATE EXTENSION {extension}"
        );
        Err(error::own(operation, ErrorKind::Config, message))
    };
    if storage.distribute {
        return match extensions.citus {
            true => Ok(Layout::Distributed),
            false => missing("distribute=require", "citus"),
        };
    }
    if storage.partition_interval.is_some() {
        return Ok(Layout::Partitioned);
    }
    match (storage.timescale, &extensions.timescale) {
        (Timescale::Require, None) => missing("timescale=require", "timescaledb"),
        (Timescale::Off, _) | (Timescale::Auto, None) => Ok(Layout::Plain),
        (_, Some(_)) => Ok(Layout::Hypertable),
    }
}

/// What is there.
pub(crate) async fn find(
    config: &PostgresConfig,
    session: &Session,
    extensions: &Extensions,
) -> Result<Layout, PersistenceError> {
    let relation = literal(&format!("{}.history", quote(&config.schema)));
    let schema = literal(&config.schema);
    // Catalogs of an extension that is not there cannot be named.
    let hypertable = match extensions.timescale {
        Some(_) => format!(
            "EXISTS (SELECT FROM timescaledb_information.hypertables \
             WHERE hypertable_schema = {schema} AND hypertable_name = 'history')"
        ),
        None => "false".to_owned(),
    };
    let distributed = match extensions.citus {
        true => format!(
            "EXISTS (SELECT FROM pg_catalog.pg_dist_partition \
             WHERE logicalrelid = {relation}::regclass)"
        ),
        false => "false".to_owned(),
    };
    let select = format!(
        "SELECT relkind = 'p', {hypertable}, {distributed} FROM pg_catalog.pg_class \
         WHERE oid = {relation}::regclass"
    );
    let row = session.run(session.client().query_typed_one(&select, &[])).await?;
    Ok(match (row.get(0), row.get(1), row.get(2)) {
        (_, _, true) => Layout::Distributed,
        (_, true, _) => Layout::Hypertable,
        (true, _, _) => Layout::Partitioned,
        _ => Layout::Plain,
    })
}

/// Refuses a history that is not what the configuration asks for: nothing is converted silently.
pub(crate) fn accept(
    operation: &'static str,
    storage: &Storage,
    found: Layout,
) -> Result<(), PersistenceError> {
    let wanted = if storage.distribute {
        ("distribute=require", Layout::Distributed)
    } else if storage.partition_interval.is_some() {
        ("partition_interval", Layout::Partitioned)
    } else if storage.timescale == Timescale::Require {
        ("timescale=require", Layout::Hypertable)
    } else if found == Layout::Distributed {
        let message = "Citus distributes this history: add `distribute=require` to the URL";
        return Err(error::own(operation, ErrorKind::Config, message));
    } else {
        return Ok(());
    };
    if wanted.1 == found {
        return Ok(());
    }
    let message = format!(
        "`{}` asks for a {}, and the history is a {}; `annals migrate` converts a plain table, or \
         choose another schema with `schema=`",
        wanted.0,
        wanted.1.as_str(),
        found.as_str()
    );
    Err(error::own(operation, ErrorKind::Config, message))
}
