//! What the client of a request may read.

use std::convert::Infallible;
use std::sync::Arc;

use annals_core::PersistenceBackend;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::server::Server;

/// Extracted by every handler that reads: the history as the client of this request may see it.
pub(crate) struct Reader {
    /// A backend that shows the records that the client may read, and no other.
    pub(crate) history: Arc<dyn PersistenceBackend>,
}

impl FromRequestParts<Server> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, server: &Server) -> Result<Self, Infallible> {
        Ok(Self { history: server.history().clone() })
    }
}
