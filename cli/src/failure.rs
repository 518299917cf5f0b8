//! Why the program ends early, and its exit code.

use std::io;
use std::process::{self, ExitCode};

use annals::{BackendError, ErrorKind, PersistenceError};

use crate::stderr::{print_error, print_lines};

/// The exit code after Ctrl-C, as shells count it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Why the program ends early. Each message says what to do; it is one line, except where it is
/// `Explained`.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage: exit code 2.
    Usage(String),
    /// Failure: exit code 1.
    Failed(String),
    /// Failure, in several lines: what happened, and then what it means and what to do. Exit code 1.
    Explained(String),
    /// The output cannot be written: exit code 1, or 0 and no message if its reader has closed the
    /// pipe, as in `annals query '*' | head`.
    Output(io::Error),
    /// So many rows were accepted and are not stored: exit code 3.
    #[cfg(feature = "serve")]
    RowsLeft(u64),
    /// Ctrl-C or SIGTERM: exit code 130.
    Interrupted(String),
}

impl Failure {
    /// Prints the message and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                print_error(&message);
                ExitCode::from(2)
            }
            Self::Failed(message) => {
                print_error(&message);
                ExitCode::from(1)
            }
            Self::Explained(message) => {
                print_lines(&format!("annals: {message}"));
                ExitCode::from(1)
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Output(error) => {
                print_error(&format!("the output cannot be written: {error}"));
                ExitCode::from(1)
            }
            #[cfg(feature = "serve")]
            Self::RowsLeft(rows) => {
                print_error(&format!("{rows} rows that were accepted with 202 are not stored"));
                ExitCode::from(3)
            }
            Self::Interrupted(message) => {
                print_error(&message);
                ExitCode::from(INTERRUPTED)
            }
        }
    }
}

/// Ends the process at once, after a second Ctrl-C. Dropping the last handle of a store would wait
/// for one that hangs.
pub(crate) fn stop_at_once(message: &str) -> ! {
    print_lines(&format!("annals: {message}"));
    process::exit(i32::from(INTERRUPTED));
}

/// Whether a file of ours is damaged; the kind is that of foreign files, too.
fn is_damage(error: &BackendError) -> bool {
    error.kind() == ErrorKind::Corrupt
        && ["sqlite", "redb"].contains(&error.engine())
        && error.to_string().contains("damaged")
}

impl From<PersistenceError> for Failure {
    fn from(error: PersistenceError) -> Self {
        match error {
            // Caused by the arguments.
            PersistenceError::NotConfigured(message) => Self::Usage(message),
            PersistenceError::InvalidPattern { .. }
            | PersistenceError::InvalidPredicate { .. }
            | PersistenceError::InvalidAggregate { .. }
            | PersistenceError::TooManyBuckets { .. }
            | PersistenceError::TooManySamples { .. }
            | PersistenceError::Unsupported(_) => Self::Usage(error.to_string()),
            PersistenceError::Backend(ref backend) if backend.kind() == ErrorKind::Config => {
                Self::Usage(error.to_string())
            }
            PersistenceError::Backend(ref backend) if is_damage(backend) => {
                Self::Failed(format!("{error}; `annals salvage` copies what can be read"))
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}
