//! Adapters between annals' `PersistenceBackend` and that of AimDB's own persistence crate, in both
//! directions.
//!
//! Both published lines of `aimdb-persistence` have the same trait, in different crates and with
//! different pattern grammars, so there is one module for each.

use annals_core::{
    BackendError, ErrorKind, Grammar, MAX_TIMESTAMP, Order, Outcome, Pattern, PersistenceError,
    Query, QueryParams, StoredValue,
};
use serde::ser::Error as _;

/// A pattern in the grammar `theirs` that matches at least every record that `query` matches.
fn widened(query: &Query, text: &str, params: &QueryParams, theirs: Grammar) -> String {
    let literal = query.pattern.literal_prefix();
    match theirs {
        _ if params.grammar == theirs => text.to_owned(),
        // Without `*` and `#` it is a name in either grammar.
        _ if literal == text && !text.contains('#') => text.to_owned(),
        Grammar::Glob => format!("{literal}*"),
        _ => "#".to_owned(),
    }
}

/// The rows that `pattern` matches, in the order of the contract: AimDB's own backends may ignore
/// case, and their order is not specified.
fn sorted(mut rows: Vec<StoredValue>, pattern: &Pattern, order: Order) -> Vec<StoredValue> {
    rows.retain(|row| pattern.matches(&row.record_name));
    // A stable sort keeps the backend's order among rows of the same time.
    rows.sort_by(|a, b| a.record_name.cmp(&b.record_name).then(b.stored_at.cmp(&a.stored_at)));
    if order == Order::OldestFirst {
        rows.chunk_by_mut(|a, b| a.record_name == b.record_name).for_each(<[_]>::reverse);
    }
    rows
}

/// A time bound that AimDB's own backends accept: they fail above `i64::MAX`.
fn bound(time: Option<u64>) -> Option<u64> {
    time.filter(|time| *time <= MAX_TIMESTAMP)
}

/// An error of an AimDB backend. Its kind is unknown, since it is only a text.
fn engine_error(operation: &'static str, message: String, outcome: Outcome) -> PersistenceError {
    BackendError::new("aimdb", operation, ErrorKind::Other, message).with_outcome(outcome).into()
}

fn json_error(message: String) -> PersistenceError {
    serde_json::Error::custom(message).into()
}

macro_rules! adapter {
    ($persistence:ident, $grammar:expr) => {
        use std::sync::Arc;

        use annals_core::{
            Grammar, MAX_TIMESTAMP, Outcome, PersistenceBackend, PersistenceError, Query,
            QueryParams, Row, StoredValue, async_trait,
        };
        use serde_json::Value;
        use $persistence::backend as theirs;
        use $persistence::error::PersistenceError as TheirError;

        use super::{bound, engine_error, json_error, sorted, widened};

        /// The pattern grammar of this line.
        const GRAMMAR: Grammar = $grammar;

        /// An annals backend as an `aimdb_persistence::PersistenceBackend`, for use with AimDB's own
        /// persistence crate.
        ///
        /// Patterns are read in the grammar of that line.
        #[derive(Debug, Clone)]
        pub struct ToAimDb<B>(B);

        impl<B: PersistenceBackend> ToAimDb<B> {
            /// Wraps `backend`.
            pub fn new(backend: B) -> Self {
                Self(backend)
            }
        }

        impl<B: PersistenceBackend> theirs::PersistenceBackend for ToAimDb<B> {
            fn store<'a>(
                &'a self,
                record_name: &'a str,
                value: &'a Value,
                timestamp: u64,
            ) -> theirs::BoxFuture<'a, Result<(), TheirError>> {
                Box::pin(async move {
                    self.0.store(record_name, value, timestamp).await.map_err(to_theirs)
                })
            }

            fn query<'a>(
                &'a self,
                record_pattern: &'a str,
                params: theirs::QueryParams,
            ) -> theirs::BoxFuture<'a, Result<Vec<theirs::StoredValue>, TheirError>> {
                let ours = QueryParams::default()
                    .with_limit_per_record(params.limit_per_record)
                    .with_start_time(params.start_time)
                    .with_end_time(params.end_time)
                    .with_grammar(GRAMMAR);
                Box::pin(async move {
                    let rows = self.0.query(record_pattern, ours).await.map_err(to_theirs)?;
                    let rows = rows.into_iter().map(|row| theirs::StoredValue {
                        record_name: row.record_name,
                        value: row.value,
                        stored_at: row.stored_at,
                    });
                    Ok(rows.collect())
                })
            }

            fn initialize(&self) -> theirs::BoxFuture<'_, Result<(), TheirError>> {
                Box::pin(async { self.0.initialize().await.map_err(to_theirs) })
            }

            fn cleanup(&self, older_than: u64) -> theirs::BoxFuture<'_, Result<u64, TheirError>> {
                Box::pin(async move { self.0.cleanup(older_than).await.map_err(to_theirs) })
            }
        }

        fn to_theirs(error: PersistenceError) -> TheirError {
            match error {
                PersistenceError::NotConfigured(_) => TheirError::NotConfigured,
                PersistenceError::BackendShutdown => TheirError::BackendShutdown,
                PersistenceError::Serialization { source } => {
                    TheirError::Serialization(source.to_string())
                }
                other => TheirError::Backend(other.to_string()),
            }
        }

        /// An `aimdb_persistence::PersistenceBackend` as an annals backend.
        ///
        /// Names, values and times are checked before they are passed on. Results are filtered to
        /// names that match byte by byte, and sorted by name and time; rows of the same time keep
        /// the backend's order. A pattern in the other line's grammar queries more than what
        /// matches, in the worst case all records.
        ///
        /// It claims no guarantee. Its errors have neither a kind nor an outcome, so a recorder in
        /// front of it retries, and a row that was stored despite an error is stored again.
        #[derive(Debug, Clone)]
        pub struct FromAimDb<B: ?Sized>(Arc<B>);

        impl<B: theirs::PersistenceBackend + ?Sized> FromAimDb<B> {
            /// Wraps `backend`.
            pub fn new(backend: Arc<B>) -> Self {
                Self(backend)
            }
        }

        #[async_trait]
        impl<B: theirs::PersistenceBackend + ?Sized> PersistenceBackend for FromAimDb<B> {
            async fn store(
                &self,
                record_name: &str,
                value: &Value,
                timestamp: u64,
            ) -> Result<(), PersistenceError> {
                Row::new(record_name, value, timestamp)?;
                let stored = self.0.store(record_name, value, timestamp).await;
                stored.map_err(|error| from_theirs("store", error, Outcome::Unknown))
            }

            async fn query(
                &self,
                record_pattern: &str,
                params: QueryParams,
            ) -> Result<Vec<StoredValue>, PersistenceError> {
                let query = Query::new(record_pattern, &params)?;
                if query.is_empty() {
                    return Ok(Vec::new());
                }
                let pattern = widened(&query, record_pattern, &params, GRAMMAR);
                let wanted = theirs::QueryParams {
                    limit_per_record: params.limit_per_record,
                    start_time: bound(params.start_time),
                    end_time: bound(params.end_time),
                };
                let rows = self.0.query(&pattern, wanted).await;
                let rows =
                    rows.map_err(|error| from_theirs("query", error, Outcome::NotApplied))?;
                let rows = rows.into_iter().map(|row| StoredValue {
                    record_name: row.record_name,
                    value: row.value,
                    stored_at: row.stored_at,
                });
                Ok(sorted(rows.collect(), &query.pattern, params.order))
            }

            async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
                let mut removed = self.0.cleanup(older_than).await;
                // AimDB's own backends refuse a cut-off above `i64::MAX`.
                if removed.is_err() && older_than > MAX_TIMESTAMP {
                    removed = self.0.cleanup(MAX_TIMESTAMP).await;
                }
                removed.map_err(|error| from_theirs("cleanup", error, Outcome::Unknown))
            }

            async fn initialize(&self) -> Result<(), PersistenceError> {
                let ready = self.0.initialize().await;
                ready.map_err(|error| from_theirs("initialize", error, Outcome::Unknown))
            }
        }

        fn from_theirs(
            operation: &'static str,
            error: TheirError,
            outcome: Outcome,
        ) -> PersistenceError {
            match error {
                TheirError::NotConfigured => PersistenceError::NotConfigured(
                    "AimDB's backend reports that it is not configured".to_owned(),
                ),
                TheirError::BackendShutdown => PersistenceError::BackendShutdown,
                TheirError::Serialization(message) => json_error(message),
                TheirError::Backend(message) => engine_error(operation, message, outcome),
            }
        }
    };
}

/// Adapters for `aimdb-persistence` 0.1, the persistence crate of AimDB 1.x.
#[cfg(feature = "aimdb-1")]
pub mod line1 {
    adapter!(aimdb_persistence, Grammar::Glob);
}

/// Adapters for `aimdb-persistence` 0.2, the persistence crate of AimDB 2.x.
#[cfg(feature = "aimdb-2")]
pub mod line2 {
    adapter!(aimdb_persistence_2, Grammar::Topic);
}
