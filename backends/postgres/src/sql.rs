//! Text that all statements of one schema share: quoted names, lock keys and the heads of transactions.
//!
//! Every statement names the schema: `search_path` is session state, which does not survive a
//! transaction pooler.
//!
//! # Tables
//!
//! * `records (id, name)`: names, interned, in byte order whatever the database's locale.
//! * `history (record_id, stored_at, seq, value)`: the rows; the first three columns are the key.
//!   `seq` comes from a sequence, so that rows with equal times stay in order of arrival.
//! * `writers (writer, number, last_use)`: the last batch of each writer. `last_use` comes from a
//!   sequence: after a clock jump, an eviction by time would forget active writers.
//! * `meta (schema_version, names_generation, partition_interval, history)`: one row; `history` is the
//!   identity of the history. A transaction that
//!   removes a name raises the generation; a transaction that uses cached ids compares it before it
//!   commits. It starts at a random number, so that ids of a dropped schema do not fit its successor.

use annals_core::Durability;
use annals_core::bytes::fnv1a;

use crate::config::PostgresConfig;

/// Planner settings for reads and for steps of a sweep. One plan is right for all of them: index
/// seeks in key order, which the planner cannot know before the first ANALYZE. JIT is off because
/// the penalty for disabled plans would trigger it.
const SEEK: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
                    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
                    SET LOCAL enable_sort = off; SET LOCAL jit = off; \
                    SET LOCAL max_parallel_workers_per_gather = 0";

/// Vacuum at 5 % of dead rows instead of 20: sweeps leave dead rows behind at a steady rate.
pub(crate) const VACUUM: &str = "WITH (autovacuum_vacuum_scale_factor = 0.05)";

/// How long a sweep that removes names waits for running stores, which in turn queue behind it.
const PRUNE_LOCK_TIMEOUT: &str = "200ms";

/// The quoted name of a schema, and how its transactions begin.
pub(crate) struct Sql {
    /// The schema's name, as it was given.
    pub(crate) name: String,
    /// The schema's name as an identifier.
    pub(crate) schema: String,
    /// Limits of a transaction, so that a client that hangs does not hold locks for ever.
    limits: String,
    /// The server's limit for one step, in milliseconds.
    limit: u128,
    commit: &'static str,
}

impl Sql {
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        let limit = config.statement_timeout.as_millis();
        Self {
            name: config.schema.clone(),
            schema: quote(&config.schema),
            limits: format!(
                "SET LOCAL statement_timeout = {limit}; \
                 SET LOCAL idle_in_transaction_session_timeout = {limit}"
            ),
            limit,
            commit: match config.durability {
                Durability::Process | Durability::Volatile => {
                    "; SET LOCAL synchronous_commit = off"
                }
                _ => "",
            },
        }
    }

    /// Begins a transaction that creates or upgrades the schema.
    pub(crate) fn begin_create(&self) -> String {
        format!("{}; SELECT pg_advisory_xact_lock({})", self.begin(), self.lock_key("create"))
    }

    /// Begins a transaction that converts the history, without a limit on its time. It takes the
    /// lock of the sweeps: a sweep that runs meanwhile would have read the history and wait to
    /// delete from it, while the conversion waits for the sweep to end.
    pub(crate) fn begin_migration(&self, settings: &str) -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0; \
             SET LOCAL idle_in_transaction_session_timeout = {}; {settings} \
             SELECT pg_advisory_xact_lock({}); SELECT pg_advisory_xact_lock({})",
            self.limit,
            self.lock_key("create"),
            self.lock_key("sweep")
        )
    }

    /// Begins a transaction that creates partitions.
    pub(crate) fn begin_partitions(&self) -> String {
        format!("{}; SELECT pg_advisory_xact_lock({})", self.begin(), self.lock_key("partitions"))
    }

    /// Begins a transaction that stores, and keeps names from being removed meanwhile. Statements
    /// are sent before BEGIN is answered: [`in_our_transaction`](Self::in_our_transaction) is the
    /// condition under which they do something.
    pub(crate) fn begin_write(&self, settings: &str) -> String {
        format!(
            "{}{}; SET LOCAL annals.tx = {}; SELECT pg_advisory_xact_lock_shared({}){settings}",
            self.begin(),
            self.commit,
            literal(&self.name),
            self.lock_key("names")
        )
    }

    /// True only behind a BEGIN that succeeded, and only if an old pooler did not run a statement
    /// of another schema in place of this one.
    pub(crate) fn in_our_transaction(&self) -> String {
        format!("current_setting('annals.tx', true) = {}", literal(&self.name))
    }

    /// Begins a transaction that adds names. Ids are cached, so the commit is synchronous: a cached
    /// id must not outlive a crash of the server that the name did not survive.
    pub(crate) fn begin_names(&self) -> String {
        format!("{}; SET LOCAL synchronous_commit = on", self.begin())
    }

    /// Begins a transaction that reads one snapshot, after `lock`.
    ///
    /// The server has no limit here: a portal that waits for its reader to take the next row counts
    /// as running. The client limits each step, and keepalives notice a client that is gone.
    pub(crate) fn begin_read(&self, lock: &str) -> String {
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL statement_timeout = 0; \
             SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL tcp_keepalives_idle = 30; \
             SET LOCAL tcp_keepalives_interval = 10; \
             SET LOCAL tcp_keepalives_count = 3; {SEEK}{lock}"
        )
    }

    /// Begins one step of a sweep.
    pub(crate) fn begin_sweep(&self, settings: &str) -> String {
        format!("{}; {SEEK}{settings}", self.begin())
    }

    /// Takes the lock that only one process holds at a time; it lasts until the transaction ends.
    pub(crate) fn wait_for_sweep_lock(&self) -> String {
        format!("SELECT pg_advisory_xact_lock({})", self.lock_key("sweep"))
    }

    /// As [`wait_for_sweep_lock`](Self::wait_for_sweep_lock), without waiting: answers whether the
    /// lock was free.
    pub(crate) fn try_sweep_lock(&self) -> String {
        format!("SELECT pg_try_advisory_xact_lock({})", self.lock_key("sweep"))
    }

    /// Waits for the transactions that store, and holds up new ones.
    pub(crate) fn lock_names(&self) -> String {
        format!(
            "SET LOCAL lock_timeout = '{PRUNE_LOCK_TIMEOUT}'; SELECT pg_advisory_xact_lock({})",
            self.lock_key("names")
        )
    }

    /// Notifies listeners, if there are any, that something was stored, in a separate transaction:
    /// while one that notifies commits, all others of the server that do so wait, and this one has
    /// nothing to sync.
    pub(crate) fn notify(&self) -> String {
        format!(
            "SELECT pg_notify('{}', '') WHERE NOT pg_try_advisory_xact_lock({})",
            self.channel(),
            self.lock_key("follow")
        )
    }

    /// A notification whether somebody listens or not.
    pub(crate) fn probe(&self) -> String {
        format!("SELECT pg_notify('{}', '')", self.channel())
    }

    /// Listens, and says so by a lock. The server drops a session whose client is gone without a word,
    /// so that notifications do not pile up for it.
    pub(crate) fn listen(&self) -> String {
        format!(
            "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
             SET tcp_keepalives_count = 3; SET tcp_user_timeout = 60000; \
             SET idle_session_timeout = 0; SELECT pg_advisory_lock_shared({}); LISTEN {}",
            self.lock_key("follow"),
            self.channel()
        )
    }

    /// The opposite, as far as it outlives a client.
    pub(crate) fn unlisten(&self) -> String {
        format!(
            "UNLISTEN {}; SELECT pg_advisory_unlock_shared({})",
            self.channel(),
            self.lock_key("follow")
        )
    }

    fn channel(&self) -> String {
        format!("annals_{:016x}", self.lock_key("follow"))
    }

    fn begin(&self) -> String {
        format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}", self.limits)
    }

    /// The key of an advisory lock: FNV-1a of its purpose. Advisory locks share one space of
    /// numbers in a database; if another application's key collides, the two wait for each other.
    pub(crate) fn lock_key(&self, purpose: &str) -> i64 {
        let text = format!("annals:{purpose}:{}", self.name);
        fnv1a(text.bytes()).cast_signed()
    }

    /// `annals.table` as a text that names the relation.
    pub(crate) fn relation(&self, table: &str) -> String {
        literal(&format!("{}.{table}", self.schema))
    }
}

/// A text that means exactly `text`, whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// An identifier that means exactly `name`.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_cannot_end_the_identifier() {
        assert_eq!(quote("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
    }

    #[test]
    fn a_quote_cannot_end_the_literal() {
        assert_eq!(literal(r"a'\' b"), r"E'a''\\'' b'");
    }

    /// Other releases of annals must compute the same keys.
    #[test]
    fn the_lock_keys_never_change() {
        let sql = |schema| {
            let config = PostgresConfig::from_url("postgres://u@h/db").unwrap();
            Sql::new(&config.with_schema(schema))
        };
        for (purpose, key) in [
            ("names", 3_896_343_779_372_407_121),
            ("create", 3_472_230_037_345_271_557),
            ("sweep", 6_164_643_500_509_362_089),
            ("partitions", -4_364_375_357_667_629_456),
            ("read", -7_196_103_700_919_766_987),
        ] {
            assert_eq!(sql("annals").lock_key(purpose), key, "{purpose}");
        }
        assert_ne!(sql("a").lock_key("names"), sql("b").lock_key("names"));
    }
}
