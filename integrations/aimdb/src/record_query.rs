//! Answers `record.query`: a request in, rows or an error message without secrets out. Each line
//! puts the rows into its own shape.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use annals_core::{Grammar, Order, PersistenceBackend, PersistenceError, QueryParams, StoredValue};

use crate::redact::without_secrets;

/// A request as AimDB's server passes it on.
///
/// The server has already parsed the client's parameters and ignored those of the wrong type: a
/// limit of `"5"` arrives as no limit, a name of `7` as the pattern for every record.
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) limit: Option<usize>,
    pub(crate) start: Option<u64>,
    pub(crate) end: Option<u64>,
    pub(crate) order: Order,
}

pub(crate) type Answer = Result<Vec<StoredValue>, String>;
pub(crate) type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Runs `request` on `backend`. The pattern is read in `grammar` and no other: the server grants
/// access by patterns in that grammar.
pub(crate) async fn answer(
    backend: Arc<dyn PersistenceBackend>,
    grammar: Grammar,
    request: Request,
) -> Answer {
    let Request { name, limit, start, end, order } = request;
    // AimDB's clients expect the latest value of each record if they give no bound at all.
    let limit = match (limit, start, end) {
        (None, None, None) => Some(1),
        (limit, ..) => limit,
    };
    let params = QueryParams::default()
        .with_limit_per_record(limit)
        .with_start_time(start)
        .with_end_time(end)
        .with_order(order)
        .with_grammar(grammar);
    backend.query(&name, params).await.map_err(|error| {
        let mut message = without_secrets(&error.to_string());
        let invalid = matches!(error, PersistenceError::InvalidPattern { .. });
        if invalid && grammar == Grammar::Topic && !name.is_empty() {
            message.push_str(TOPIC_HELP);
        }
        tracing::warn!(pattern = name, error = message, "record.query failed");
        message
    })
}

/// What to write instead of a pattern of the other line.
const TOPIC_HELP: &str = "; over AimX a pattern is made of segments between dots, `*` for exactly \
     one and `#` for any number of them: `accuracy.*`, `#`, or the full name of one record";
