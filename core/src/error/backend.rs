//! The failure of a storage engine.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What is known about the rows of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing of the call was applied.
    NotApplied,
    /// Nobody can know: part or all of it may have been applied. The connection broke after the
    /// commit was sent, say, or the disk failed while syncing.
    Unknown,
}

/// The coarse kind of a storage engine's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another process or transaction is in the way; it passes by itself.
    Busy,
    /// The server or the connection to it is away.
    Connection,
    /// A time limit ran out.
    Timeout,
    /// The disk, a quota or a connection limit is full.
    Full,
    /// The place is read-only, or access is denied.
    Permission,
    /// Reading from or writing to the medium failed.
    Io,
    /// What is stored there is damaged or is not annals' own.
    Corrupt,
    /// The store was written by a newer version of annals.
    NewerSchema,
    /// Configuration or URL that cannot work.
    Config,
    /// Anything else.
    Other,
}

/// A storage engine's failure: what was being done, what kind of failure it is, and the engine's
/// own error as the [source](StdError::source).
#[derive(Clone)]
pub struct BackendError {
    engine: &'static str,
    operation: &'static str,
    kind: ErrorKind,
    pub(super) outcome: Outcome,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl BackendError {
    /// An error of `engine` during `operation` ("store", "open", …), certainly not applied.
    ///
    /// `message` is one line without secrets; it should say what to do where that is known.
    pub fn new(
        engine: &'static str,
        operation: &'static str,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self { engine, operation, kind, outcome: Outcome::NotApplied, message, source: None }
    }

    /// Sets what is known about the call's rows.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Keeps the engine's own error.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The engine's name: `sqlite`, `postgres`, `redb`, …
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} failed: {}", self.engine, self.operation, self.message)?;
        if self.outcome == Outcome::Unknown {
            f.write_str(" (whether it was applied cannot be known)")?;
        }
        Ok(())
    }
}

/// One line with the sources, as `main` prints an error that it returns.
impl fmt::Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.kind)?;
        let mut source = self.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !self.message.contains(&cause) {
                write!(f, "; caused by: {cause}")?;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for BackendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
