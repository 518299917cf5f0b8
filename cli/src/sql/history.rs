//! The virtual table `record_history`, whose rows are a backend's.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::sync::{Arc, Mutex, PoisonError};

use annals::{Order, PersistenceBackend, PersistenceError, RawRow, RowStream};
use futures::{FutureExt, StreamExt};
use rusqlite::Connection;
use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use tokio::runtime::Handle;

use super::plan::{Filter, Plan, RECORD_NAME, STORED_AT, VALUE_JSON};

const NAME: &CStr = c"record_history";
/// For alternative conditions SQLite reads the table once for each and recognizes rows that it has
/// seen by their key, so the key must be unique.
const COLUMNS: &CStr =
    c"CREATE TABLE record_history (record_name TEXT NOT NULL, value_json TEXT NOT \
    NULL, stored_at INTEGER NOT NULL, place INTEGER HIDDEN NOT NULL, PRIMARY KEY (record_name, \
    stored_at, place)) WITHOUT ROWID";

/// The backend, for use from SQLite's threads.
pub(super) struct History {
    backend: Arc<dyn PersistenceBackend>,
    runtime: Handle,
    /// The error of the backend, of which SQLite passes on the text only.
    error: Mutex<Option<PersistenceError>>,
}

impl History {
    /// `runtime` runs the backend. Nothing here may be called on one of its threads.
    pub(super) fn new(backend: Arc<dyn PersistenceBackend>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { backend, runtime, error: Mutex::new(None) })
    }

    /// Adds the table to a connection.
    pub(super) fn attach(self: &Arc<Self>, connection: &Connection) -> rusqlite::Result<()> {
        const MODULE: Module<'static, Table> = Module::eponymous_only_module().without_rowid();
        connection.create_module(NAME, &MODULE, Some(self.clone()))
    }

    /// The error of the backend, if a statement failed because of it.
    pub(super) fn error(&self) -> Option<PersistenceError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn failed(&self, error: PersistenceError) -> rusqlite::Error {
        let text = error.to_string();
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        rusqlite::Error::ModuleError(text)
    }
}

/// The table.
#[repr(C)]
struct Table {
    base: sqlite3_vtab,
    history: Arc<History>,
}

/// One reading of the table.
#[repr(C)]
struct TableCursor {
    base: sqlite3_vtab_cursor,
    history: Arc<History>,
    rows: Option<RowStream>,
    row: Option<RawRow>,
    /// The position of the row among those of one record with the same time.
    place: i64,
}

// SAFETY: the trait asks for `sqlite3_vtab` as the first member of a `repr(C)` struct.
#[allow(unsafe_code, reason = "rusqlite marks the trait so, since SQLite casts the pointer")]
unsafe impl VTab<'_> for Table {
    type Aux = Arc<History>;
    type Cursor = TableCursor;

    fn connect(
        _: &mut VTabConnection,
        history: Option<&Arc<History>>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let history = history
            .ok_or_else(|| rusqlite::Error::ModuleError("the history is missing".to_owned()))?
            .clone();
        Ok((Cow::Borrowed(COLUMNS), Self { base: sqlite3_vtab::default(), history }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let mut plan = Plan { filters: Vec::new(), order: Order::NewestFirst };
        let mut used = Vec::new();
        for (place, constraint) in info.constraints().enumerate() {
            let filter = Filter::of(constraint.column(), &constraint.operator());
            if let Some(filter) = filter.filter(|_| constraint.is_usable()) {
                // Names that are equal under another collation can be different records.
                if filter != Filter::NameIs || info.collation(place)? == "BINARY" {
                    plan.filters.push(filter);
                    used.push(place);
                }
            }
        }
        for (value, place) in (1..).zip(used) {
            info.constraint_usage(place).set_argv_index(value);
        }
        let terms: Vec<_> =
            info.order_bys().map(|term| (term.column(), term.is_order_by_desc())).collect();
        if plan.resolve_order(&terms) {
            info.set_order_by_consumed(true);
        }
        info.set_estimated_cost(plan.rows());
        info.set_estimated_rows(plan.rows() as i64);
        info.set_idx_str(&plan.to_text());
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<TableCursor> {
        Ok(TableCursor {
            base: sqlite3_vtab_cursor::default(),
            history: self.history.clone(),
            rows: None,
            row: None,
            place: 0,
        })
    }
}

// SAFETY: the trait asks for `sqlite3_vtab_cursor` as the first member of a `repr(C)` struct.
#[allow(unsafe_code, reason = "rusqlite marks the trait so, since SQLite casts the pointer")]
unsafe impl VTabCursor for TableCursor {
    fn filter(
        &mut self,
        _: c_int,
        plan: Option<&str>,
        values: &Filters<'_>,
    ) -> rusqlite::Result<()> {
        // A previous stream releases its snapshot first.
        (self.rows, self.row, self.place) = (None, None, 0);
        let plan = Plan::from_text(plan.unwrap_or_default());
        let Some((pattern, params)) = plan.query(values.iter()) else { return Ok(()) };
        let History { backend, runtime, .. } = &*self.history;
        let rows = runtime.block_on(backend.query_stream(&pattern, params));
        self.rows = Some(rows.map_err(|error| self.history.failed(error))?);
        self.next()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        // Most rows are buffered.
        let row = match rows.next().now_or_never() {
            Some(row) => row,
            None => self.history.runtime.block_on(rows.next()),
        };
        let row = row.transpose().map_err(|error| self.history.failed(error))?;
        let is_equal = match (&self.row, &row) {
            (Some(one), Some(next)) => one.stored_at == next.stored_at && one.record == next.record,
            _ => false,
        };
        self.place = if is_equal { self.place + 1 } else { 0 };
        self.row = row;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let Some(row) = &self.row else { return Ok(()) };
        match column {
            RECORD_NAME => context.set_result(&*row.record),
            VALUE_JSON => context.set_result(&*row.json),
            STORED_AT => context.set_result(row.stored_at),
            _ => context.set_result(self.place),
        }
    }

    /// Never called: the table has no row ids.
    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.place)
    }
}
