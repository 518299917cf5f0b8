//! Files as older versions and AimDB made them.

use annals_embedded::format::{Block, Layout, flush};
use annals_test_faults::{OLD_ROWS as ROWS, OldFile};
use rusqlite::{Connection, params};
use serde_json::json;

const SCHEMA_1: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE annals_meta (schema_version INTEGER NOT NULL) STRICT;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE history (
    record_id INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (record_id, stored_at, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE writers (
    writer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO annals_meta (schema_version) VALUES (1);
INSERT INTO records (id, name) VALUES (1, 'a'), (2, 'b');
";

const SCHEMA_2: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE annals_meta (schema_version INTEGER NOT NULL) STRICT;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE writers (
    writer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (number INTEGER PRIMARY KEY AUTOINCREMENT, block BLOB NOT NULL) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_head INTEGER NOT NULL,
    order_part INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    directory BLOB NOT NULL
) STRICT;
CREATE TABLE blocks (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    block BLOB NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
INSERT INTO annals_meta (schema_version) VALUES (2);
INSERT INTO records (id, name) VALUES (1, 'a'), (2, 'b');
INSERT INTO writers VALUES \
    (x'00000000000000000000000000000001', 1, 1), (x'00000000000000000000000000000002', 1, 2);
";

const SCHEMA_3: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE annals_meta (
    schema_version INTEGER NOT NULL,
    next_record INTEGER NOT NULL,
    next_block INTEGER NOT NULL,
    next_run INTEGER NOT NULL
) STRICT;
CREATE TABLE records (name TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE writers (
    writer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    block INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (number INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    order_head INTEGER NOT NULL,
    order_part INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    text_bytes INTEGER NOT NULL,
    directory BLOB NOT NULL
) STRICT;
CREATE TABLE blocks (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    block BLOB NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
INSERT INTO annals_meta VALUES (3, 3, 2, 2);
INSERT INTO records (id, name) VALUES (1, 'a'), (2, 'b');
INSERT INTO writers VALUES (x'00000000000000000000000000000001', 1, 1), \
    (x'00000000000000000000000000000002', 1, 1);
";

const SCHEMA_AIMDB: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE record_history (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    record_name TEXT    NOT NULL,
    value_json  TEXT    NOT NULL,
    stored_at   INTEGER NOT NULL
);
";

/// A file of schema version 1.
pub(crate) const VERSION_1: OldFile = OldFile {
    make: |path| Old::Version1.make(path),
    is_whole: |path| Old::Version1.is_whole(path),
};

/// A file of schema version 2.
pub(crate) const VERSION_2: OldFile = OldFile {
    make: |path| Old::Version2.make(path),
    is_whole: |path| Old::Version2.is_whole(path),
};

/// A file of schema version 3.
pub(crate) const VERSION_3: OldFile = OldFile {
    make: |path| Old::Version3.make(path),
    is_whole: |path| Old::Version3.is_whole(path),
};

/// A file of AimDB's own backend.
pub(crate) const AIMDB: OldFile =
    OldFile { make: |path| Old::Aimdb.make(path), is_whole: |path| Old::Aimdb.is_whole(path) };

#[derive(Debug, Clone, Copy)]
enum Old {
    Version1,
    Version2,
    Version3,
    Aimdb,
}

impl Old {
    /// Makes one.
    fn make(self, path: &str) {
        let connection = Connection::open(path).unwrap();
        let schema = match self {
            Self::Version1 => SCHEMA_1,
            Self::Version2 => SCHEMA_2,
            Self::Version3 => SCHEMA_3,
            Self::Aimdb => SCHEMA_AIMDB,
        };
        connection.execute_batch(schema).unwrap();
        let transaction = connection.unchecked_transaction().unwrap();
        if matches!(self, Self::Version2 | Self::Version3) {
            fill(&transaction);
        }
        for at in 0..ROWS {
            let (record, value) = (at % 2, json!([at, "x".repeat(40)]).to_string());
            match self {
                Self::Version2 | Self::Version3 => break,
                Self::Version1 => transaction.execute(
                    "INSERT INTO history VALUES (?1, ?2, ?3, ?4)",
                    params![record + 1, at / 4, at % 4, value],
                ),
                Self::Aimdb => transaction.execute(
                    "INSERT INTO record_history (record_name, value_json, stored_at) VALUES (?1, \
                     ?2, ?3)",
                    params![["a", "b"][record as usize], value, at / 4],
                ),
            }
            .unwrap();
        }
        transaction.commit().unwrap();
        // All of it in one file.
        connection.close().unwrap();
    }

    /// Whether a file is as [`make`](Self::make) made it, or a new one.
    fn is_whole(self, path: &str) -> bool {
        let connection = Connection::open(path).unwrap();
        let has = |table: &str| -> bool {
            let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
            connection.query_row(sql, [table], |row| row.get(0)).unwrap()
        };
        let rows = |table: &str| -> u64 {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        let new = ["head", "runs", "blocks"].map(has);
        let old = match self {
            Self::Version1 => "history",
            Self::Version2 | Self::Version3 => "writers",
            Self::Aimdb => "record_history",
        };
        let integrity: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        let version = "SELECT schema_version FROM annals_meta";
        let whole = match (has(old), new) {
            (true, [true, true, true]) if matches!(self, Self::Version2 | Self::Version3) => {
                let version = connection.query_row(version, [], |row| row.get::<_, i64>(0));
                let frames = "SELECT count(frame) FROM head";
                let is_new = connection.query_row(frames, [], |row| row.get::<_, u64>(0)).is_ok();
                let old_version = if matches!(self, Self::Version2) { 2 } else { 3 };
                version == Ok(if is_new { 5 } else { old_version }) && rows(old) == 2
            }
            (true, [false, false, false]) => rows(old) == ROWS,
            (false, [true, true, true]) => true,
            _ => false,
        };
        whole && integrity == "ok"
    }
}

/// Half of the rows as a run, the others as blocks of the head.
fn fill(connection: &Connection) {
    let block = |rows: std::ops::Range<u64>| {
        let mut block = Block::new();
        for at in rows {
            let value = json!([at, "x".repeat(40)]).to_string();
            block.push(at as u32 % 2 + 1, at / 4, &value);
        }
        block
    };
    let flushed = block(0..ROWS / 2);
    let run = flush([&flushed], &|record| record, &Layout::default(), false).unwrap().main.unwrap();
    let directory = run.index.encode().unwrap();
    let (first, last) = (run.index.first(), run.index.last());
    let insert = "INSERT INTO runs VALUES (1, 1, 0, ?1, ?2, ?3, ?4, ?5)";
    let values = params![flushed.len() as u64, first, last, run.text_bytes, directory];
    connection.execute(insert, values).unwrap();
    for (number, block) in run.blocks.iter().enumerate() {
        let insert = "INSERT INTO blocks VALUES (1, ?1, ?2)";
        connection.execute(insert, params![number as u64, block]).unwrap();
    }
    for (number, begin) in (2..).zip((ROWS / 2..ROWS).step_by(8)) {
        let insert = "INSERT INTO head VALUES (?1, ?2)";
        let content = block(begin..begin + 8).encode().unwrap();
        connection.execute(insert, params![number, content]).unwrap();
    }
}
