//! What can go wrong, said so that a program can act on it and a person can read it.

mod backend;

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use backend::{BackendError, ErrorKind, Outcome};

/// The result of a call on a backend.
pub type Result<T, E = PersistenceError> = std::result::Result<T, E>;

/// Why a call on a backend failed.
///
/// Cloning shares the source: one failed commit may answer many callers.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PersistenceError {
    /// No backend is configured for what was asked.
    #[error("no backend is configured: {0}")]
    NotConfigured(String),
    /// The backend was closed.
    #[error("the backend is closed")]
    BackendShutdown,
    /// The storage engine failed.
    #[error(transparent)]
    Backend(#[from] Box<BackendError>),
    /// A value could not be turned into JSON, or JSON text is not valid.
    #[error("not valid JSON: {source}")]
    Serialization {
        /// What serde_json says of it.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The record name is not allowed.
    #[error("invalid record name \"{name}\": {reason}")]
    InvalidRecordName {
        /// The name, shortened and escaped for one line.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The pattern is not allowed.
    #[error("invalid pattern \"{pattern}\": {reason}")]
    InvalidPattern {
        /// The pattern, shortened and escaped for one line.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A filter on the members of values is not allowed.
    #[error("invalid filter \"{predicate}\": {reason}")]
    InvalidPredicate {
        /// The filter, or the member that is wrong, shortened and escaped for one line.
        predicate: String,
        /// Where it is wrong, and what is expected there.
        reason: String,
    },
    /// A member, width, time zone, function or another part of an aggregate cannot work.
    #[error("invalid {what} \"{given}\": {reason}")]
    InvalidAggregate {
        /// Which part it is: `member`, `width`, `time zone`, `function`, `origin` or `gap`.
        what: &'static str,
        /// The part as it was given, shortened and escaped for one line.
        given: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A rule of a filter cannot work.
    #[error("invalid filter \"{given}\": {reason}")]
    InvalidFilter {
        /// The part as it was given, shortened and escaped for one line.
        given: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// The cursor of a follower is of no use here.
    #[error("invalid cursor \"{cursor}\": {reason}; follow from a time instead")]
    InvalidCursor {
        /// The cursor, shortened and escaped for one line.
        cursor: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The cursor of a follower was taken in another history. Its place may have other rows behind it
    /// here, so that going on there could pass over some.
    #[error(
        "the cursor \"{cursor}\" is of another history: this one was restored from a backup or created \
         anew since; follow from a time instead, that of the last row that was received"
    )]
    AnotherHistory {
        /// The cursor, shortened and escaped for one line.
        cursor: String,
    },
    /// An aggregate has more buckets for one record than an answer may have.
    #[error(
        "more than {limit} buckets for one record: choose a greater width or a smaller window (where \
         values hold or buckets are filled, a window without an end goes on until now)"
    )]
    TooManyBuckets {
        /// How many there may be.
        limit: u64,
    },
    /// The percentiles of an aggregate would hold more samples in memory than is allowed.
    #[error(
        "percentiles of more than {limit} samples at once: choose smaller buckets or a smaller \
         window, or raise the limit (8 bytes of memory a sample)"
    )]
    TooManySamples {
        /// How many may be held.
        limit: usize,
    },
    /// The value's JSON text is larger than the backend is configured to take.
    #[error("the value is too large: {size} bytes of JSON where {limit} are allowed")]
    ValueTooLarge {
        /// The size of the JSON text in bytes, or where counting stopped.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is nested deeper than JSON parsers read back.
    #[error("the value is nested too deeply: more than {limit} levels")]
    ValueTooDeep {
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// The timestamp is above `i64::MAX` milliseconds.
    #[error("timestamp {timestamp} is out of range: the last one is {}", i64::MAX)]
    TimestampOutOfRange {
        /// The refused timestamp, in Unix milliseconds.
        timestamp: u64,
    },
    /// One row of a batch is invalid; nothing of the batch was stored.
    #[error("row {index} of the batch is invalid: {source}")]
    InvalidRow {
        /// Which row, counted from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Box<PersistenceError>,
    },
    /// The batch's id has a number that is not 1 to `i64::MAX`; nothing was stored.
    #[error("invalid batch number {number}: a writer numbers its batches from 1 to {}", i64::MAX)]
    InvalidBatchId {
        /// The refused number.
        number: u64,
    },
    /// A batch broke off half-way on a backend that cannot store a batch as a whole
    /// (`guarantees().atomic_batches` is false).
    #[error("the batch broke off after {stored} rows: {source}")]
    PartialBatch {
        /// How many rows, from the first on, were stored.
        stored: usize,
        /// What happened to the next one.
        #[source]
        source: Box<PersistenceError>,
    },
    /// A cleanup broke off half-way.
    #[error("{removed} rows were removed, and then: {source}")]
    PartialCleanup {
        /// Exactly how many rows were removed. If the [outcome](Self::outcome) of `source` is
        /// [`Unknown`](Outcome::Unknown), those of its last step may be gone as well.
        removed: u64,
        /// What happened then.
        #[source]
        source: Box<PersistenceError>,
    },
    /// The backend has no means to do what was asked; nothing was changed.
    #[error("this backend does not support {0}")]
    Unsupported(&'static str),
}

/// One line, as `main` prints an error that it returns.
impl fmt::Debug for PersistenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            error => fmt::Display::fmt(error, f),
        }
    }
}

impl From<BackendError> for PersistenceError {
    fn from(error: BackendError) -> Self {
        Self::Backend(Box::new(error))
    }
}

impl From<serde_json::Error> for PersistenceError {
    fn from(source: serde_json::Error) -> Self {
        Self::Serialization { source: Arc::new(source) }
    }
}

/// Serializes an error as its message.
pub(crate) fn as_text<S: Serializer>(
    error: &Option<PersistenceError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    error.as_ref().map(PersistenceError::to_string).serialize(serializer)
}

impl PersistenceError {
    pub(crate) fn invalid_aggregate(
        what: &'static str,
        given: impl AsRef<str>,
        reason: impl Into<String>,
    ) -> Self {
        Self::InvalidAggregate { what, given: excerpt(given.as_ref()), reason: reason.into() }
    }

    pub(crate) fn invalid_filter(given: &str, reason: impl Into<String>) -> Self {
        Self::InvalidFilter { given: excerpt(given), reason: reason.into() }
    }

    pub(crate) fn invalid_predicate(given: impl AsRef<str>, reason: impl Into<String>) -> Self {
        Self::InvalidPredicate { predicate: excerpt(given.as_ref()), reason: reason.into() }
    }

    /// The error of a cleanup that had removed so many rows when it failed: itself, if there were
    /// none.
    #[must_use]
    pub fn after_removing(self, removed: u64) -> Self {
        match removed {
            0 => self,
            removed => Self::PartialCleanup { removed, source: Box::new(self) },
        }
    }

    /// Whether the same call may succeed later without anybody's help.
    ///
    /// True for a store that is busy, unreachable, slow or full, and for
    /// [`Other`](ErrorKind::Other), of which nothing is known. False for an invalid value or name,
    /// and for what an operator has to repair: permissions, the medium, the configuration. A
    /// [`Recorder`](crate::Recorder) keeps its rows in that case too; its documentation has the
    /// table.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Backend(error) => matches!(
                error.kind(),
                ErrorKind::Busy
                    | ErrorKind::Connection
                    | ErrorKind::Timeout
                    | ErrorKind::Full
                    | ErrorKind::Other
            ),
            Self::PartialBatch { source, .. } | Self::PartialCleanup { source, .. } => {
                source.is_retryable()
            }
            _ => false,
        }
    }

    /// Whether one row of a batch may have caused the error, so that the other rows may be stored
    /// without it: an invalid value or name, or an error of unknown [kind](ErrorKind::Other) that
    /// certainly stored nothing.
    pub fn may_blame_a_row(&self) -> bool {
        match self {
            Self::Backend(error) => {
                error.kind() == ErrorKind::Other && error.outcome == Outcome::NotApplied
            }
            error => error.is_invalid_input(),
        }
    }

    /// What is known about the rows of the call that failed.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Backend(error) => error.outcome,
            Self::PartialBatch { .. } | Self::PartialCleanup { .. } => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// Whether it is the value or its name that is refused, so that no retry and no other backend
    /// state will ever make it fit.
    pub fn is_invalid_input(&self) -> bool {
        match self {
            Self::Serialization { .. }
            | Self::InvalidRecordName { .. }
            | Self::InvalidPattern { .. }
            | Self::InvalidPredicate { .. }
            | Self::InvalidAggregate { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidCursor { .. }
            | Self::AnotherHistory { .. }
            | Self::TooManyBuckets { .. }
            | Self::TooManySamples { .. }
            | Self::ValueTooLarge { .. }
            | Self::ValueTooDeep { .. }
            | Self::TimestampOutOfRange { .. }
            | Self::InvalidBatchId { .. }
            | Self::InvalidRow { .. } => true,
            Self::PartialBatch { source, .. } => source.is_invalid_input(),
            _ => false,
        }
    }
}

/// At most 64 characters of `text`, with control characters escaped, fit for one line of a log.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 64;
    let mut shown: String = text.chars().take(CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn engine_error(kind: ErrorKind) -> PersistenceError {
        BackendError::new("test", "store", kind, "it broke").into()
    }

    #[test]
    fn what_passes_by_itself_is_retryable() {
        use ErrorKind::*;
        for kind in [Busy, Connection, Timeout, Full, Other] {
            assert!(engine_error(kind).is_retryable(), "{kind:?}");
        }
        for kind in [ErrorKind::Permission, ErrorKind::Io, ErrorKind::Corrupt, ErrorKind::Config] {
            assert!(!engine_error(kind).is_retryable(), "{kind:?}");
        }
        assert!(!PersistenceError::BackendShutdown.is_retryable());
    }

    #[test]
    fn a_cleanup_that_removed_nothing_fails_as_it_is() {
        let error = || engine_error(ErrorKind::Busy);
        assert!(matches!(error().after_removing(0), PersistenceError::Backend(_)));
        let error = error().after_removing(7);
        assert!(matches!(error, PersistenceError::PartialCleanup { removed: 7, .. }));
        assert!(error.is_retryable() && !error.is_invalid_input());
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert!(error.to_string().starts_with("7 rows were removed, and then: "), "{error}");
        assert!(error.source().is_some());
    }

    #[test]
    fn the_source_chain_is_real_and_the_display_one_line() {
        let inner = std::io::Error::other("cable pulled");
        let error: PersistenceError = BackendError::new("test", "store", ErrorKind::Io, "no disk")
            .with_outcome(Outcome::Unknown)
            .with_source(inner)
            .into();
        let error = PersistenceError::PartialBatch { stored: 3, source: Box::new(error) };
        let backend = error.source().unwrap();
        assert_eq!(backend.source().unwrap().to_string(), "cable pulled");
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert!(!error.to_string().contains('\n'));
    }
}
