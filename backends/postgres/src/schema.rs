//! Checking the server, and creating or upgrading what is on it.

use annals_core::{ErrorKind, PersistenceError};
use tokio_postgres::types::Type;

use crate::config::shown_interval;
use crate::ddl;
use crate::engine::Engine;
use crate::error;
use crate::layout::{self, Extensions, Layout};
use crate::partitions;
use crate::session::Session;

/// The version of the tables that this release reads and writes.
pub(crate) const VERSION: i32 = 3;

/// What takes the tables from one version to the next, from version 1 on. There is no way back:
/// an older release refuses a newer version.
const STEPS: [fn(&str) -> String; VERSION as usize - 1] = [ddl::version_2, ddl::version_3];

/// How often creating or upgrading may end in a deadlock before that is told.
const CREATE_ATTEMPTS: usize = 5;

/// The oldest `server_version_num`.
const OLDEST_SERVER: i32 = 140_000;

const OPERATION: &str = error::INITIALIZE;

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// Whether a commit is synced to the medium before it is answered.
    pub(crate) syncs: bool,
    pub(crate) layout: Layout,
    /// Whether a query sees one snapshot: those of several nodes are several.
    pub(crate) one_snapshot: bool,
}

pub(crate) struct Found {
    syncs: bool,
    schema: bool,
    pub(crate) meta: bool,
    pub(crate) extensions: Extensions,
}

/// Checks the server and the schema's version, and creates the tables if they are missing, or
/// upgrades them. Any number of processes may do so at once.
pub(crate) async fn prepare(engine: &Engine) -> Result<Server, PersistenceError> {
    let session = engine.reader(OPERATION).await?;
    let config = engine.config();
    let found = look(engine, &session).await?;
    if !found.meta && !config.create {
        return Err(no_history(OPERATION, engine));
    }
    if !found.meta || version(engine, &session).await? < VERSION {
        create_or_upgrade_patiently(engine, &session).await?;
    }
    let layout = layout::find(config, &session, &found.extensions).await?;
    layout::accept(OPERATION, &config.storage, layout)?;
    let mut one_snapshot = true;
    match layout {
        Layout::Plain => {}
        Layout::Partitioned => {
            check_interval(OPERATION, engine, &session).await?;
            match partitions::make_ahead(engine, &session).await {
                // A standby, or a role that may only read and store: others make them.
                Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Permission => {
                    tracing::debug!(%error, "no partitions were made ahead");
                    session.run(session.client().batch_execute("ROLLBACK")).await?;
                }
                made => made?,
            }
        }
        Layout::Hypertable => {
            if found.extensions.apache && config.storage.compress_after().is_some() {
                tracing::warn!(
                    "TimescaleDB runs under its Apache licence here, which has no compression: \
                     chunks stay as they are (compress_after=off says that this is meant)"
                );
            }
        }
        Layout::Distributed => one_snapshot = nodes(engine, &session).await? == 1,
    }
    session.release();
    Ok(Server { syncs: found.syncs, layout, one_snapshot })
}

pub(crate) fn no_history(operation: &'static str, engine: &Engine) -> PersistenceError {
    let message = format!("there is no history in schema {}", engine.sql.schema);
    error::own(operation, ErrorKind::Config, message)
}

/// How the history lies on the server that queries go to, if the tables are there as they are to be:
/// it may be behind, and nothing is created there. Queries need nothing that came after version 1.
pub(crate) async fn on_replica(engine: &Engine) -> Result<Option<Layout>, PersistenceError> {
    let session = engine.querier(OPERATION).await?;
    let config = engine.config();
    let found = look(engine, &session).await?;
    let mut there = None;
    if found.meta && version(engine, &session).await? <= VERSION {
        let layout = layout::find(config, &session, &found.extensions).await?;
        there = layout::accept(OPERATION, &config.storage, layout).is_ok().then_some(layout);
    }
    session.release();
    Ok(there)
}

pub(crate) async fn look(engine: &Engine, session: &Session) -> Result<Found, PersistenceError> {
    let client = session.client();
    let schema = &engine.config().schema;
    let row =
        session.run(client.query_typed_one(&engine.sql.probe, &[(schema, Type::TEXT)])).await?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < OLDEST_SERVER {
        let message = format!("PostgreSQL 14 or newer is needed, this is {}", version / 10_000);
        return Err(error::own(OPERATION, ErrorKind::Config, message));
    }
    if encoding != "UTF8" {
        let message = format!(
            "the database's encoding is {encoding}; names and values need UTF8 \
             (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"
        );
        return Err(error::own(OPERATION, ErrorKind::Config, message));
    }
    let extensions = Extensions::read(&row, 5);
    Ok(Found { syncs: row.get(2), schema: row.get(3), meta: row.get(4), extensions })
}

/// The version of the tables that are there, 1 to [`VERSION`].
async fn version(engine: &Engine, session: &Session) -> Result<i32, PersistenceError> {
    let rows = session.run(session.client().query_typed(&engine.sql.version, &[])).await?;
    let version: Option<i32> = rows.first().and_then(|row| row.try_get(0).ok());
    let schema = &engine.sql.schema;
    match version {
        Some(known @ 1..=VERSION) => Ok(known),
        Some(newer) if newer > VERSION => {
            let message = format!(
                "the tables in schema {schema} have version {newer}; this release of annals knows \
                 versions up to {VERSION}: upgrade it"
            );
            Err(error::own(OPERATION, ErrorKind::NewerSchema, message))
        }
        _ => {
            let message = format!("the tables in schema {schema} are not annals' own");
            Err(error::own(OPERATION, ErrorKind::Corrupt, message))
        }
    }
}

/// As [`create_or_upgrade`], and again when it met others in a deadlock: programs that store while
/// their tables are upgraded, or, with Citus, one that creates or drops another schema.
pub(crate) async fn create_or_upgrade_patiently(
    engine: &Engine,
    session: &Session,
) -> Result<(), PersistenceError> {
    for _ in 1..CREATE_ATTEMPTS {
        match create_or_upgrade(engine, session).await {
            Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Busy => {
                tracing::debug!(%error, "creating or upgrading the tables once more");
                session.run(session.client().batch_execute("ROLLBACK")).await?;
            }
            result => return result,
        }
    }
    create_or_upgrade(engine, session).await
}

/// Creates schema and tables, or brings them to this release's version, in one transaction.
///
/// The lock belongs to the transaction, not to the session: behind a transaction pooler the next
/// statement may run in another session. It is what makes `CREATE SCHEMA` safe, because two of
/// those at once fail with a duplicate key even with `IF NOT EXISTS`.
async fn create_or_upgrade(engine: &Engine, session: &Session) -> Result<(), PersistenceError> {
    let client = session.client();
    session.run(client.batch_execute(&engine.sql.begin_create)).await?;
    // Somebody else may have been first.
    let found = look(engine, session).await?;
    let s = &engine.sql.schema;
    if found.meta {
        let version = version(engine, session).await?;
        for step in STEPS.iter().skip(usize::try_from(version - 1).unwrap_or(0)) {
            session.run(client.batch_execute(&step(s))).await?;
        }
        let raise = format!("UPDATE {s}.meta SET schema_version = {VERSION}");
        session.run(client.batch_execute(&raise)).await?;
    } else {
        let storage = &engine.config().storage;
        let layout = layout::choose(OPERATION, storage, &found.extensions)?;
        if layout == Layout::Distributed {
            nodes(engine, session).await?;
        }
        if !found.schema {
            // Only when it is missing: `IF NOT EXISTS` wants the right to create it even so.
            session.run(client.batch_execute(&format!("CREATE SCHEMA {s}"))).await?;
        }
        let create = ddl::create(s, layout, storage, &found.extensions);
        session.run(client.batch_execute(&create)).await?;
    }
    session.commit().await
}

/// The interval is a matter of the whole history, not of each program.
pub(crate) async fn check_interval(
    operation: &'static str,
    engine: &Engine,
    session: &Session,
) -> Result<(), PersistenceError> {
    let select = format!("SELECT partition_interval FROM {}.meta", engine.sql.schema);
    let row = session.run(session.client().query_typed_one(&select, &[])).await?;
    match (engine.config().storage.partition_interval, row.get::<_, Option<i64>>(0)) {
        (Some(asked), Some(kept)) if asked != kept => {
            let (asked, kept) = (shown_interval(asked), shown_interval(kept));
            let message = format!(
                "`partition_interval` asks for {asked}, and the history is partitioned by {kept}: \
                 leave the option out, or write {kept}"
            );
            Err(error::own(operation, ErrorKind::Config, message))
        }
        _ => Ok(()),
    }
}

/// How many nodes have shards, at least one. Every program connects to the coordinator: advisory
/// locks and the tables that are not distributed are there.
async fn nodes(engine: &Engine, session: &Session) -> Result<i64, PersistenceError> {
    let select = "SELECT (SELECT groupid = 0 FROM pg_dist_local_group), \
                  greatest(1, (SELECT count(*) FROM pg_dist_node \
                  WHERE shouldhaveshards AND noderole = 'primary'))";
    let row = session.run(session.client().query_typed_one(select, &[])).await?;
    if !row.get::<_, bool>(0) {
        let message = format!(
            "this is a worker of the Citus cluster; connect to its coordinator (schema {})",
            engine.sql.schema
        );
        return Err(error::own(OPERATION, ErrorKind::Config, message));
    }
    Ok(row.get(1))
}
