//! The state that all requests share.

use std::fmt;
use std::sync::Arc;

use annals_core::PersistenceBackend;

use crate::config::Config;

/// One history and what serving it needs. Clones share everything.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    history: Arc<dyn PersistenceBackend>,
    config: Config,
}

impl Server {
    /// A server over `history`, which is not called yet.
    pub fn new(history: Arc<dyn PersistenceBackend>, config: Config) -> Self {
        Self(Arc::new(Shared { history, config }))
    }

    /// The whole history. A handler that answers a client takes a
    /// [`Reader`](crate::access::Reader) instead.
    pub(crate) fn history(&self) -> &Arc<dyn PersistenceBackend> {
        &self.0.history
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.0.config).finish_non_exhaustive()
    }
}
