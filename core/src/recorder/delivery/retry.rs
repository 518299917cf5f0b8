//! Retry classification: from an error of the backend to what happens with the rows that were sent.

use crate::error::{ErrorKind, PersistenceError};

/// What the recorder does with the rows of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// The store is at fault: the same rows are sent again until it works.
    Again,
    /// The store or a row may be at fault: a row is rejected once it is proven.
    Suspect,
    /// This many rows, counted from the first, are stored; the others are sent again.
    From(usize),
    /// This row can never be stored.
    Reject(usize),
    /// Some row can never be stored, and the error does not say which.
    RejectSome,
    /// The backend was closed.
    Stop,
}

pub(super) fn classify(error: &PersistenceError, rows: usize) -> Retry {
    match error {
        PersistenceError::BackendShutdown => Retry::Stop,
        PersistenceError::PartialBatch { stored: 0, source } => classify(source, rows),
        PersistenceError::PartialBatch { stored, .. } => Retry::From((*stored).min(rows)),
        PersistenceError::InvalidRow { index, .. } if *index < rows => Retry::Reject(*index),
        PersistenceError::Serialization { .. }
        | PersistenceError::InvalidRecordName { .. }
        | PersistenceError::ValueTooLarge { .. }
        | PersistenceError::ValueTooDeep { .. }
        | PersistenceError::TimestampOutOfRange { .. } => Retry::RejectSome,
        PersistenceError::Backend(backend) if backend.kind() != ErrorKind::Other => Retry::Again,
        PersistenceError::NotConfigured(_) => Retry::Again,
        _ => Retry::Suspect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{BackendError, Outcome};

    fn engine(kind: ErrorKind) -> PersistenceError {
        BackendError::new("test", "store", kind, "it broke").into()
    }

    /// The table in the documentation of `Recorder`.
    #[test]
    fn only_an_error_about_the_value_rejects_without_a_proof() {
        use ErrorKind::*;
        for kind in [Busy, Connection, Timeout, Full, Permission, Io, Corrupt, NewerSchema, Config]
        {
            assert_eq!(classify(&engine(kind), 5), Retry::Again, "{kind:?}");
        }
        let unknown = [
            engine(Other),
            PersistenceError::Unsupported("rows"),
            PersistenceError::InvalidBatchId { number: 0 },
            PersistenceError::InvalidRow { index: 5, source: Box::new(engine(Busy)) },
        ];
        for error in unknown {
            assert_eq!(classify(&error, 5), Retry::Suspect, "{error}");
        }
        let large = PersistenceError::ValueTooLarge { size: 9, limit: 8 };
        assert_eq!(classify(&large, 5), Retry::RejectSome);
        assert_eq!(classify(&PersistenceError::BackendShutdown, 5), Retry::Stop);
    }

    /// Whatever `is_retryable` promises is tried again.
    #[test]
    fn no_retryable_error_rejects_a_row() {
        use ErrorKind::*;
        for kind in [Busy, Connection, Timeout, Full, Other] {
            for outcome in [Outcome::NotApplied, Outcome::Unknown] {
                let error: PersistenceError = BackendError::new("test", "store", kind, "it broke")
                    .with_outcome(outcome)
                    .into();
                assert!(error.is_retryable());
                assert!(matches!(classify(&error, 1), Retry::Again | Retry::Suspect), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_partial_batch_goes_on_after_the_stored_rows() {
        let partial = |stored, source| PersistenceError::PartialBatch { stored, source };
        let busy = || Box::new(engine(ErrorKind::Busy));
        assert_eq!(classify(&partial(0, busy()), 5), Retry::Again);
        assert_eq!(classify(&partial(3, busy()), 5), Retry::From(3));
        assert_eq!(classify(&partial(9, busy()), 5), Retry::From(5));
        let invalid = PersistenceError::InvalidRow { index: 4, source: busy() };
        assert_eq!(classify(&invalid, 5), Retry::Reject(4));
    }
}
