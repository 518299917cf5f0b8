//! Checking the server, and creating what is missing on it.

use annals_core::{ErrorKind, PersistenceError};

use crate::engine::Engine;
use crate::error;
use crate::session::Session;

/// The version of the tables that this release reads and writes.
pub(crate) const VERSION: i32 = 1;

/// The oldest `server_version_num`.
const OLDEST_SERVER: i32 = 140_000;

const OPERATION: &str = error::INITIALIZE;

/// What was found.
pub(crate) struct Server {
    /// Whether a commit is synced to the medium before it is answered.
    pub(crate) syncs: bool,
}

struct Found {
    server: Server,
    schema: bool,
    meta: bool,
}

/// Checks the server and the schema's version, and creates the tables if they are missing. Any
/// number of processes may do so at once.
pub(crate) async fn prepare(engine: &Engine) -> Result<Server, PersistenceError> {
    let session = engine.reader(OPERATION).await?;
    let found = look(engine, &session).await?;
    let server = if found.meta {
        check_version(engine, &session).await?;
        found.server
    } else {
        create(engine, &session).await?
    };
    session.release();
    Ok(server)
}

async fn look(engine: &Engine, session: &Session) -> Result<Found, PersistenceError> {
    let client = session.client();
    let schema = &engine.config().schema;
    let row = session.run(client.query_one(&engine.sql.probe, &[schema])).await?;
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
    let server = Server { syncs: row.get(2) };
    Ok(Found { server, schema: row.get(3), meta: row.get(4) })
}

async fn check_version(engine: &Engine, session: &Session) -> Result<(), PersistenceError> {
    let rows = session.run(session.client().query(&engine.sql.version, &[])).await?;
    let version: Option<i32> = rows.first().and_then(|row| row.try_get(0).ok());
    let schema = &engine.sql.schema;
    match version {
        Some(VERSION) => Ok(()),
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

/// Creates schema and tables in one transaction.
///
/// The lock belongs to the transaction, not to the session: behind a transaction pooler the next
/// statement may run in another session. It is what makes `CREATE SCHEMA` safe, because two of
/// those at once fail with a duplicate key even with `IF NOT EXISTS`.
async fn create(engine: &Engine, session: &Session) -> Result<Server, PersistenceError> {
    let client = session.client();
    let limit = engine.config().statement_timeout.as_millis();
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {limit}; \
         SET LOCAL idle_in_transaction_session_timeout = {limit}; \
         SELECT pg_advisory_xact_lock({})",
        engine.sql.create_lock
    );
    session.run(client.batch_execute(&begin)).await?;
    // Somebody else may have been first.
    let found = look(engine, session).await?;
    if found.meta {
        check_version(engine, session).await?;
    } else {
        if !found.schema {
            // Only when it is missing: `IF NOT EXISTS` wants the right to create it even so.
            let create = format!("CREATE SCHEMA {}", engine.sql.schema);
            session.run(client.batch_execute(&create)).await?;
        }
        session.run(client.batch_execute(&engine.sql.create)).await?;
    }
    session.commit().await?;
    Ok(found.server)
}
