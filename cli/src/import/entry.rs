//! A row as an input has it: three texts.

use std::borrow::Cow;
use std::collections::HashMap;

use annals::{MAX_TIMESTAMP, PersistenceError, RecordName, Row};

use super::time::Times;
use super::value;
use crate::output::counted;

/// A record's name, a value's JSON text and a time, before any of them is checked.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) record: Cow<'a, str>,
    pub(super) value: Cow<'a, str>,
    pub(super) time: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    pub(super) fn into_owned(self) -> Entry<'static> {
        Entry {
            record: Cow::Owned(self.record.into_owned()),
            value: Cow::Owned(self.value.into_owned()),
            time: self.time.map(|time| Cow::Owned(time.into_owned())),
        }
    }
}

/// Makes rows of entries.
pub(super) struct Converter {
    pub(super) times: Times,
    /// Names the option that stores text as it is, where there is one.
    help: &'static str,
    /// Checked names: a file has few names and many rows.
    names: HashMap<Box<str>, RecordName>,
    /// The number of rows without a time.
    timeless: u64,
}

/// The most names that are kept.
const NAMES: usize = 100_000;

impl Converter {
    pub(super) fn new(times: Times, help: &'static str) -> Self {
        Self { times, help, names: HashMap::new(), timeless: 0 }
    }

    /// The row of an entry; without a time it is `now_ms`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn row(&mut self, entry: &Entry<'_>, now_ms: u64) -> Result<Row, String> {
        let record = self.name(&entry.record).map_err(|error| error.to_string())?;
        let stored_at = match &entry.time {
            Some(time) => self.times.read(time)?,
            None => {
                self.timeless += 1;
                now_ms
            }
        };
        if stored_at > MAX_TIMESTAMP {
            return Err(PersistenceError::TimestampOutOfRange { timestamp: stored_at }.to_string());
        }
        let value = value::checked(&entry.value, self.help)?;
        Ok(Row { record, value, stored_at })
    }

    /// A note on rows without a time among others that have one.
    pub(super) fn remark(&self) -> Option<String> {
        (self.timeless > 0 && !self.times.is_open()).then(|| {
            let rows = counted(self.timeless, "row");
            format!("note: {rows} without a time got the time of the import")
        })
    }

    fn name(&mut self, name: &str) -> Result<RecordName, PersistenceError> {
        if let Some(known) = self.names.get(name) {
            return Ok(known.clone());
        }
        let record = RecordName::new(name)?;
        if self.names.len() >= NAMES {
            self.names.clear();
        }
        self.names.insert(name.into(), record.clone());
        Ok(record)
    }
}
