//! The words in which cases state what they expect.

use std::fmt::{self, Debug};
use std::panic::Location;

use annals_core::{PersistenceError, StoredValue, Value};

use crate::harness::BoxError;

/// How a case ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Failure),
    Skipped(String),
}

/// What a case ends with.
pub(crate) type Verdict<T = ()> = Result<T, Stop>;

/// What was expected, and what came instead.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    expected: String,
    got: String,
    at: &'static Location<'static>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  what:     {}", self.what)?;
        writeln!(f, "  expected: {}", self.expected)?;
        writeln!(f, "  got:      {}", self.got)?;
        write!(f, "  at:       {}:{}", self.at.file(), self.at.line())
    }
}

/// A failure in words.
#[track_caller]
pub(crate) fn failure(
    what: impl Into<String>,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Stop {
    let (what, expected, got) = (what.into(), shorten(expected.into()), shorten(got.into()));
    Stop::Failed(Failure { what, expected, got, at: Location::caller() })
}

/// The reason why a case cannot be run.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Verdict<T> {
    Err(Stop::Skipped(reason.into()))
}

impl From<PersistenceError> for Stop {
    #[track_caller]
    fn from(error: PersistenceError) -> Self {
        failure("a call on the backend", "success", format!("the error «{error}»"))
    }
}

impl From<BoxError> for Stop {
    #[track_caller]
    fn from(error: BoxError) -> Self {
        failure("a call on the harness", "success", format!("the error «{error}»"))
    }
}

/// Says what was being done when a call failed.
pub(crate) trait During<T> {
    fn during(self, what: impl Into<String>) -> Verdict<T>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    #[track_caller]
    fn during(self, what: impl Into<String>) -> Verdict<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(failure(what, "success", format!("the error «{error}»"))),
        }
    }
}

/// `got` must equal `expected`.
#[track_caller]
pub(crate) fn equal<T: PartialEq<U> + Debug, U: Debug>(
    what: impl Into<String>,
    got: &T,
    expected: &U,
) -> Verdict {
    if got == expected {
        return Ok(());
    }
    Err(failure(what, format!("{expected:?}"), format!("{got:?}")))
}

/// `holds` must be true; otherwise `got` says what was the case.
#[track_caller]
pub(crate) fn ensure(
    holds: bool,
    what: impl Into<String>,
    expected: impl Into<String>,
    got: impl Debug,
) -> Verdict {
    if holds {
        return Ok(());
    }
    Err(failure(what, expected, format!("{got:?}")))
}

/// The call must fail with an error of the kind that `expected` names.
#[track_caller]
pub(crate) fn refused<T: Debug>(
    what: impl Into<String>,
    result: Result<T, PersistenceError>,
    expected: &str,
    is_expected: impl FnOnce(&PersistenceError) -> bool,
) -> Verdict<PersistenceError> {
    match result {
        Err(error) if is_expected(&error) => Ok(error),
        Err(error) => Err(failure(what, expected, format!("{error:?}"))),
        Ok(value) => Err(failure(what, expected, format!("Ok({value:?})"))),
    }
}

/// A row in the shortest form: record, `stored_at`, value.
pub(crate) type Plain = (String, u64, Value);

/// Rows in their shortest form.
pub(crate) fn plain(rows: Vec<StoredValue>) -> Vec<Plain> {
    rows.into_iter().map(|row| (row.record_name, row.stored_at, row.value)).collect()
}

/// Long texts are cut in the middle: a failure is to be read by a person.
fn shorten(text: String) -> String {
    const LIMIT: usize = 1_600;
    if text.chars().count() <= LIMIT {
        return text;
    }
    let head: String = text.chars().take(LIMIT / 2).collect();
    let tail_at = text.chars().count() - LIMIT / 2;
    let tail: String = text.chars().skip(tail_at).collect();
    format!("{head} […] {tail}")
}
