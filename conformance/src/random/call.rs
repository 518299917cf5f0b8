//! Calls that can be made on a backend, and how they are printed.

use std::fmt;

use annals_core::{Grammar, Order, QueryParams, Value};

/// One row of a batch or a store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewRow {
    pub(crate) record: String,
    pub(crate) value: Value,
    pub(crate) stored_at: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Store(NewRow),
    /// Rows, and the id as writer and number.
    StoreBatch(Vec<NewRow>, Option<(u128, u64)>),
    Query(String, QueryParams),
    Stream(String, QueryParams),
    /// With the text of a filter.
    QueryWhere(String, QueryParams, &'static str),
    Records(String, Grammar),
    Cleanup(u64),
    /// Rules as pattern and cut-off, and the number of newest rows to keep.
    CleanupPlan(Vec<(String, Option<u64>)>, u64),
    /// A pattern, a window, and perhaps the text of a filter.
    Erase(String, (Option<u64>, Option<u64>), Option<&'static str>),
    Correct(NewRow),
    Initialize,
    Reopen,
}

/// Calls in their order. After each the whole store is compared as well.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Script(pub(crate) Vec<Call>);

impl fmt::Display for NewRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}, {}", self.record, self.value, self.stored_at)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(row) => write!(f, "store({row})"),
            Self::StoreBatch(rows, id) => {
                let rows: Vec<String> = rows.iter().map(|row| format!("({row})")).collect();
                write!(f, "store_batch([{}]", rows.join(", "))?;
                if let Some((writer, number)) = id {
                    write!(f, ", id {writer}#{number}")?;
                }
                f.write_str(")")
            }
            Self::Query(pattern, params) => write!(f, "query({pattern:?}{})", Short(params)),
            Self::Stream(pattern, params) => {
                write!(f, "query_stream({pattern:?}{})", Short(params))
            }
            Self::QueryWhere(pattern, params, filter) => {
                write!(f, "query_where({pattern:?}{}, {filter})", Short(params))
            }
            Self::Erase(pattern, window, filter) => {
                write!(f, "erase({pattern:?}, {window:?}, {filter:?})")
            }
            Self::Correct(row) => write!(f, "correct({row})"),
            Self::Records(pattern, grammar) => write!(f, "records({pattern:?}, {grammar:?})"),
            Self::Cleanup(older_than) => write!(f, "cleanup({older_than})"),
            Self::CleanupPlan(rules, keep_newest) => {
                write!(f, "cleanup_plan({rules:?}, keep_newest {keep_newest})")
            }
            Self::Initialize => f.write_str("initialize()"),
            Self::Reopen => f.write_str("close(), and open again"),
        }
    }
}

/// Only what differs from the default.
struct Short<'a>(&'a QueryParams);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueryParams { limit_per_record, start_time, end_time, order, grammar, .. } = self.0;
        for (name, number) in [("start", start_time), ("end", end_time)] {
            if let Some(number) = number {
                write!(f, ", {name} {number}")?;
            }
        }
        if let Some(limit) = limit_per_record {
            write!(f, ", limit {limit}")?;
        }
        if *order != Order::default() {
            write!(f, ", {order:?}")?;
        }
        if *grammar != Grammar::default() {
            write!(f, ", {grammar:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, call) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "    {}. {call}", number + 1)?;
        }
        Ok(())
    }
}
