//! Why the program ends early, and with which exit code.

use std::io;
use std::process::{self, ExitCode};

use annals::{ErrorKind, PersistenceError};

use crate::say::complain;

/// The exit code of a program that Ctrl-C ended, as shells count it (128 + SIGINT).
const INTERRUPTED: u8 = 130;

/// Why the program ends early. Every text is one plain sentence with what to do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments cannot work: exit 2.
    Usage(String),
    /// It did not work: exit 1.
    Failed(String),
    /// The output could not be written: exit 1, or quietly 0 when its reader has gone, as
    /// `annals query '*' | head` means it.
    Output(io::Error),
    /// Ctrl-C, or the signal of a service manager.
    Interrupted(String),
}

impl Failure {
    /// Says it and turns it into the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                complain(&message);
                ExitCode::from(2)
            }
            Self::Failed(message) => {
                complain(&message);
                ExitCode::from(1)
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Output(error) => {
                complain(&format!("the output cannot be written: {error}"));
                ExitCode::from(1)
            }
            Self::Interrupted(message) => {
                complain(&message);
                ExitCode::from(INTERRUPTED)
            }
        }
    }
}

/// Ends the process without waiting for anything, at a second Ctrl-C: a store that hangs would
/// otherwise be waited for when its last handle is dropped.
pub(crate) fn stop_at_once(message: &str) -> ! {
    complain(message);
    process::exit(i32::from(INTERRUPTED));
}

impl From<PersistenceError> for Failure {
    fn from(error: PersistenceError) -> Self {
        match error {
            // These come from what was typed.
            PersistenceError::NotConfigured(message) => Self::Usage(message),
            PersistenceError::InvalidPattern { .. } => Self::Usage(error.to_string()),
            PersistenceError::Backend(ref backend) if backend.kind() == ErrorKind::Config => {
                Self::Usage(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}
