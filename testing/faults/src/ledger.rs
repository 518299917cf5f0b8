//! What was sent to a store, what it answered, and which rows it must therefore hold.

use std::collections::{BTreeMap, BTreeSet};

use annals_core::{Batch, Outcome, PersistenceError, StoredValue};

/// What is known about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    Absent,
    /// Absent, and there once its batch is sent again if it was not stored before.
    Lapsed,
    /// There with all others of its batch, or absent with them.
    Undecided,
    /// There or absent: a cleanup failed half-way, or nobody knows of an erase.
    Either,
}

#[derive(Debug)]
struct Entry {
    record: String,
    stored_at: u64,
    batch: usize,
    state: State,
    /// It may have arrived after rows with greater numbers.
    late: bool,
}

/// Rows by their numbers, which grow in the order in which they were sent. A row's number is the
/// first member of its value, an array.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rows: BTreeMap<u64, Entry>,
    batches: Vec<Batch>,
}

/// A batch that was sent, by its place in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent(usize);

impl Ledger {
    /// Records a batch before it is sent. `numbers` are those of its rows.
    pub(crate) fn send(&mut self, batch: &Batch, numbers: impl IntoIterator<Item = u64>) -> Sent {
        let place = self.batches.len();
        for (row, number) in batch.rows().iter().zip(numbers) {
            let entry = Entry {
                record: row.record.as_str().to_owned(),
                stored_at: row.stored_at,
                batch: place,
                state: State::Undecided,
                late: false,
            };
            self.rows.insert(number, entry);
        }
        self.batches.push(batch.clone());
        Sent(place)
    }

    /// Records the answer. One that says that nothing was applied is about its own call only: with
    /// `again`, an earlier call may have stored the same batch.
    pub(crate) fn answered(
        &mut self,
        sent: Sent,
        answer: &Result<(), PersistenceError>,
        again: bool,
    ) {
        let state = match answer {
            Ok(()) => State::There,
            Err(error) if error.outcome() == Outcome::NotApplied && !again => State::Absent,
            Err(_) => return,
        };
        for entry in self.rows.values_mut().filter(|entry| entry.batch == sent.0) {
            if entry.state == State::Undecided {
                entry.state = state;
            }
        }
    }

    /// The batches with an id whose outcome is unknown.
    pub(crate) fn undecided(&self) -> Vec<(Sent, Batch)> {
        let batches: BTreeSet<usize> = self
            .rows
            .values()
            .filter(|entry| entry.state == State::Undecided)
            .map(|entry| entry.batch)
            .collect();
        let with_id = |place: &usize| self.batches[*place].id().is_some();
        let sent = |place| (Sent(place), self.batches[place].clone());
        batches.into_iter().filter(with_id).map(sent).collect()
    }

    /// Records that the batch's rows may arrive after others.
    pub(crate) fn sent_late(&mut self, sent: Sent) {
        for entry in self.rows.values_mut().filter(|entry| entry.batch == sent.0) {
            entry.late = true;
            if entry.state == State::Lapsed {
                entry.state = State::Either;
            }
        }
    }

    /// Records a cleanup and its answer.
    ///
    /// # Errors
    /// When it removed another number of rows than it can have.
    pub(crate) fn cleaned(
        &mut self,
        older_than: u64,
        answer: &Result<u64, PersistenceError>,
    ) -> Result<(), String> {
        self.removed("a cleanup", |entry| entry.stored_at < older_than, answer)
    }

    /// Records an erase of the rows of a record between two times, inclusive, and its answer.
    ///
    /// # Errors
    /// When it removed another number of rows than it can have.
    pub(crate) fn erased(
        &mut self,
        record: &str,
        (from, to): (u64, u64),
        answer: &Result<u64, PersistenceError>,
    ) -> Result<(), String> {
        let goes = |entry: &Entry| entry.record == record && (from..=to).contains(&entry.stored_at);
        self.removed("an erase", goes, answer)
    }

    fn removed(
        &mut self,
        what: &str,
        goes: impl Fn(&Entry) -> bool,
        answer: &Result<u64, PersistenceError>,
    ) -> Result<(), String> {
        let (mut least, mut most) = (0, 0);
        for entry in self.rows.values_mut().filter(|entry| goes(entry)) {
            if !matches!(entry.state, State::Absent | State::Lapsed) {
                most += 1;
                least += u64::from(entry.state == State::There);
                match answer {
                    Ok(_) if entry.state == State::Undecided => entry.state = State::Lapsed,
                    Ok(_) => entry.state = State::Absent,
                    Err(error) if error.outcome() == Outcome::NotApplied => {}
                    Err(_) => entry.state = State::Either,
                }
            }
        }
        match answer {
            Ok(removed) if !(least..=most).contains(removed) => {
                Err(format!("{what} removed {removed} rows instead of {least} to {most}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks all rows of a store, records in order and each record oldest first.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn check(&self, rows: &[StoredValue]) -> Result<(), String> {
        let mut found = BTreeSet::new();
        let mut before: Option<(&str, u64, u64)> = None;
        for row in rows {
            let number = row.value[0].as_u64().ok_or("a row without a number")?;
            let Some(entry) = self.rows.get(&number) else {
                return Err(format!("row {number} was never sent"));
            };
            if (&*entry.record, entry.stored_at) != (&*row.record_name, row.stored_at) {
                return Err(format!("row {number} is another one: {row:?}"));
            }
            if !found.insert(number) {
                return Err(format!("row {number} is there twice"));
            }
            if matches!(entry.state, State::Absent | State::Lapsed) {
                return Err(format!("row {number} is there and must not be"));
            }
            if entry.late {
                continue;
            }
            let place = (&*entry.record, entry.stored_at, number);
            if before.is_some_and(|before| before >= place) {
                return Err(format!("{place:?} comes after {before:?}"));
            }
            before = Some(place);
        }
        let mut whole: BTreeMap<usize, bool> = BTreeMap::new();
        for (number, entry) in &self.rows {
            let there = found.contains(number);
            match entry.state {
                State::There if !there => {
                    return Err(format!("row {number} was acknowledged and is not there"));
                }
                State::Undecided if *whole.entry(entry.batch).or_insert(there) != there => {
                    return Err(format!("batch {} is not whole", entry.batch));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
