//! What a caught panic of a backend says.

use std::any::Any;

use crate::error::{BackendError, ErrorKind, Outcome, PersistenceError};

/// The error of an `operation` in which the backend panicked, with the message of `panic!("…")`.
pub(crate) fn backend_panicked(
    caller: &'static str,
    operation: &'static str,
    panic: &(dyn Any + Send),
) -> PersistenceError {
    let said = panic.downcast_ref::<&'static str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("the backend panicked: {}", said.unwrap_or("without a message"));
    BackendError::new(caller, operation, ErrorKind::Other, message)
        .with_outcome(Outcome::Unknown)
        .into()
}
