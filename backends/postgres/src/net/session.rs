//! A connection in use.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::Result;
use deadpool_postgres::Object;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::tls::Handshakes;
use crate::closing::Deadline;
use crate::error::{self, Native, Phase};

/// A value of a statement and its type.
///
/// Statements have no names (`query_typed`): behind a transaction pooler the next statement may run
/// in a session that does not know the name, or knows another statement by it.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A `bigint`.
pub(crate) fn int8(value: &i64) -> Parameter<'_> {
    (value, Type::INT8)
}

/// A `bigint[]`.
pub(crate) fn int8s(values: &Vec<i64>) -> Parameter<'_> {
    (values, Type::INT8_ARRAY)
}

/// A pooled connection that returns to its pool only through [`release`](Self::release). Dropping it
/// earlier closes the connection, because something may still be under way on it.
pub(crate) struct Session {
    client: Option<Object>,
    handshakes: Arc<Handshakes>,
    operation: &'static str,
    limit: Duration,
    deadline: Deadline,
    /// A step was sent and not answered.
    busy: AtomicBool,
}

impl Session {
    pub(super) fn new(
        client: Object,
        handshakes: Arc<Handshakes>,
        operation: &'static str,
        limit: Duration,
        deadline: Deadline,
    ) -> Self {
        let busy = AtomicBool::new(false);
        Self { client: Some(client), handshakes, operation, limit, deadline, busy }
    }

    /// Lets each step take as long as it needs; keepalives still notice a server that is gone.
    pub(crate) fn without_limit(mut self) -> Self {
        self.limit = Duration::MAX;
        self
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    pub(crate) fn client(&self) -> &Client {
        // Only `release` and `drop` take it out, and both end the session.
        #[expect(clippy::expect_used, reason = "an invariant of this type")]
        self.client.as_ref().expect("a session has its connection until it ends")
    }

    /// Waits for the server within the limit, before anything is committed.
    pub(crate) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.run_in(Phase::Before, work).await
    }

    /// Runs statements that return nothing.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        self.run(self.client().batch_execute(sql)).await
    }

    /// The rows of a query.
    pub(crate) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.run(self.client().query_typed(sql, parameters)).await
    }

    /// The only row of a query.
    pub(crate) async fn query_one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row> {
        self.run(self.client().query_typed_one(sql, parameters)).await
    }

    /// The first column of the first row, in the simple protocol.
    pub(crate) async fn simple(&self, sql: &str) -> Result<Option<String>> {
        Ok(first_column(&self.run(self.client().simple_query(sql)).await?).map(str::to_owned))
    }

    /// Commits: an error may leave the outcome unknown.
    pub(crate) async fn commit(&self) -> Result<()> {
        self.run_in(Phase::Commit, self.client().batch_execute("COMMIT")).await
    }

    /// Ends a transaction that changed nothing, and returns the connection.
    pub(crate) async fn finish(self) -> Result<()> {
        self.execute("COMMIT").await?;
        self.release();
        Ok(())
    }

    /// Undoes a transaction, and returns the connection.
    pub(crate) async fn abandon(self) -> Result<()> {
        self.rollback().await?;
        self.release();
        Ok(())
    }

    pub(crate) async fn rollback(&self) -> Result<()> {
        self.execute("ROLLBACK").await
    }

    /// Waits for the server within the limit; `phase` says what an error means.
    pub(crate) async fn run_in<T>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.busy.store(true, Ordering::Relaxed);
        let limited = tokio::select! {
            biased;
            limited = timeout(self.limit, work) => limited,
            () = self.deadline.passed() => return Err(Deadline::error(self.operation, phase)),
        };
        match limited {
            Ok(result) => {
                self.busy.store(false, Ordering::Relaxed);
                result.map_err(|error| error::driver(self.operation, error, phase))
            }
            Err(_) => {
                let message = "the server did not answer within `statement_timeout`";
                Err(error::timeout(self.operation, Native::Timeout, phase, message))
            }
        }
    }

    /// Sends a statement that nobody waits for, not even for its error. What comes next on this
    /// connection runs after it.
    pub(crate) fn send(&self, sql: &str) {
        // Sent when it is first polled. The driver drops the answer.
        let _answer = self.client().batch_execute(sql).now_or_never();
    }

    /// Returns the connection. Nothing may be under way on it but what was [sent](Self::send).
    pub(crate) fn release(mut self) {
        drop(self.client.take());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if self.busy.load(Ordering::Relaxed)
            && let Ok(runtime) = Handle::try_current()
        {
            // The server notices a closed socket only when it next writes to it.
            runtime.spawn(timeout(self.limit, self.handshakes.clone().cancel(&client)));
        }
        drop(Object::take(client));
    }
}

/// The first column of the first row of an answer in the simple protocol.
pub(crate) fn first_column(answer: &[SimpleQueryMessage]) -> Option<&str> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}
