//! Checks the server, and creates or upgrades the tables on it.
//!
//! [`Schema`] holds what was found, and finds it at the first call.

mod ddl;
mod migrate;

use annals_core::{Durability, ErrorKind, PersistenceError, Result};
use tokio::sync::OnceCell;
use tokio_postgres::types::Type;

use crate::config::{PostgresConfig, Storage};
use crate::error;
use crate::layout::{self, AnyLayout, Extensions};
use crate::net::{Pools, Session};
use crate::sql::Sql;

pub(crate) use ddl::add_identity;
pub(crate) use migrate::run as migrate;
pub use migrate::{Migration, MigrationProgress};

/// The version of the tables that this release reads and writes.
const VERSION: i32 = 3;

/// The upgrades from version 1 on, one version each. There is no downgrade: an older release refuses a
/// newer version.
const UPGRADES: [fn(&Sql) -> String; VERSION as usize - 1] = [ddl::version_2, ddl::version_3];

/// How often creating or upgrading is tried when it ends in a deadlock.
const CREATE_ATTEMPTS: usize = 5;

/// The oldest `server_version_num`.
const OLDEST_SERVER: i32 = 140_000;

const OPERATION: &str = error::INITIALIZE;

/// The schema of a history, and what is known about the server.
pub(crate) struct Schema {
    pub(crate) sql: Sql,
    storage: Storage,
    durability: Durability,
    create: bool,
    ready: OnceCell<Ready>,
    /// The layout on the server of `read_url`.
    replica: OnceCell<AnyLayout>,
}

/// What was found on the server that stores.
struct Ready {
    layout: AnyLayout,
    /// Whether a commit is synced to the medium before it is answered.
    syncs: bool,
    /// Whether a query sees one snapshot: several nodes have several.
    one_snapshot: bool,
}

/// What a look at the server tells.
struct Found {
    syncs: bool,
    schema: bool,
    meta: bool,
    extensions: Extensions,
}

impl Schema {
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        Self {
            sql: Sql::new(config),
            storage: config.storage.clone(),
            durability: config.durability,
            create: config.create,
            ready: OnceCell::new(),
            replica: OnceCell::new(),
        }
    }

    /// Whether the server is known to sync before it answers.
    pub(crate) fn survives_power_loss(&self) -> bool {
        let wanted = self.durability >= Durability::PowerLoss;
        wanted && self.ready.get().is_some_and(|ready| ready.syncs)
    }

    /// Whether a query sees one snapshot. For a cluster that is unknown before the first contact.
    pub(crate) fn one_snapshot(&self) -> bool {
        let ready = self.ready.get();
        ready.map_or(!self.storage.distribute, |ready| ready.one_snapshot)
    }

    /// The layout of the history. The first call checks the server and creates what is missing; if
    /// that fails, the next call tries again.
    pub(crate) async fn ready(&self, pools: &Pools) -> Result<&AnyLayout> {
        self.ready.get_or_try_init(|| self.prepare(pools)).await.map(|ready| &ready.layout)
    }

    /// As [`ready`](Self::ready), for queries: where they have a server of their own, the other one
    /// may be away.
    pub(crate) async fn readable(&self, pools: &Pools) -> Result<&AnyLayout> {
        if !pools.has_replicas() {
            return self.ready(pools).await;
        }
        let checked = self.replica.get_or_try_init(|| async {
            if let Some(layout) = self.on_replica(pools).await? {
                return Ok(layout);
            }
            self.ready(pools).await?;
            // The replica may have replayed the tables meanwhile.
            self.on_replica(pools).await?.ok_or_else(|| {
                let message = "the tables have not reached the server of `read_url` yet";
                error::own(OPERATION, ErrorKind::Busy, message)
            })
        });
        checked.await
    }

    /// Checks the server and the version of the tables; creates or upgrades them if necessary. Any
    /// number of processes may do so at once.
    async fn prepare(&self, pools: &Pools) -> Result<Ready> {
        let session = pools.reader(OPERATION).await?;
        let found = self.look(&session).await?;
        if !found.meta && !self.create {
            return Err(self.no_history(OPERATION));
        }
        if !found.meta || self.version(&session).await? < VERSION {
            self.create_or_upgrade(&session).await?;
        }
        let layout = layout::find(&self.storage, &self.sql, &session, &found.extensions).await?;
        layout::accept(OPERATION, &self.storage, layout.kind())?;
        let one_snapshot = layout.prepare(&self.sql, &session).await?;
        session.release();
        Ok(Ready { layout, syncs: found.syncs, one_snapshot })
    }

    /// The layout on the server of queries, if it has the tables that are expected. A replica may be
    /// behind, and nothing is created there. Queries need nothing that came after version 1.
    async fn on_replica(&self, pools: &Pools) -> Result<Option<AnyLayout>> {
        let session = pools.querier(OPERATION).await?;
        let found = self.look(&session).await?;
        let mut replayed = None;
        if found.meta && self.version(&session).await? <= VERSION {
            let layout =
                layout::find(&self.storage, &self.sql, &session, &found.extensions).await?;
            let accepted = layout::accept(OPERATION, &self.storage, layout.kind()).is_ok();
            replayed = accepted.then_some(layout);
        }
        session.release();
        Ok(replayed)
    }

    async fn look(&self, session: &Session) -> Result<Found> {
        let probe = format!(
            "SELECT current_setting('server_version_num')::int, \
                    current_setting('server_encoding'), \
                    current_setting('fsync') = 'on' \
                      AND current_setting('full_page_writes') = 'on' \
                      AND current_setting('synchronous_commit') <> 'off', \
                    EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1), \
                    EXISTS (SELECT FROM pg_catalog.pg_class c \
                      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                      WHERE n.nspname = $1 AND c.relname = 'meta'), {}",
            Extensions::COLUMNS
        );
        let row = session.query_one(&probe, &[(&self.sql.name, Type::TEXT)]).await?;
        let (version, encoding): (i32, String) = (row.get(0), row.get(1));
        if version < OLDEST_SERVER {
            let message =
                format!("PostgreSQL 14 or newer is required, this is {}", version / 10_000);
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

    pub(crate) fn version_query(&self) -> String {
        format!("SELECT schema_version FROM {}.meta", self.sql.schema)
    }

    /// The version of the existing tables, 1 to [`VERSION`].
    async fn version(&self, session: &Session) -> Result<i32> {
        let rows = session.query(&self.version_query(), &[]).await?;
        let version: Option<i32> = rows.first().and_then(|row| row.try_get(0).ok());
        let schema = &self.sql.schema;
        match version {
            Some(known @ 1..=VERSION) => Ok(known),
            Some(newer) if newer > VERSION => {
                let message = format!(
                    "the tables in schema {schema} have version {newer}, and this release of \
                     annals supports versions up to {VERSION}: upgrade it"
                );
                Err(error::own(OPERATION, ErrorKind::NewerSchema, message))
            }
            _ => {
                let message = format!("annals did not create the tables in schema {schema}");
                Err(error::own(OPERATION, ErrorKind::Corrupt, message))
            }
        }
    }

    fn no_history(&self, operation: &'static str) -> PersistenceError {
        let message = format!("there is no history in schema {}", self.sql.schema);
        error::own(operation, ErrorKind::Config, message)
    }

    /// Creates or upgrades the tables, and repeats that after a deadlock: with programs that store
    /// meanwhile or, with Citus, with one that creates or drops another schema.
    async fn create_or_upgrade(&self, session: &Session) -> Result<()> {
        for _ in 1..CREATE_ATTEMPTS {
            match self.try_create_or_upgrade(session).await {
                Err(error) if error::is_busy(&error) => {
                    tracing::debug!(%error, "creating or upgrading the tables is repeated");
                    session.rollback().await?;
                }
                result => return result,
            }
        }
        self.try_create_or_upgrade(session).await
    }

    /// Creates the schema and its tables, or brings them to this release's version, in one
    /// transaction.
    ///
    /// The lock belongs to the transaction, not to the session: behind a transaction pooler the next
    /// statement may run in another session. It makes `CREATE SCHEMA` safe, since two of those at once
    /// fail with a duplicate key even with `IF NOT EXISTS`.
    async fn try_create_or_upgrade(&self, session: &Session) -> Result<()> {
        session.execute(&self.sql.begin_create()).await?;
        // Another process may have been first.
        let found = self.look(session).await?;
        let s = &self.sql.schema;
        if found.meta {
            let version = self.version(session).await?;
            for upgrade in UPGRADES.iter().skip(usize::try_from(version - 1).unwrap_or(0)) {
                session.execute(&upgrade(&self.sql)).await?;
            }
            let raise = format!("UPDATE {s}.meta SET schema_version = {VERSION}");
            session.execute(&raise).await?;
        } else {
            let layout = layout::choose(OPERATION, &self.storage, &found.extensions)?;
            layout.check_server(&self.sql, session).await?;
            if !found.schema {
                // Only when it is missing: `IF NOT EXISTS` requires the privilege in any case.
                session.execute(&format!("CREATE SCHEMA {s}")).await?;
            }
            session.execute(&ddl::create(&self.sql, &*layout, VERSION)).await?;
        }
        session.commit().await
    }
}
