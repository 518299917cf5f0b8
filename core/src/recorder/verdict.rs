//! What an error of the backend means for the rows that were sent.

use crate::error::{ErrorKind, Outcome, PersistenceError};

/// What to do with the rows of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The store is at fault: the same rows again under the same number, until it works.
    Again,
    /// Nobody knows whether the rows are at fault, nor whether they were stored: the same rows
    /// again under the same number a few times, so that an idempotent backend can say that they
    /// are there; then as [`RowsAtFault`](Self::RowsAtFault).
    AgainAFewTimes,
    /// So many rows from the first on are stored; the rest is to be sent on its own.
    Partly(usize),
    /// This row can never be stored.
    RowAtFault(usize),
    /// Some row can never be stored, and it is not known which.
    RowsAtFault,
    /// The backend was closed.
    Ended,
}

pub(super) fn judge(error: &PersistenceError, rows: usize) -> Verdict {
    match error {
        PersistenceError::BackendShutdown => Verdict::Ended,
        PersistenceError::InvalidRow { index, .. } if *index < rows => Verdict::RowAtFault(*index),
        PersistenceError::PartialBatch { stored: 0, source } => judge(source, rows),
        PersistenceError::PartialBatch { stored, .. } => Verdict::Partly((*stored).min(rows)),
        PersistenceError::NotConfigured(_) => Verdict::Again,
        PersistenceError::Backend(backend) => match backend.kind() {
            ErrorKind::Busy | ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Full => {
                Verdict::Again
            }
            // Not retryable as a call, but no row is to blame for a disk that went read-only or a
            // password that was changed. History is kept until somebody has seen to it.
            ErrorKind::Permission
            | ErrorKind::Io
            | ErrorKind::Corrupt
            | ErrorKind::NewerSchema
            | ErrorKind::Config => Verdict::Again,
            ErrorKind::Other if error.outcome() == Outcome::Unknown => Verdict::AgainAFewTimes,
            ErrorKind::Other => Verdict::RowsAtFault,
        },
        _ => Verdict::RowsAtFault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BackendError;

    fn engine(kind: ErrorKind, outcome: Outcome) -> PersistenceError {
        BackendError::new("test", "store", kind, "it broke").with_outcome(outcome).into()
    }

    #[test]
    fn only_rows_that_may_be_at_fault_are_looked_at_singly() {
        use ErrorKind::*;
        let known = Outcome::NotApplied;
        for kind in [Busy, Connection, Timeout, Full, Permission, Io, Corrupt, NewerSchema, Config]
        {
            assert_eq!(judge(&engine(kind, known), 5), Verdict::Again, "{kind:?}");
            assert_eq!(judge(&engine(kind, Outcome::Unknown), 5), Verdict::Again, "{kind:?}");
        }
        assert_eq!(judge(&engine(Other, known), 5), Verdict::RowsAtFault);
        assert_eq!(judge(&engine(Other, Outcome::Unknown), 5), Verdict::AgainAFewTimes);
        assert_eq!(judge(&PersistenceError::BackendShutdown, 5), Verdict::Ended);
    }

    #[test]
    fn a_batch_that_broke_off_says_how_far_it_came() {
        let partial = |stored, source| PersistenceError::PartialBatch { stored, source };
        let busy = || Box::new(engine(ErrorKind::Busy, Outcome::NotApplied));
        assert_eq!(judge(&partial(0, busy()), 5), Verdict::Again);
        assert_eq!(judge(&partial(3, busy()), 5), Verdict::Partly(3));
        assert_eq!(judge(&partial(9, busy()), 5), Verdict::Partly(5));
        let invalid = |index| PersistenceError::InvalidRow { index, source: busy() };
        assert_eq!(judge(&invalid(4), 5), Verdict::RowAtFault(4));
        assert_eq!(judge(&invalid(5), 5), Verdict::RowsAtFault);
    }
}
