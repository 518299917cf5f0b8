//! `record.query`, as far as it is the same on both AimDB lines.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use annals_core::{Grammar, Order, PersistenceBackend, QueryParams, StoredValue};

use crate::redact::without_secrets;

/// What AimDB's server hands over.
///
/// It has read the client's parameters by then and passed over what has the wrong type: a limit
/// of `"5"` arrives as none, a name of `7` as every record.
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) limit: Option<usize>,
    pub(crate) start: Option<u64>,
    pub(crate) end: Option<u64>,
    pub(crate) order: Order,
}

pub(crate) type Answered = Pin<Box<dyn Future<Output = Answer> + Send>>;
pub(crate) type Answer = Result<Vec<StoredValue>, String>;

/// The rows that are asked for, or why there are none, without secrets.
pub(crate) async fn answer(
    backend: Arc<dyn PersistenceBackend>,
    grammar: Grammar,
    asked: Asked,
) -> Answer {
    let Asked { name, limit, start, end, order } = asked;
    // Without any bound AimDB's clients expect the latest value of each record, and somebody who
    // names a window wants the window.
    let limit = match (limit, start, end) {
        (None, None, None) => Some(1),
        (limit, ..) => limit,
    };
    let params =
        QueryParams { limit_per_record: limit, start_time: start, end_time: end, order, grammar };
    backend.query(&name, params).await.map_err(|error| {
        let message = without_secrets(&error.to_string());
        tracing::warn!(pattern = name, error = message, "record.query failed");
        message
    })
}
