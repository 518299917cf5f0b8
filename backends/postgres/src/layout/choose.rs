//! Chooses the layout of a schema that is created, and recognizes that of an existing one.

use std::sync::Arc;

use annals_core::{ErrorKind, Result};
use tokio_postgres::Row;

use super::citus::Distributed;
use super::partitioned::Partitioned;
use super::plain::Plain;
use super::timescale::Hypertable;
use super::{AnyLayout, Kind};
use crate::config::{Storage, Timescale};
use crate::error;
use crate::net::Session;
use crate::sql::{Sql, literal, quote};

/// The extensions of the database.
#[derive(Debug, Clone)]
pub(crate) struct Extensions {
    /// The schema of TimescaleDB's functions, as an identifier.
    timescale: Option<String>,
    /// TimescaleDB runs under the Apache licence, and does not compress.
    apache: bool,
    citus: bool,
}

impl Extensions {
    /// Columns for [`read`](Self::read).
    pub(crate) const COLUMNS: &str = "\
        (SELECT n.nspname::text FROM pg_catalog.pg_extension e \
           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
           WHERE e.extname = 'timescaledb'), \
        coalesce(current_setting('timescaledb.license', true) = 'apache', false), \
        EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')";

    /// Reads three columns, starting with `first`.
    pub(crate) fn read(row: &Row, first: usize) -> Self {
        let timescale: Option<String> = row.get(first);
        Self {
            timescale: timescale.map(|schema| quote(&schema)),
            apache: row.get(first + 1),
            citus: row.get(first + 2),
        }
    }

    fn layout(&self, kind: Kind, storage: &Storage) -> AnyLayout {
        match kind {
            Kind::Plain => Arc::new(Plain),
            Kind::Partitioned => Arc::new(Partitioned { interval: storage.partition_interval }),
            Kind::Hypertable => Arc::new(Hypertable {
                functions: self.timescale.clone().unwrap_or_else(|| "public".to_owned()),
                apache: self.apache,
                chunk_interval: storage.chunk_interval(),
                compress_after: storage.compress_after(),
            }),
            Kind::Distributed => Arc::new(Distributed),
        }
    }
}

/// The layout of a schema that is created.
pub(crate) fn choose(
    operation: &'static str,
    storage: &Storage,
    extensions: &Extensions,
) -> Result<AnyLayout> {
    let missing = |option: &str, extension: &str| {
        let message = format!(
            "`{option}` needs the extension {extension}, which this database does not have: \
             CREATE EXTENSION {extension}"
        );
        Err(error::own(operation, ErrorKind::Config, message))
    };
    let kind = if storage.distribute {
        match extensions.citus {
            true => Kind::Distributed,
            false => return missing("distribute=require", "citus"),
        }
    } else if storage.partition_interval.is_some() {
        Kind::Partitioned
    } else {
        match (storage.timescale, &extensions.timescale) {
            (Timescale::Require, None) => return missing("timescale=require", "timescaledb"),
            (Timescale::Off, _) | (Timescale::Auto, None) => Kind::Plain,
            (_, Some(_)) => Kind::Hypertable,
        }
    };
    Ok(extensions.layout(kind, storage))
}

/// The layout of the history that exists.
pub(crate) async fn find(
    storage: &Storage,
    sql: &Sql,
    session: &Session,
    extensions: &Extensions,
) -> Result<AnyLayout> {
    let relation = sql.relation("history");
    let schema = literal(&sql.name);
    // The catalogs of a missing extension cannot be named.
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
    let row = session.query_one(&select, &[]).await?;
    let kind = match (row.get(0), row.get(1), row.get(2)) {
        (_, _, true) => Kind::Distributed,
        (_, true, _) => Kind::Hypertable,
        (true, _, _) => Kind::Partitioned,
        _ => Kind::Plain,
    };
    Ok(extensions.layout(kind, storage))
}

/// Refuses a history that differs from what the configuration asks for. Nothing is converted
/// implicitly.
pub(crate) fn accept(operation: &'static str, storage: &Storage, found: Kind) -> Result<()> {
    let (option, wanted) = if storage.distribute {
        ("distribute=require", Kind::Distributed)
    } else if storage.partition_interval.is_some() {
        ("partition_interval", Kind::Partitioned)
    } else if storage.timescale == Timescale::Require {
        ("timescale=require", Kind::Hypertable)
    } else if found == Kind::Distributed {
        let message = "Citus distributes this history: add `distribute=require` to the URL";
        return Err(error::own(operation, ErrorKind::Config, message));
    } else {
        return Ok(());
    };
    if wanted == found {
        return Ok(());
    }
    let message = format!(
        "`{option}` requires a {}, but the history is a {}: convert a plain table with `annals \
         migrate`, or choose another schema with `schema=`",
        wanted.as_str(),
        found.as_str()
    );
    Err(error::own(operation, ErrorKind::Config, message))
}
