//! What the client of a request may read.

use std::sync::Arc;

use annals_core::{Grammar, Pattern, PersistenceBackend};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};

use super::client::Client;
use super::restricted::Restricted;
use super::rights::client;
use crate::limits::Slot;
use crate::problem::Problem;
use crate::server::Server;

/// Extracted by every handler that reads: the history as the client of this request may see it.
///
/// The one rule: an answer has the records that the client may read and no other. If the pattern
/// could match others, the answer has the header [`RESTRICTED`], whether there are any or not.
pub(crate) struct Reader {
    /// A backend that shows the records that the client may read, and no other.
    pub(crate) history: Arc<dyn PersistenceBackend>,
    /// The room that the query takes. A streamed answer keeps it until its end.
    pub(crate) slot: Option<Slot>,
    client: Client,
}

/// Says that the answer may lack records that the client may not read.
pub(crate) const RESTRICTED: HeaderName = HeaderName::from_static("annals-restricted");
/// Says after how many rows the answer ends at the latest.
pub(crate) const LIMIT: HeaderName = HeaderName::from_static("annals-limit");

impl Reader {
    /// Whether `pattern` could match records that the client may not read.
    pub(crate) fn restricts(&self, pattern: &str, grammar: Grammar) -> bool {
        let scope = &self.client.known.grants.read;
        Pattern::new(pattern, grammar).is_ok_and(|pattern| !scope.covers(&pattern))
    }

    /// The smaller of what the request and what the token limit.
    pub(crate) fn limit(&self, asked: Option<u64>) -> Option<u64> {
        let most = self.client.known.quota.rows_per_answer();
        match (asked, most) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        }
    }

    /// The headers of an answer for `pattern` with at most `limit` rows.
    pub(crate) fn headers(
        &self,
        pattern: &str,
        grammar: Grammar,
        limit: Option<u64>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        if self.restricts(pattern, grammar) {
            headers.push((RESTRICTED, HeaderValue::from_static("true")));
        }
        if let Some(limit) = limit {
            headers.push((LIMIT, limit.into()));
        }
        headers
    }
}

impl FromRequestParts<Server> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Problem> {
        let client = client(parts)?.clone();
        let scope = &client.known.grants.read;
        if scope.is_none() {
            return Err(Problem::forbidden("this token may not read"));
        }
        let history = server.history().clone();
        let history: Arc<dyn PersistenceBackend> = match scope.covers(&Pattern::all()) {
            true => Arc::new(history),
            false => Arc::new(Restricted::new(Arc::new(history), scope.clone())),
        };
        let slot = parts.extensions.get::<Slot>().cloned();
        Ok(Self { history, slot, client })
    }
}
