//! A look at all of a store that may be damaged: what is wrong, and every row that can still be read.
//!
//! Enters: the tables of one state. Leaves: a list of damages, and the readable rows in order of arrival.
//! Nothing here stops at damage, and a panic of an engine is damage.

use std::fmt;
use std::sync::Arc;

use annals_core::{RawRow, Result};
use serde::Serialize;

use crate::engine::Tables;
use crate::error::contain;
use crate::format::Block;
use crate::ids::{RecordId, Run, RunOrder};
use crate::read::Caches;
use crate::state::{State, Sum};
use crate::write::check_writers;
use crate::{Map, Set, head};

/// What is wrong at one place of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The part of the store, such as `run 7, block 3`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// How many rows cannot be read, where that is known.
    pub rows: Option<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match self.rows {
            Some(0) => Ok(()),
            Some(1) => write!(f, " (1 row is lost)"),
            Some(rows) => write!(f, " ({rows} rows are lost)"),
            None => write!(f, " (how many rows are lost is not known)"),
        }
    }
}

/// What was found in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The records that have a name.
    pub records: u64,
    /// The rows that were read, or that a sound run index counts if blocks were not read.
    pub rows: u64,
    /// The runs.
    pub runs: u64,
    /// The blocks of runs and of the head that were read.
    pub blocks: u64,
    /// What is wrong, in the order in which it was found.
    pub damage: Vec<Damage>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    /// How many rows are lost at places where that is known.
    pub fn lost_rows(&self) -> u64 {
        self.damage.iter().filter_map(|damage| damage.rows).sum()
    }

    /// Adds damage that an engine's own check has found.
    pub fn add(&mut self, place: impl Into<String>, what: impl fmt::Display, rows: Option<u64>) {
        self.damage.push(Damage { place: place.into(), what: what.to_string(), rows });
    }
}

/// Receives rows of one block, in order.
pub type VisitRows<'a> = dyn FnMut(Vec<RawRow>) -> Result<()> + 'a;

/// Looks at all of a store. With `visit`, every block is read and its rows are visited in order of
/// arrival among equals; rows without a name get the name `lost+found::` and their record's id.
///
/// # Errors
/// Those of `visit` only.
pub fn survey(
    engine: &'static str,
    tables: &dyn Tables,
    visit: Option<&mut VisitRows<'_>>,
) -> Result<Report> {
    let mut survey = Survey {
        engine,
        tables,
        caches: Caches::new(engine),
        report: Report::default(),
        names: Map::default(),
        orphans: Set::default(),
        visit,
    };
    let state = survey.state();
    survey.names(state.as_ref());
    survey.writers(state.as_ref());
    let runs = survey.runs(state.as_ref());
    for (run, is_listed) in runs {
        survey.run(&run, is_listed)?;
    }
    survey.head(state.as_ref())?;
    Ok(survey.report)
}

struct Survey<'a, 'v> {
    engine: &'static str,
    tables: &'a dyn Tables,
    caches: Caches,
    report: Report,
    names: Map<RecordId, Arc<str>>,
    orphans: Set<RecordId>,
    visit: Option<&'a mut VisitRows<'v>>,
}

impl Survey<'_, '_> {
    fn found<T>(&mut self, place: &str, rows: Option<u64>, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.report.add(place, &error, rows)).ok()
    }

    fn read<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        contain(self.engine, "check", read)
    }

    fn state(&mut self) -> Option<State> {
        let state = self.read(|| State::of(self.engine, self.tables));
        self.found("the state", None, state)
    }

    fn names(&mut self, state: Option<&State>) {
        let (mut names, mut sum) = (Map::default(), Sum::default());
        let read = self.read(|| {
            self.tables.names(&mut |name, record| {
                sum.add_name(name, record);
                names.insert(record, Arc::from(name));
                Ok(())
            })
        });
        self.report.records = names.len() as u64;
        self.names = names;
        if self.found("the names", Some(0), read).is_some()
            && let Some(state) = state
            && sum != state.names
        {
            let what = format!(
                "{} were stored and {} are there, or some have changed",
                state.names.count(),
                sum.count()
            );
            self.report.add("the names", what, Some(0));
        }
    }

    fn writers(&mut self, state: Option<&State>) {
        let Some(state) = state else { return };
        let checked = self.read(|| check_writers(self.engine, self.tables, state));
        self.found("the writers", Some(0), checked);
    }

    /// The runs in order of arrival, and whether they are listed.
    fn runs(&mut self, state: Option<&State>) -> Vec<(Run, bool)> {
        let listed = self.read(|| self.tables.runs());
        let mut runs = self.found("the runs", None, listed).unwrap_or_default();
        let mut sum = Sum::default();
        runs.iter().for_each(|run| sum.add_run(run));
        let mut unlisted = Vec::new();
        if let Some(state) = state
            && sum != state.runs
        {
            let what = format!(
                "{} were stored and {} are there, or some have changed",
                state.runs.count(),
                sum.count()
            );
            self.report.add("the runs", what, None);
            let ids: Set<_> = runs.iter().map(|run| run.id).collect();
            for id in (1..state.next_run).filter(|id| !ids.contains(id)) {
                let order = RunOrder { head: id, part: 0 };
                let (rows, bytes) = (u64::from(u32::MAX), MOST_BYTES);
                let run = Run { id, order, rows, first: 0, last: u64::MAX, bytes, sealed: true };
                if self.read(|| self.tables.block(id, 0)).is_ok_and(|block| block.is_some()) {
                    unlisted.push(run);
                }
            }
        }
        self.report.runs = runs.len() as u64;
        runs.sort_unstable_by_key(|run| run.order);
        let listed = runs.into_iter().map(|run| (run, true));
        listed.chain(unlisted.into_iter().map(|run| (run, false))).collect()
    }

    fn run(&mut self, run: &Run, is_listed: bool) -> Result<()> {
        if !is_listed {
            self.report.add(format!("run {}", run.id), "it is not in the table of runs", Some(0));
            return self.blocks_without_index(run);
        }
        let index = self.read(|| self.caches.read_index(self.tables, run));
        let place = format!("run {}, index", run.id);
        let lost = if self.visit.is_some() { Some(0) } else { Some(run.rows) };
        let Some(index) = self.found(&place, lost, index) else {
            return if self.visit.is_some() { self.blocks_without_index(run) } else { Ok(()) };
        };
        if self.visit.is_none() {
            self.report.rows += run.rows;
            return Ok(());
        }
        for number in 0..index.blocks() {
            let rows = index.block_rows(number).len() as u64;
            let place = place_of(run, number);
            let encoded = self.read(|| self.caches.encoded_block(self.tables, run, &index, number));
            let Some(encoded) = self.found(&place, Some(rows), encoded) else { continue };
            let block = self.read(|| self.caches.decode_block(&index, number, &encoded));
            let Some(block) = self.found(&place, Some(rows), block) else { continue };
            let sound = self.read(|| self.caches.check_statistics(&encoded));
            self.found(&place, Some(0), sound);
            self.block(&block)?;
        }
        Ok(())
    }

    /// The blocks of a run whose index or entry is lost, up to the first that is missing.
    fn blocks_without_index(&mut self, run: &Run) -> Result<()> {
        let before = self.report.rows;
        for number in 0.. {
            let block =
                self.read(|| self.caches.read_block_without_index(self.tables, run, number));
            match block {
                Ok(None) => break,
                Ok(Some(block)) => self.block(&block)?,
                Err(error) => {
                    self.report.add(place_of(run, number), &error, None);
                    // A page that cannot be read at all may be asked for again and again.
                    if number == u32::MAX
                        || !matches!(self.tables.block(run.id, number), Ok(Some(_)))
                    {
                        break;
                    }
                }
            }
        }
        let read = self.report.rows - before;
        if run.rows < u64::from(u32::MAX) && read < run.rows {
            self.report.add(format!("run {}", run.id), "blocks are missing", Some(run.rows - read));
        }
        Ok(())
    }

    fn head(&mut self, state: Option<&State>) -> Result<()> {
        // Without a state, whatever is there.
        let mut state = state.copied().unwrap_or(State::FIRST);
        let (first, last) = match state.head_bounds() {
            Some(bounds) => bounds,
            None if state == State::FIRST => {
                state.largest_block = MOST_BYTES;
                (0, i64::MAX as u64 - 1)
            }
            None => return Ok(()),
        };
        let mut stored = Vec::new();
        let read = self.read(|| {
            self.tables.head(first..=last, &mut |number, block| {
                stored.push((number, block.to_vec()));
                Ok(())
            })
        });
        if self.found("the head", None, read).is_none() && last < i64::MAX as u64 - 1 {
            // What comes behind a page that is lost.
            let behind = stored.last().map_or(first, |(number, _)| number + 1);
            for number in behind..=last {
                // Each that is missing is reported below.
                drop(self.read(|| {
                    self.tables.head(number..=number, &mut |number, block| {
                        stored.push((number, block.to_vec()));
                        Ok(())
                    })
                }));
            }
        }
        let mut next = first;
        for (number, block) in stored {
            self.missing_head(&state, next, number);
            next = number + 1;
            let block = head::decode(self.engine, &state, number, &block);
            let place = format!("head, block {number}");
            if let Some(block) = self.found(&place, None, block) {
                self.block(&block)?;
            }
        }
        self.missing_head(&state, next, last + 1);
        Ok(())
    }

    fn missing_head(&mut self, state: &State, next: u64, number: u64) {
        if state.head_bounds().is_some() && next < number {
            let place = format!("head, blocks {next} to {}", number - 1);
            self.report.add(place, "they are missing", None);
        }
    }

    fn block(&mut self, block: &Block) -> Result<()> {
        self.report.blocks += 1;
        self.report.rows += block.len() as u64;
        let mut rows = Vec::with_capacity(block.len());
        for (record, stored_at, json) in block.iter() {
            let name = match self.names.get(&record) {
                Some(name) => name.clone(),
                None => {
                    if self.orphans.insert(record) {
                        let what = "its rows have no name any more";
                        self.report.add(format!("record {record}"), what, Some(0));
                    }
                    let name: Arc<str> = format!("lost+found::{record}").into();
                    self.names.insert(record, name.clone());
                    name
                }
            };
            rows.push(RawRow::new(name, json.into(), stored_at));
        }
        match &mut self.visit {
            Some(visit) => visit(rows),
            None => Ok(()),
        }
    }
}

/// A frame may be this large where nothing says how large it can be.
const MOST_BYTES: u64 = 1 << 30;

fn place_of(run: &Run, number: u32) -> String {
    format!("run {}, block {number}", run.id)
}
