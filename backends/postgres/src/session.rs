//! A connection in use.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::PersistenceError;
use deadpool::managed::Object;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::closing::Deadline;
use crate::connect::Connector;
use crate::error::{self, Native, Phase};

/// A value of a statement's, and its type.
///
/// Statements have no names (`query_typed`): behind a transaction pooler the next one may run in a
/// session that does not know the name, or knows another statement by it.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A pooled connection that goes back to its pool only when it is [released](Self::release): one
/// that is dropped on the way is closed, because nobody knows what is still under way on it.
pub(crate) struct Session {
    client: Option<Object<Connector>>,
    operation: &'static str,
    limit: Duration,
    deadline: Deadline,
    /// The server works on something whose answer was not seen.
    busy: AtomicBool,
}

impl Session {
    pub(crate) fn new(
        client: Object<Connector>,
        operation: &'static str,
        limit: Duration,
        deadline: Deadline,
    ) -> Self {
        Self { client: Some(client), operation, limit, deadline, busy: AtomicBool::new(false) }
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    pub(crate) fn client(&self) -> &Client {
        // Only `release` and `drop` take it out, and both end the session.
        #[expect(clippy::expect_used, reason = "an invariant of this type")]
        &self.client.as_ref().expect("a session has its connection until it ends").client
    }

    /// Waits for the server within the limit, before anything is committed.
    pub(crate) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PersistenceError> {
        self.run_in(Phase::Before, work).await
    }

    /// Commits: an error here may leave the outcome unknown.
    pub(crate) async fn commit(&self) -> Result<(), PersistenceError> {
        self.run_in(Phase::Commit, self.client().batch_execute("COMMIT")).await
    }

    /// Waits for the server within the limit; `phase` tells what an error means.
    pub(crate) async fn run_in<T>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PersistenceError> {
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

    /// Returns the connection, on which nothing may be under way any more.
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
            runtime.spawn(timeout(self.limit, client.cancel()));
        }
        drop(Object::take(client));
    }
}
