//! What all operations share: connections, the schema and cached names.

use std::sync::Arc;

use annals_core::Result;

use crate::config::PostgresConfig;
use crate::names::NameCache;
use crate::net::Pools;
use crate::schema::Schema;

pub(crate) struct Engine {
    pub(crate) config: PostgresConfig,
    pub(crate) pools: Pools,
    pub(crate) schema: Schema,
    pub(crate) names: Arc<NameCache>,
}

impl Engine {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let names = Arc::new(NameCache::default());
        let cache = names.clone();
        Self {
            pools: Pools::new(&config, move || cache.connected()),
            schema: Schema::new(&config),
            names,
            config,
        }
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
