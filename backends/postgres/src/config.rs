//! The configuration: how to reach the server, where the tables are, and every limit.

use std::time::Duration;

use annals_core::{DEFAULT_MAX_VALUE_BYTES, Durability, Result};

use crate::error;

mod server;
mod storage;
mod tls;
mod tls_options;
mod url;

pub(crate) use server::{Passwords, Role, Server, Target};
pub use storage::Timescale;
pub(crate) use storage::{Storage, shown_interval};
pub use tls_options::SslMode;
pub(crate) use tls_options::{Roots, Tls, TlsOptions};

/// PostgreSQL truncates longer identifiers, which could make two schemas one.
const MAX_SCHEMA_BYTES: usize = 63;

/// More connections than any server allows.
const MAX_CONNECTIONS: usize = 1000;

/// PostgreSQL's limit for one value.
const FIELD_BYTES: usize = 1 << 30;

/// How to reach the server, where the tables are, and every limit.
///
/// A configuration is created from a URL and adjusted with the setters:
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
/// | `schema` | `annals` | the schema that contains all tables |
/// | `create` | `true` | `false`: a schema without a history is an error, and remains without one |
/// | `max_value_bytes` | 16 MiB | the largest value, in bytes of JSON text |
/// | `pool_size` | 8 | connections for reading, at least 2 |
/// | `writers` | 1 | connections for writing, in addition to those for reading |
/// | `durability` | `power-loss` | `process`: see [`with_durability`](Self::with_durability) |
/// | `listen` | `true` | `false`: see [`with_listen`](Self::with_listen) |
/// | `wait_timeout` | 30 s | the longest wait for a free connection or for space in the write queue |
/// | `connect_timeout` | 10 s | the longest time to connect and log in, for each address of each host |
/// | `statement_timeout` | 60 s | the longest time for one step on the server |
/// | `close_timeout` | 2 min | the longest time that closing takes |
/// | `timescale` | `auto` | `require`, `off`: see [`with_timescale`](Self::with_timescale) |
/// | `chunk_interval` | 1 d | the time that one chunk of a hypertable covers |
/// | `compress_after` | 7 d | the age at which TimescaleDB compresses a chunk, or `off` |
/// | `partition_interval` | none | see [`with_partition_interval`](Self::with_partition_interval) |
/// | `distribute` | `off` | `require`: see [`with_distribution`](Self::with_distribution) |
/// | `read_url` | | another server to read from, see below |
///
/// Times are durations such as `500ms`, `30s`, `2m` or `1h 30m`
/// ([`annals_core::duration`]). The four timeouts also accept a plain number with the unit that
/// PostgreSQL gives it: seconds for `connect_timeout`, milliseconds for the others.
///
/// Several hosts are separated by commas and tried in order. The options below mean what libpq
/// documents, and so do `host`, `hostaddr`, `port`, `user`, `password`, `dbname`, `application_name`,
/// `options`, `load_balance_hosts`, `channel_binding`, `sslnegotiation`, `keepalives…` and
/// `tcp_user_timeout`. Any other option is refused.
///
/// | option | default | |
/// |---|---|---|
/// | `target_session_attrs` | `any` | `read-write`, `read-only`, `primary`, `standby`, `prefer-standby`: the role that a host must have |
/// | `sslmode` | `prefer` | `disable`, `prefer`, `require`, `verify-ca`, `verify-full`; `allow` is `prefer` |
/// | `sslrootcert` | | a PEM file of certificates, or `system`, the default of `verify-full`; without `sslmode` it implies `verify-full` |
/// | `sslcert`, `sslkey` | | PEM files of the client certificate and its key; the key must be unencrypted and readable by its owner only |
/// | `password_file` | | a file that contains the password and nothing else |
/// | `passfile` | `~/.pgpass` | libpq's password file, readable by its owner only |
///
/// Only `verify-full` authenticates the server; `verify-ca` checks who signed its certificate; the other
/// modes protect at most against eavesdropping. The host must be in the certificate's `subjectAltName`;
/// the common name is ignored.
///
/// A password that is not in the URL is taken from `password_file`, the variable `PGPASSWORD`,
/// `passfile`, or the variable `PGPASSFILE`. All files are read again for each connection, so passwords
/// and certificates can be replaced while the program runs.
///
/// # Reading from replicas
///
/// `read_url` is a second URL (percent-encoded, with the options of the second table only). Its server
/// answers `query`, `query_stream`, `aggregate_stream` and `records`. Everything else, including
/// cleanup, goes to the first. A replica shows what it has replayed: rows acknowledged a moment ago may
/// be missing, and two queries may see replicas with different delays. Each query still sees one
/// snapshot.
///
/// If no replica answers, reads fail. To fall back to the primary, name it last: `…replica1,replica2,primary/plant?target_session_attrs=prefer-standby`.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    pub(crate) server: Server,
    pub(crate) read_server: Option<Server>,
    pub(crate) schema: String,
    pub(crate) create: bool,
    pub(crate) max_value_bytes: usize,
    pub(crate) pool_size: usize,
    pub(crate) writers: usize,
    pub(crate) durability: Durability,
    pub(crate) listen: bool,
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
    pub fn from_url(url: &str) -> Result<Self> {
        let config = url::parse(url)?;
        config.check()?;
        Ok(config)
    }

    /// Starts from a configuration of the driver, with defaults for everything else.
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
            listen: true,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(10)),
            statement_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(120),
            storage: Storage::default(),
        }
    }

    /// Sets the server for queries, with a URL that says only how to reach it: see
    /// [above](Self#reading-from-replicas).
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn with_read_url(mut self, url: &str) -> Result<Self> {
        self.read_server = Some(url::read_server(url)?);
        Ok(self)
    }

    /// Sets the schema that contains all tables: 1 to 63 bytes without NUL that do not start with
    /// `pg_`.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets whether a missing schema and its tables are created, which is the default. With `false` a
    /// mistyped name is an [`ErrorKind::Config`](annals_core::ErrorKind::Config) instead of a new
    /// history. Tables of an older version are upgraded in either case.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets the largest accepted value, in bytes of JSON text.
    #[must_use]
    pub fn with_max_value_bytes(mut self, max_value_bytes: usize) -> Self {
        self.max_value_bytes = max_value_bytes;
        self
    }

    /// Sets the number of connections for reading, at least 2. Streams hold all but one at most, so
    /// that queries, listings and sweeps continue beside streams that nobody reads.
    #[must_use]
    pub fn with_pool_size(mut self, pool_size: usize) -> Self {
        self.pool_size = pool_size;
        self
    }

    /// Sets the number of connections for writing, at least 1.
    ///
    /// With one, rows are stored in the order in which they were submitted. With more, that holds only
    /// for callers that wait for one store before they submit the next.
    #[must_use]
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = writers;
        self
    }

    /// Sets what an acknowledged row survives.
    ///
    /// [`Durability::PowerLoss`], the default, commits as the server is configured, by default with a
    /// sync (`guarantees()` reports what was found). [`Durability::Process`] and below commit without
    /// waiting for the sync (`synchronous_commit = off`). That is several times faster for single rows,
    /// but a crash or power loss of the **server** loses the rows of the last fraction of a second.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets whether followers LISTEN, on one more connection while there are any, and so receive at once
    /// what other processes store. That is the default. Behind a pooler in transaction mode LISTEN has no
    /// effect, which is found out. With `false` it is not tried.
    #[must_use]
    pub fn with_listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }

    /// Sets the longest wait for a free connection or for space in the write queue.
    #[must_use]
    pub fn with_wait_timeout(mut self, limit: Duration) -> Self {
        self.wait_timeout = limit;
        self
    }

    /// Sets the longest time to connect and log in, for each address of each host.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the longest time for one step on the server: one transaction of writes, one page of a query,
    /// one step of a sweep.
    #[must_use]
    pub fn with_statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = limit;
        self
    }

    /// Sets the longest time that [`close`](annals_core::PersistenceBackend::close), or dropping the
    /// last handle, takes to store what was accepted. Rows that are not stored by then are answered
    /// with an error, and `close` reports how many. Unfinished lookups of host names may add a second.
    #[must_use]
    pub fn with_close_timeout(mut self, limit: Duration) -> Self {
        self.close_timeout = limit;
        self
    }

    /// Sets whether a schema that is created uses TimescaleDB. The history is then a hypertable: old
    /// chunks are compressed, and chunks whose rows have all expired are dropped. Compression needs
    /// TimescaleDB's community licence.
    ///
    /// An existing history is used as it is; `annals migrate` converts it.
    #[must_use]
    pub fn with_timescale(mut self, timescale: Timescale) -> Self {
        self.storage.timescale = timescale;
        self
    }

    /// Sets the time that one chunk of a hypertable covers, in whole milliseconds. It applies when the
    /// schema is created.
    #[must_use]
    pub fn with_chunk_interval(mut self, interval: Duration) -> Self {
        self.storage.chunk_interval = Some(storage::millis(interval));
        self
    }

    /// Sets the age at which a chunk is compressed, in whole milliseconds; `None` disables compression.
    /// It applies when the schema is created.
    #[must_use]
    pub fn with_compress_after(mut self, age: Option<Duration>) -> Self {
        self.storage.compress_after = Some(age.map(storage::millis));
        self
    }

    /// Partitions the history of a schema that is created by time, in whole milliseconds: retention then
    /// drops partitions instead of deleting rows. Choose an interval of which the retention time spans
    /// 10 to 400.
    ///
    /// Connecting fails if the history exists with another layout or interval.
    #[must_use]
    pub fn with_partition_interval(mut self, interval: Duration) -> Self {
        self.storage.partition_interval = Some(storage::millis(interval));
        self
    }

    /// Sets whether the history is distributed over the nodes of a Citus cluster by record.
    ///
    /// Connect to the coordinator. Connecting fails if the extension is missing, or if the history
    /// exists and is not distributed. Without this option it fails if the history is distributed.
    #[must_use]
    pub fn with_distribution(mut self, distribute: bool) -> Self {
        self.storage.distribute = distribute;
        self
    }

    /// The schema that contains all tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Refuses a configuration that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let schema = &self.schema;
        if schema.is_empty() || schema.len() > MAX_SCHEMA_BYTES || schema.contains('\0') {
            return Err(error::config("the name of a schema has 1 to 63 bytes and no NUL"));
        }
        if schema.starts_with("pg_") {
            return Err(error::config("PostgreSQL reserves schemas that start with `pg_`"));
        }
        for (option, size) in [("pool_size", self.pool_size), ("writers", self.writers)] {
            if size > MAX_CONNECTIONS {
                let message = format!("`{option}` must be at most {MAX_CONNECTIONS}");
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
                let message = format!("`{option}` must be 1 ms to {} ms", i32::MAX);
                return Err(error::config(message));
            }
        }
        if self.max_value_bytes >= FIELD_BYTES {
            return Err(error::config(
                "`max_value_bytes` must be less than 1 GiB, PostgreSQL's limit",
            ));
        }
        if self.pool_size < 2 {
            return Err(error::config(
                "`pool_size` must be at least 2: streams hold all connections but one",
            ));
        }
        if self.writers == 0 {
            return Err(error::config("`writers` must be at least 1"));
        }
        self.storage.check()?;
        std::iter::once(&self.server).chain(&self.read_server).try_for_each(Server::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Such values once reached the pool's allocation and `Duration`'s addition, which panicked.
    #[test]
    fn absurd_limits_are_errors_that_name_the_option() {
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
