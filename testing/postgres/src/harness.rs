//! Test binaries whose tests need a server, so that one that is skipped is reported as such.

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::{Extension, SKIP_VARIABLE, TestServer, skip_requested};

/// How a test ended that did not fail.
pub enum Done {
    /// It ran to its end.
    Passed,
    /// It cannot be run here, and why.
    Skipped(String),
}

impl From<()> for Done {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

impl From<Result<(), String>> for Done {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Skipped, Self::from)
    }
}

/// The `main` of such a binary (`harness = false`); use it through
/// [`server_tests!`](crate::server_tests).
///
/// A test that panics has failed. With `ANNALS_TEST_SKIP=postgres` every test is listed as ignored,
/// with the reason, and so is one for an extension that the server does not have.
pub fn run_tests(
    tests: impl IntoIterator<Item = (&'static str, Option<Extension>, fn() -> Done)>,
) -> ExitCode {
    let trials = tests.into_iter().map(|(name, extension, test)| {
        Trial::ignorable_test(name, move || {
            if skip_requested() {
                return Ok(Completion::ignored_with(format!("{SKIP_VARIABLE} names postgres")));
            }
            if let Some(extension) = extension
                && let Some(reason) = TestServer::lacks(extension)?
            {
                return Ok(Completion::ignored_with(reason));
            }
            Ok(match test() {
                Done::Passed => Completion::Completed,
                Done::Skipped(reason) => Completion::ignored_with(reason),
            })
        })
    });
    libtest_mimic::run(&Arguments::from_iter(env::args_os()), trials.collect()).exit_code()
}

/// Runs a test's future on a single-threaded runtime, as `#[tokio::test]` does.
///
/// # Panics
/// When the future does, or when there is no runtime to be had.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("no runtime: {error}"),
    }
}

/// Makes a test binary of functions: `server_tests! { async one, sync other, async third with Citus
/// }`. The last one runs where the server has that [`Extension`]. A function may return
/// `Result<(), String>`, of which an error is why it cannot be run here.
#[macro_export]
macro_rules! server_tests {
    ($($kind:ident $name:ident $(with $extension:ident)?),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_tests([$((
                stringify!($name),
                $crate::server_tests!(@ extension $($extension)?),
                $crate::server_tests!(@ $kind $name),
            )),+])
        }
    };
    (@ extension) => {
        None
    };
    (@ extension $extension:ident) => {
        Some($crate::Extension::$extension)
    };
    (@ sync $name:ident) => {
        (|| $crate::Done::from($name())) as fn() -> $crate::Done
    };
    (@ async $name:ident) => {
        (|| $crate::Done::from($crate::block_on($name()))) as fn() -> $crate::Done
    };
}
