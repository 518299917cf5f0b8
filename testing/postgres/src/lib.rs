//! A PostgreSQL server for tests, found or started in this order:
//!
//! 1. the server that `ANNALS_TEST_POSTGRES_URL` names (its role must be allowed to create
//!    databases and roles);
//! 2. a throw-away server started from local binaries (`PATH`, `/usr/lib/postgresql/*/bin`, …);
//! 3. a container through testcontainers, with the cargo feature `container`; the image is
//!    `ANNALS_TEST_POSTGRES_IMAGE` or `postgres:17-alpine`.
//!
//! When none of the three is there, [`TestServer::get`] says so in one message that names them
//! all. `ANNALS_TEST_SKIP=postgres` makes it a skip: [`skip_requested`].
//!
//! What was started is stopped and its data removed when the process ends, however it ends: a
//! small watching process waits for the end of a pipe that only this process holds open.
//!
//! ```no_run
//! use annals_test_postgres::{Locale, TestServer};
//!
//! let url = TestServer::get()?.database(Locale::C)?;
//! println!("a database with names in byte order: {url}");
//! # Ok::<(), String>(())
//! ```

#[cfg(feature = "container")]
mod container;
mod database;
mod extension;
mod harness;
mod local;
mod machine;
mod pooler;
mod proxy;
mod traffic;
mod watch;

use std::collections::HashMap;
use std::env;
use std::sync::{Mutex, OnceLock, PoisonError};

pub use extension::Extension;
pub use harness::{Done, block_on, run_tests};
pub use local::LocalServer;
pub use pooler::Pooler;
pub use proxy::{Fault, Proxy};
pub use traffic::Traffic;

/// Names a server to use instead of starting one.
pub const URL_VARIABLE: &str = "ANNALS_TEST_POSTGRES_URL";
/// `postgres` in it (a comma-separated list) turns the cases that need a server into skips.
pub const SKIP_VARIABLE: &str = "ANNALS_TEST_SKIP";
/// `off` starts the throw-away server without syncs, for machines with a slow disk.
///
/// The default is on: it is what users run, so that the backend's claims are tested as they are
/// made. Off, a test that kills a client or the server still tells the truth (the pages are with
/// the kernel); only a loss of power would show the difference.
pub const FSYNC_VARIABLE: &str = "ANNALS_TEST_POSTGRES_FSYNC";
/// The image of the container.
pub const IMAGE_VARIABLE: &str = "ANNALS_TEST_POSTGRES_IMAGE";

/// How a database sorts text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locale {
    /// By bytes.
    C,
    /// By the rules of American English (ICU): case and punctuation hardly count. A backend that
    /// leans on the database's order shows itself here. Needs PostgreSQL 15 with ICU.
    Icu,
}

/// Whether `ANNALS_TEST_SKIP` asks for the cases that need a server to be skipped.
pub fn skip_requested() -> bool {
    let skipped = env::var(SKIP_VARIABLE).unwrap_or_default();
    skipped.split(',').any(|name| name.trim() == "postgres")
}

/// The server that all tests of one process share.
#[derive(Debug)]
pub struct TestServer {
    url: String,
    databases: Mutex<HashMap<Locale, String>>,
    /// Keeps what was started alive as long as the process.
    _started: Option<Started>,
}

#[derive(Debug)]
enum Started {
    Local(#[expect(dead_code, reason = "held, not read")] LocalServer),
    #[cfg(feature = "container")]
    Container(#[expect(dead_code, reason = "held, not read")] Box<container::ContainerServer>),
}

impl TestServer {
    /// The server of this process; the first call finds or starts it (a second or two) and blocks
    /// meanwhile. It may be called within an async runtime.
    ///
    /// # Errors
    /// What was tried and why each failed, or that a skip was asked for.
    pub fn get() -> Result<&'static Self, String> {
        static SERVER: OnceLock<Result<TestServer, String>> = OnceLock::new();
        SERVER.get_or_init(Self::find).as_ref().map_err(Clone::clone)
    }

    fn find() -> Result<Self, String> {
        if skip_requested() {
            return Err(format!("skipped: {SKIP_VARIABLE} names postgres"));
        }
        if let Some(url) = named_server() {
            return Ok(Self { url, databases: Mutex::default(), _started: None });
        }
        let local = match LocalServer::start() {
            Ok(server) => {
                let url = server.url().to_owned();
                let started = Some(Started::Local(server));
                return Ok(Self { url, databases: Mutex::default(), _started: started });
            }
            Err(reason) => reason,
        };
        let container = match start_container() {
            Ok((url, started)) => {
                return Ok(Self { url, databases: Mutex::default(), _started: Some(started) });
            }
            Err(reason) => reason,
        };
        Err(format!(
            "no PostgreSQL server to test with. One of these is needed: (1) {URL_VARIABLE} set to \
             the URL of a server whose role may create databases and roles; (2) PostgreSQL 14 or newer \
             installed here, to start a throw-away server ({local}); (3) Docker, to start a \
             container ({container}). {SKIP_VARIABLE}=postgres skips these tests."
        ))
    }

    /// The URL of the server's own database, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a shared database that sorts by `locale`. It is created once, however many
    /// threads and processes ask; a test keeps to a schema of its own within it.
    ///
    /// # Errors
    /// What the server reports.
    pub fn database(&self, locale: Locale) -> Result<String, String> {
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = databases.get(&locale) {
            return Ok(url.clone());
        }
        let url = database::ensure(&self.url, locale)?;
        databases.insert(locale, url.clone());
        Ok(url)
    }
}

/// The server that the environment names.
fn named_server() -> Option<String> {
    env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())
}

#[cfg(feature = "container")]
fn start_container() -> Result<(String, Started), String> {
    let server = container::ContainerServer::start()?;
    Ok((server.url().to_owned(), Started::Container(Box::new(server))))
}

#[cfg(not(feature = "container"))]
fn start_container() -> Result<(String, Started), String> {
    Err("not tried: build with `--features annals-test-postgres/container`".to_owned())
}
