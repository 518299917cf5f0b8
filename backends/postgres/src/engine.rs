//! What all operations share: connections, the schema and cached names.

use std::sync::Arc;

use annals_core::{BatchId, Result};
use tokio_postgres::types::Type;

use crate::config::PostgresConfig;
use crate::follow::followers::Followers;
use crate::follow::horizon::Horizon;
use crate::names::NameCache;
use crate::net::{Pools, int8};
use crate::schema::Schema;

pub(crate) struct Engine {
    pub(crate) config: PostgresConfig,
    pub(crate) pools: Pools,
    pub(crate) schema: Schema,
    pub(crate) names: Arc<NameCache>,
    pub(crate) horizon: Horizon,
    pub(crate) followers: Followers,
}

impl Engine {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let names = Arc::new(NameCache::default());
        let cache = names.clone();
        Self {
            pools: Pools::new(&config, move || cache.connected()),
            schema: Schema::new(&config),
            names,
            horizon: Horizon::new(),
            followers: Followers::default(),
            config,
        }
    }

    /// Whether a batch, or a later one of its writer, is stored. Asks the primary.
    pub(crate) async fn has_batch(&self, id: BatchId) -> Result<bool> {
        const OPERATION: &str = "has_batch";
        self.schema.ready(&self.pools).await?;
        let session = self.pools.reader(OPERATION).await?;
        let select = format!(
            "SELECT 1 FROM {}.writers WHERE writer = $1 AND number >= $2",
            self.schema.sql.schema
        );
        let writer = &id.writer.to_be_bytes()[..];
        let number = i64::try_from(id.number).unwrap_or(i64::MAX);
        let found = session.query(&select, &[(&writer, Type::BYTEA), int8(&number)]).await?;
        session.release();
        Ok(!found.is_empty())
    }

    /// Asks every server that is configured.
    pub(crate) async fn health(&self) -> Result<()> {
        const OPERATION: &str = "health";
        self.schema.ready(&self.pools).await?;
        let mut sessions = vec![self.pools.reader(OPERATION).await?];
        if self.pools.has_replicas() {
            sessions.push(self.pools.querier(OPERATION).await?);
        }
        for session in sessions {
            session.simple(&self.schema.version_query()).await?;
            session.release();
        }
        Ok(())
    }
}
