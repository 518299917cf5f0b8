//! A dry run: counts rows, and shows the first ones as they would be stored.

use std::io::{self, IsTerminal, Write};

use annals::Row;

use crate::failure::Failure;
use crate::moment::to_the_ms;
use crate::output::counted;
use crate::screen::shown_value;

/// The number of rows that a dry run shows.
const ROWS_SHOWN: u64 = 5;

/// The summary of a dry run.
#[derive(Default)]
pub(super) struct Dry {
    pub(super) rows: u64,
    records: std::collections::BTreeSet<String>,
    first: Option<u64>,
    last: Option<u64>,
}

impl Dry {
    /// Counts a row, and prints the first ones as they would be stored.
    pub(super) fn see(&mut self, row: &Row) -> Result<(), Failure> {
        self.rows += 1;
        self.first = Some(self.first.unwrap_or(u64::MAX).min(row.stored_at));
        self.last = Some(self.last.unwrap_or(0).max(row.stored_at));
        if !self.records.contains(row.record.as_str()) {
            self.records.insert(row.record.as_str().to_owned());
        }
        if self.rows > ROWS_SHOWN {
            return Ok(());
        }
        let record = serde_json::to_string(row.record.as_str()).unwrap_or_default();
        let line = format!(
            "{{\"record\":{record},\"value\":{},\"stored_at\":{}}}",
            row.value.as_str(),
            row.stored_at
        );
        let mut out = io::stdout().lock();
        let line = if out.is_terminal() { shown_value(&line) } else { line };
        writeln!(out, "{line}").map_err(Failure::Output)
    }

    /// The summary in words.
    pub(super) fn describe(&self) -> String {
        let mut text = format!(
            "{} of {} would be stored",
            counted(self.rows, "row"),
            counted(self.records.len() as u64, "record")
        );
        if let (Some(first), Some(last)) = (self.first, self.last) {
            text.push_str(&format!(", from {} to {}", to_the_ms(first), to_the_ms(last)));
        }
        text
    }
}
