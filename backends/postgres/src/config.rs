//! How to reach the server, and the limits.

use std::fmt;
use std::time::Duration;

use annals_core::{DEFAULT_MAX_VALUE_BYTES, Durability, PersistenceError};

use crate::connect::Server;
use crate::error;

mod storage;
mod tls;
mod url;

pub use storage::Timescale;
pub(crate) use storage::{Storage, shown_interval};

/// PostgreSQL cuts longer identifiers off, so that two schemas would become one.
const MAX_SCHEMA_BYTES: usize = 63;

/// More connections than any server has.
const MAX_CONNECTIONS: usize = 1000;

/// PostgreSQL's limit of one value.
const FIELD_BYTES: usize = 1 << 30;

/// How to reach the server, where the tables live there, and every limit.
///
/// Made from a URL, then adjusted with the setters:
///
/// ```
/// use std::time::Duration;
/// use annals_postgres::PostgresConfig;
///
/// let config = PostgresConfig::from_url("postgres://ada:secret@db.example/plant?schema=line_1")?
///     .with_pool_size(4)
///     .with_wait_timeout(Duration::from_secs(5));
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
///
/// # Options of the URL
///
/// | option | default | |
/// |---|---|---|
/// | `schema` | `annals` | the schema all tables live in |
/// | `create` | `true` | `false`: a schema without a history is an error, and stays without one |
/// | `max_value_bytes` | 16 MiB | the largest value, in bytes of JSON text |
/// | `pool_size` | 8 | connections for reading, at least 2 |
/// | `writers` | 1 | connections for writing, beside those for reading |
/// | `durability` | `power-loss` | `process`: see [`with_durability`](Self::with_durability) |
/// | `wait_timeout` | 30 s | the longest wait for a free connection or a place in the queue |
/// | `connect_timeout` | 10 s | the longest time to connect and log in, for each host's every address |
/// | `statement_timeout` | 60 s | the longest time for one step of work on the server |
/// | `close_timeout` | 2 min | the longest time that closing takes, whatever is in the queue |
/// | `timescale` | `auto` | `require`, `off`: see [`with_timescale`](Self::with_timescale) |
/// | `chunk_interval` | 1 d | what one chunk of a hypertable holds |
/// | `compress_after` | 7 d | how old a chunk is when TimescaleDB compresses it; or `off` |
/// | `partition_interval` | none | see [`with_partition_interval`](Self::with_partition_interval) |
/// | `distribute` | `off` | `require`: see [`with_distribution`](Self::with_distribution) |
/// | `read_url` | | another server to read from, see below |
///
/// Times are written as `500ms`, `30s` or `2min`. A plain number means what it means to
/// PostgreSQL: seconds for `connect_timeout`, milliseconds for the others. Intervals need a unit
/// and may have `h` and `d` as well.
///
/// Several hosts may be given with commas between them; they are tried in order. The options below
/// have the meanings that libpq documents, and so have `host`, `hostaddr`, `port`, `user`,
/// `password`, `dbname`, `application_name`, `options`, `load_balance_hosts`, `channel_binding`,
/// `sslnegotiation`, `keepalives…` and `tcp_user_timeout`; anything else is refused.
///
/// | option | default | |
/// |---|---|---|
/// | `target_session_attrs` | `any` | `read-write`, `read-only`, `primary`, `standby`, `prefer-standby`: which of the hosts will do |
/// | `sslmode` | `prefer` | `disable`, `prefer`, `require`, `verify-ca`, `verify-full`; `allow` is `prefer` |
/// | `sslrootcert` | | a file of certificates in PEM, or `system`, which is what `verify-full` takes by itself; without `sslmode` it means `verify-full` |
/// | `sslcert`, `sslkey` | | our own certificate and its key, files in PEM; the key is not encrypted and nobody else can read it |
/// | `password_file` | | a file that has the password and nothing else |
/// | `passfile` | `~/.pgpass` | libpq's password file, which nobody else can read |
///
/// `verify-full` alone makes sure who the server is, and `verify-ca` who signed for it; the others
/// keep out at most those who only listen. Certificates have the host in their `subjectAltName`; the
/// common name does not count.
///
/// A password that is not in the URL is looked for in `password_file`, the variable `PGPASSWORD`,
/// and `passfile` or the variable `PGPASSFILE`. All files are read again for every connection:
/// passwords and certificates can be replaced under a running program.
///
/// # Reading from replicas
///
/// `read_url` is a second URL (percent-encoded, with the options of the second table only), whose
/// server answers `query`, `query_stream` and `records`. Everything else, cleanup among it, goes to
/// the first. A replica shows what it has replayed: rows that were acknowledged a moment ago may not
/// be there yet, and two queries may meet replicas that are not equally far. Each query still sees
/// one snapshot.
///
/// When no replica answers, reads fail: the primary was not meant to carry them. Where it is, name
/// it last: `…replica1,replica2,primary/plant?target_session_attrs=prefer-standby`.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) server: Server,
    pub(crate) read_server: Option<Server>,
    pub(crate) schema: String,
    pub(crate) create: bool,
    pub(crate) max_value_bytes: usize,
    pub(crate) pool_size: usize,
    pub(crate) writers: usize,
    pub(crate) durability: Durability,
    pub(crate) wait_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) storage: Storage,
}

impl PostgresConfig {
    /// Reads `postgres://user:password@host:port/database?option=value`. Special characters in
    /// each part are percent-encoded (`@` as `%40`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](annals_core::ErrorKind::Config) says what is wrong, without ever
    /// quoting the URL: it has a password in it.
    pub fn from_url(url: &str) -> Result<Self, PersistenceError> {
        let config = url::parse(url)?;
        config.check()?;
        Ok(config)
    }

    /// Starts from a configuration of the driver's own, with the defaults for all else.
    pub fn from_server(server: tokio_postgres::Config) -> Self {
        Self::with_server(Server::from(server))
    }

    fn with_server(server: Server) -> Self {
        let connect_timeout = server.driver.get_connect_timeout().copied();
        Self {
            server,
            read_server: None,
            schema: "annals".to_owned(),
            create: true,
            max_value_bytes: DEFAULT_MAX_VALUE_BYTES,
            pool_size: 8,
            writers: 1,
            durability: Durability::PowerLoss,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(10)),
            statement_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(120),
            storage: Storage::default(),
        }
    }

    /// Sets the server that queries go to, by a URL that says only how to reach it: see
    /// [above](Self#reading-from-replicas).
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn with_read_url(mut self, url: &str) -> Result<Self, PersistenceError> {
        self.read_server = Some(url::read_server(url)?);
        Ok(self)
    }

    /// Sets the schema that all tables live in. Any name of 1 to
    /// 63 bytes without NUL that does not begin with `pg_` will do.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets whether schema and tables are created if they are missing, as they are by default. Who
    /// does not want to begin a history by a slip of the pen says no, and gets an
    /// [`ErrorKind::Config`](annals_core::ErrorKind::Config). Tables of an older version are upgraded
    /// either way.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets the largest value taken, in bytes of JSON text.
    #[must_use]
    pub fn with_max_value_bytes(mut self, max_value_bytes: usize) -> Self {
        self.max_value_bytes = max_value_bytes;
        self
    }

    /// Sets how many connections there may be for reading, at least 2. Streams may hold all of
    /// them but one: queries, listings and sweeps go on beside streams that nobody reads.
    #[must_use]
    pub fn with_pool_size(mut self, pool_size: usize) -> Self {
        self.pool_size = pool_size;
        self
    }

    /// Sets how many connections there are for writing, at least 1.
    ///
    /// With one, rows are stored in the order in which they were handed over. With more, that
    /// holds only for callers that wait for one store before they begin the next.
    #[must_use]
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = writers;
        self
    }

    /// Sets what an acknowledged row has to survive.
    ///
    /// [`Durability::PowerLoss`], the default, commits as the server is configured to, which is to
    /// sync first unless somebody changed it (`guarantees()` says what was found).
    /// [`Durability::Process`] (and below) commits without waiting for the sync
    /// (`synchronous_commit = off`): several times faster for single rows, and the rows of the
    /// last fraction of a second are lost when the **server** crashes or loses power.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the longest wait for a free connection or for a place in the write queue.
    #[must_use]
    pub fn with_wait_timeout(mut self, limit: Duration) -> Self {
        self.wait_timeout = limit;
        self
    }

    /// Sets the longest time to connect and log in, for each of several hosts.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the longest time for one step of work on the server: one transaction of writes, one
    /// page of a query, one step of a sweep.
    #[must_use]
    pub fn with_statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = limit;
        self
    }

    /// Sets the longest time that [`close`](annals_core::PersistenceBackend::close), or dropping the
    /// last handle, takes to store what was accepted. What is not stored by then is answered with
    /// an error, and `close` says how much that was. Up to a second more goes to the end of
    /// look-ups of host names.
    #[must_use]
    pub fn with_close_timeout(mut self, limit: Duration) -> Self {
        self.close_timeout = limit;
        self
    }

    /// Sets whether a schema that is created uses TimescaleDB: the history is a hypertable then,
    /// whose chunks are compressed when they are old and dropped when all of their rows are
    /// expired. Compression needs TimescaleDB's community licence.
    ///
    /// A history that is there already is used as it is; `annals migrate` converts it.
    #[must_use]
    pub fn with_timescale(mut self, timescale: Timescale) -> Self {
        self.storage.timescale = timescale;
        self
    }

    /// Sets what one chunk of a hypertable holds, when the schema is created. Whole milliseconds.
    #[must_use]
    pub fn with_chunk_interval(mut self, interval: Duration) -> Self {
        self.storage.chunk_interval = Some(storage::millis(interval));
        self
    }

    /// Sets how old the rows of a chunk are when it is compressed, when the schema is created;
    /// `None` for never. Whole milliseconds.
    #[must_use]
    pub fn with_compress_after(mut self, age: Option<Duration>) -> Self {
        self.storage.compress_after = Some(age.map(storage::millis));
        self
    }

    /// Makes the history of a schema that is created a partitioned table, with one partition for
    /// each interval of time: retention then drops partitions instead of deleting rows. Whole
    /// milliseconds; an interval that retention holds 10 to 400 of is a good one.
    ///
    /// Connecting fails if the history is there and is not partitioned so.
    #[must_use]
    pub fn with_partition_interval(mut self, interval: Duration) -> Self {
        self.storage.partition_interval = Some(storage::millis(interval));
        self
    }

    /// Sets whether the history is distributed over the nodes of a Citus cluster by record.
    ///
    /// Connect to the coordinator. Connecting fails if the extension is missing, or if the history
    /// is there and is not distributed; and without this, if it is.
    #[must_use]
    pub fn with_distribution(mut self, distribute: bool) -> Self {
        self.storage.distribute = distribute;
        self
    }

    /// The schema that all tables live in.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), PersistenceError> {
        let schema = &self.schema;
        if schema.is_empty() || schema.len() > MAX_SCHEMA_BYTES || schema.contains('\0') {
            return Err(error::config("a schema's name has 1 to 63 bytes and no NUL"));
        }
        if schema.starts_with("pg_") {
            return Err(error::config("PostgreSQL keeps schemas that begin with `pg_` for itself"));
        }
        for (option, size) in [("pool_size", self.pool_size), ("writers", self.writers)] {
            if size > MAX_CONNECTIONS {
                let message = format!("`{option}` is at most {MAX_CONNECTIONS}");
                return Err(error::config(message));
            }
        }
        for (option, limit) in [
            ("wait_timeout", self.wait_timeout),
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("close_timeout", self.close_timeout),
        ] {
            // PostgreSQL takes at most i32::MAX milliseconds, and 0 for no limit at all.
            if !(1..=i32::MAX as u128).contains(&limit.as_millis()) {
                let message = format!("`{option}` is 1 ms to {} ms", i32::MAX);
                return Err(error::config(message));
            }
        }
        if self.max_value_bytes >= FIELD_BYTES {
            return Err(error::config("`max_value_bytes` is less than 1 GiB, PostgreSQL's limit"));
        }
        if self.pool_size < 2 {
            return Err(error::config("`pool_size` is at least 2: streams hold all but one"));
        }
        if self.writers == 0 {
            return Err(error::config("`writers` is at least 1"));
        }
        self.storage.check()?;
        std::iter::once(&self.server).chain(&self.read_server).try_for_each(Server::check)
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("server", &self.server)
            .field("read_server", &self.read_server)
            .field("schema", &self.schema)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("pool_size", &self.pool_size)
            .field("writers", &self.writers)
            .field("durability", &self.durability)
            .field("wait_timeout", &self.wait_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("close_timeout", &self.close_timeout)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They once reached the pool's allocation and `Duration`'s addition, which panic.
    #[test]
    fn what_is_beyond_reason_is_an_error_that_names_the_option() {
        let sound = || PostgresConfig::from_url("postgres://u@h/db").unwrap();
        for (config, option) in [
            (sound().with_pool_size(usize::MAX), "pool_size"),
            (sound().with_pool_size(1001), "pool_size"),
            (sound().with_writers(1001), "writers"),
            (sound().with_wait_timeout(Duration::MAX), "wait_timeout"),
            (sound().with_connect_timeout(Duration::ZERO), "connect_timeout"),
            (sound().with_statement_timeout(Duration::from_micros(999)), "statement_timeout"),
            (sound().with_statement_timeout(Duration::MAX), "statement_timeout"),
            (sound().with_close_timeout(Duration::ZERO), "close_timeout"),
            (sound().with_max_value_bytes(1 << 30), "max_value_bytes"),
        ] {
            let error = config.check().unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
            drop(crate::PostgresBackend::new(config));
        }
        sound().with_pool_size(1000).with_writers(1000).check().unwrap();
    }
}
