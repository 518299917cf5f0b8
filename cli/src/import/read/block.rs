//! The first lines of an input: what they show of its times, and of options that hardly fit.

use super::{Cutter, FIRST_BLOCK, Gone, Piece};
use crate::import::entry::Entry;
use crate::import::json::NOTHING_AT;
use crate::import::text::shown;

/// The first lines, until the format of times is decided.
#[derive(Default)]
pub(super) struct Block {
    pub(super) lines: Vec<Waiting>,
    pub(super) bytes: usize,
}

impl Block {
    /// What is wrong with the first line, if none is a row.
    fn failure(&self) -> Option<&str> {
        let all = self.lines.iter().all(|line| line.entries.is_err());
        let first = self.lines.first().filter(|_| all)?;
        first.entries.as_ref().err().map(String::as_str)
    }

    /// Whether the same is wrong with all lines.
    fn has_only(&self, what: &str) -> bool {
        self.lines.iter().all(|line| line.entries.as_ref().is_err_and(|why| why.starts_with(what)))
    }

    pub(super) fn has_rows(&self) -> bool {
        self.lines.iter().any(|line| line.entries.as_ref().is_ok_and(|rows| !rows.is_empty()))
    }
}

/// A line of the first block, until the format of times is decided.
pub(super) struct Waiting {
    pub(super) line: u64,
    pub(super) entries: Result<Vec<Entry<'static>>, String>,
    pub(super) digest: u128,
    pub(super) empty: u64,
    pub(super) bytes: usize,
}

impl Cutter {
    /// Nothing can be read with these options.
    pub(super) fn refuse<T>(&self, why: String) -> Result<T, Gone> {
        let _nobody_listens = self.pieces.blocking_send(Piece::Refused(why));
        Err(Gone)
    }

    /// Why the options hardly mean what is asked of them, as the first block shows.
    pub(super) fn doubt(&self, block: &Block) -> Option<String> {
        if let Some(why) = block.failure().filter(|_| self.plan.is_file) {
            if let Some(missing) = why.strip_prefix(NOTHING_AT)
                && block.has_only(NOTHING_AT)
            {
                return Some(format!("no row has anything at{missing}"));
            }
            if block.lines.len() >= FIRST_BLOCK {
                return Some(format!("none of the first {FIRST_BLOCK} lines is a row: {why}"));
            }
        }
        if self.decimal_commas
            && let Some(why) = self.numbers.are_german()
        {
            return Some(why);
        }
        if !self.plan.converter.times.is_open() || !block.has_rows() || self.plan.time_now {
            return None;
        }
        if let Some(name) = self.unused.times() {
            let (option, shown) = (self.time_option, shown(name));
            return Some(format!(
                "nothing says where the times are, and {shown} looks like one\nuse {option} \
                 {shown}, or --time-now to store all rows with the time of the import"
            ));
        }
        self.plan.is_file.then(|| {
            "no row has a time\n--time-now stores them with the time of the import".to_owned()
        })
    }
}
