//! A case of the suite, and what came of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::check::Verdict;
use crate::context::Context;
use crate::contract::{Clause, clause_id};

/// What a case does, as a function of its surroundings.
pub(crate) type Body = fn(Arc<Context>) -> Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// One test of one clause.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: Body,
}

impl Case {
    /// The name, which begins with the clause's id: `range_2_bounds_are_inclusive`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The id of the clause it tests, as its name has it.
    pub fn clause_id(&self) -> String {
        clause_id(self.name).unwrap_or_else(|| self.name.to_owned())
    }

    /// The clause it tests.
    pub fn clause(&self) -> Option<&'static Clause> {
        Clause::find(&self.clause_id())
    }
}

/// Lists the cases of one file. A case that is forgotten here is dead code, which the compiler
/// warns of.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: stringify!($name),
            body: |cx| Box::pin(async move { $name(&cx).await }),
        }),*];
    };
}
pub(crate) use cases;

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend does what the clause says.
    Passed,
    /// It does not. The message has the clause, the backend, what was expected and what came.
    Failed(String),
    /// The case could not be run, for this reason.
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("ok"),
            Self::Failed(message) => write!(f, "FAILED\n{message}"),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}

/// A case that was run.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The case's name.
    pub name: &'static str,
    /// The id of the clause it tests.
    pub clause_id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: Duration,
}
