//! Buckets computed from blocks: plans the steps of one question.
//!
//! A step takes stretches of rows, each of one record in one block or segment, by record and then by
//! time. The records of a run come in the same order, so each of its blocks is decoded once. A large step
//! is divided between two threads.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use annals_core::aggregate::{Bucket, Plan, Series};
use annals_core::{Order, Result};
use tokio::sync::Semaphore;

use super::fold::{Decoded, Encoded, Fold, Source, Work};
use super::{RecordMerge, Steps, View};
use crate::Map;
use crate::engine::{RecordId, RunId, Snapshot};
use crate::format::RunIndex;
use crate::head::Segment;
use crate::tuning::Tuning;

/// Blocks are cached for questions about at most this many records with at most this many stretches each.
/// Larger questions would evict everything else.
const CACHED: usize = 16;

/// The position of a question. Between steps it holds the buckets of one record, or of all of them where
/// they are merged.
pub(crate) struct Aggregation {
    plan: Arc<Plan>,
    step_rows: usize,
    divided_rows: usize,
    records: std::vec::IntoIter<(RecordId, Arc<str>)>,
    few_records: bool,
    current: Option<Current>,
    /// All records, where they are merged.
    merged: Option<Series>,
    /// The blocks decoded last.
    decoded: Decoded,
}

/// The record being computed.
struct Current {
    name: Arc<str>,
    series: Series,
    rows: Rows,
    cached: bool,
}

/// Its remaining rows.
enum Rows {
    /// In order of time.
    Stretches(VecDeque<Stretch>),
    /// In runs or segments whose times overlap.
    Overlapping(Box<RecordMerge>),
}

/// Adjacent rows of one record.
struct Stretch {
    place: Place,
    rows: Range<usize>,
}

enum Place {
    Block { index: Arc<RunIndex>, run: RunId, number: u32 },
    Head(Arc<Segment>),
}

/// A record's rows within the window in one run or one segment.
struct Part {
    first: u64,
    last: u64,
    /// The position in order of arrival: runs first, then segments of the head.
    arrival: usize,
    rows: Range<usize>,
    index: Option<Arc<RunIndex>>,
}

impl<S: Snapshot> Steps<S> for Aggregation {
    type Item = Vec<Bucket>;

    /// Returns the buckets that the step has completed.
    fn step(&mut self, view: &View<S>, readers: &Arc<Semaphore>) -> Result<Option<Vec<Bucket>>> {
        let (mut open, mut work, mut rows) = (Vec::new(), Vec::new(), 0);
        let mut fetched = Map::default();
        while rows < self.step_rows {
            let Some(mut current) = self.next_record(view)? else { break };
            let is_done = match &mut current.rows {
                Rows::Stretches(left) => {
                    while rows < self.step_rows
                        && let Some(stretch) = left.pop_front()
                    {
                        rows += stretch.rows.len();
                        let source = match stretch.place {
                            Place::Head(segment) => Source::Head(segment),
                            Place::Block { index, run, number } => self.fetch(
                                view,
                                &mut fetched,
                                index,
                                (run, number),
                                current.cached,
                            )?,
                        };
                        work.push(Work { series: open.len(), source, rows: stretch.rows });
                    }
                    left.is_empty()
                }
                Rows::Overlapping(merge) => {
                    let before = rows;
                    while rows - before < self.step_rows
                        && let Some(next) = merge.next(view)?
                    {
                        let (stored_at, json) = merge.row(&next);
                        current.series.row(stored_at, json)?;
                        merge.advance(view, next)?;
                        rows += 1;
                    }
                    rows - before < self.step_rows
                }
            };
            open.push(current);
            if !is_done {
                break;
            }
        }
        self.fold(view, &mut open, work, rows, readers)?;
        self.complete(open, rows)
    }
}

impl Aggregation {
    pub(crate) fn new<S: Snapshot>(
        view: &View<S>,
        plan: Arc<Plan>,
        tuning: &Tuning,
    ) -> Result<Self> {
        let records = view.tables()?.records(plan.pattern())?;
        Ok(Self {
            step_rows: tuning.step_rows.max(1),
            divided_rows: tuning.divided_rows.max(2),
            few_records: records.len() <= CACHED,
            records: records.into_iter(),
            current: None,
            merged: plan.merges().then(|| Series::merged(plan.clone())),
            decoded: Decoded::default(),
            plan,
        })
    }

    /// The record that is not finished, or the next one that has an answer.
    fn next_record<S: Snapshot>(&mut self, view: &View<S>) -> Result<Option<Current>> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        while let Some((record, name)) = self.records.next() {
            if let Some(begun) = self.begin(view, record, name)? {
                return Ok(Some(begun));
            }
        }
        Ok(None)
    }

    fn begin<S: Snapshot>(
        &self,
        view: &View<S>,
        record: RecordId,
        name: Arc<str>,
    ) -> Result<Option<Current>> {
        let plan = &self.plan;
        let mut series = Series::new(plan.clone(), name.clone());
        let has_before = plan.needs_before() && feed_before(view, record, plan, &mut series)?;
        let mut parts = parts(view, record, plan.window())?;
        if parts.is_empty() && !has_before {
            let is_listed = plan.needs_all_records() && view.summary(record)?.is_some();
            if !is_listed {
                return Ok(None);
            }
        }
        parts.sort_unstable_by_key(|part| (part.first, part.arrival));
        let in_order = parts.windows(2).all(|pair| match pair {
            [one, next] => (one.last, one.arrival) < (next.first, next.arrival),
            _ => true,
        });
        let rows = if in_order {
            Rows::Stretches(stretches(view, parts))
        } else {
            let merge = RecordMerge::new(view, record, plan.window(), Order::OldestFirst)?;
            Rows::Overlapping(Box::new(merge))
        };
        let is_short = matches!(&rows, Rows::Stretches(all) if all.len() <= CACHED);
        Ok(Some(Current { name, series, rows, cached: self.few_records && is_short }))
    }

    /// Reads a block from the snapshot, encoded unless it is at hand.
    fn fetch<S: Snapshot>(
        &self,
        view: &View<S>,
        fetched: &mut Map<(RunId, u32), Source>,
        index: Arc<RunIndex>,
        (run, number): (RunId, u32),
        cached: bool,
    ) -> Result<Source> {
        if let Some(source) = fetched.get(&(run, number)) {
            return Ok(source.clone());
        }
        let source = match self.decoded.get(&run) {
            Some((last, block)) if *last == number => Source::Block(block.clone()),
            _ if cached => Source::Block(view.caches.block(view.tables()?, run, &index, number)?),
            _ => {
                let bytes = view.caches.encoded_block(view.tables()?, run, number)?;
                Source::Encoded(Arc::new(Encoded { run, number, index, bytes }))
            }
        };
        fetched.insert((run, number), source.clone());
        Ok(source)
    }

    /// Computes the step's work, on two threads if it is large and a reader is free.
    fn fold<S: Snapshot>(
        &mut self,
        view: &View<S>,
        open: &mut Vec<Current>,
        work: Vec<Work>,
        rows: usize,
        readers: &Arc<Semaphore>,
    ) -> Result<()> {
        let second = if rows >= self.divided_rows { readers.try_acquire().ok() } else { None };
        let fold = Fold { plan: &self.plan, caches: &view.caches };
        let mut series: Vec<Series> = Vec::with_capacity(open.len());
        let mut rest = Vec::with_capacity(open.len());
        for Current { name, series: own, rows, cached } in open.drain(..) {
            series.push(own);
            rest.push((name, rows, cached));
        }
        let cut = second.as_ref().and(cut(&work, rows, self.plan.needs().samples));
        match cut {
            None => self.decoded = fold.all(&mut series, 0, work)?,
            Some(cut) => {
                let mut work = work;
                let later_work = work.split_off(cut);
                let shared = work[cut - 1].series == later_work[0].series;
                let first = later_work[0].series;
                let mut later = series.split_off(first + usize::from(shared));
                if shared {
                    later.insert(0, Series::new(self.plan.clone(), rest[first].0.clone()));
                }
                let (earlier, decoded) = thread::scope(|scope| {
                    let other = scope.spawn(|| fold.all(&mut later, first, later_work));
                    let earlier = fold.all(&mut series, 0, work);
                    (earlier, other.join())
                });
                earlier?;
                self.decoded = decoded.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                let mut later = later.into_iter();
                if shared && let (Some(own), Some(rest)) = (series.last_mut(), later.next()) {
                    own.merge(rest)?;
                }
                series.extend(later);
            }
        }
        for (series, (name, rows, cached)) in series.into_iter().zip(rest) {
            open.push(Current { name, series, rows, cached });
        }
        Ok(())
    }

    /// The buckets of all records but the last, if that has rows left.
    fn complete(&mut self, mut open: Vec<Current>, rows: usize) -> Result<Option<Vec<Bucket>>> {
        if rows >= self.step_rows {
            // It may have rows left. If not, the next step finds that out.
            self.current = open.pop();
        }
        if open.is_empty() && self.current.is_none() {
            return Ok(match self.merged.take() {
                Some(merged) => Some(merged.finish()?).filter(|buckets| !buckets.is_empty()),
                None => None,
            });
        }
        let mut buckets = Vec::new();
        for Current { series, .. } in open {
            match &mut self.merged {
                Some(merged) => merged.merge(series)?,
                None => buckets.extend(series.finish()?),
            }
        }
        Ok(Some(buckets))
    }
}

/// Where to divide a step in two, if that is possible. With `whole`, no record is divided: the samples
/// of its first and last bucket would be held.
fn cut(work: &[Work], rows: usize, whole: bool) -> Option<usize> {
    let mut before = 0;
    let half = work.iter().position(|work| {
        before += work.rows.len();
        before * 2 >= rows
    })?;
    let mut cut = half + 1;
    while whole && cut < work.len() && work[cut].series == work[cut - 1].series {
        cut += 1;
    }
    (cut < work.len()).then_some(cut)
}

/// The parts of a record's rows, in order of arrival.
fn parts<S: Snapshot>(
    view: &View<S>,
    record: RecordId,
    (from, to): (u64, u64),
) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (arrival, run) in view.runs.iter().enumerate() {
        if run.first > to || run.last < from {
            continue;
        }
        let index = view.run_index(arrival)?;
        let Some(extent) = index.find(record) else { continue };
        if extent.first > to || extent.last < from {
            continue;
        }
        let start = match from.checked_sub(1) {
            Some(before) => view.rows_up_to(arrival, &index, extent, before)?,
            None => 0,
        };
        let end = view.rows_up_to(arrival, &index, extent, to)?;
        let rows = (extent.first_row + start) as usize..(extent.first_row + end) as usize;
        if !rows.is_empty() {
            let (first, last) = (extent.first.max(from), extent.last.min(to));
            parts.push(Part { first, last, arrival, rows, index: Some(index) });
        }
    }
    for (segment, at) in view.head.iter().zip(view.runs.len()..) {
        let all = segment.rows_of(record);
        let start = from.checked_sub(1).map_or(0, |time| segment.rows_up_to(all.clone(), time));
        let end = segment.rows_up_to(all.clone(), to);
        let rows = all.start + start..all.start + end;
        if !rows.is_empty() {
            let (first, last) = (segment.time(rows.start), segment.time(rows.end - 1));
            parts.push(Part { first, last, arrival: at, rows, index: None });
        }
    }
    Ok(parts)
}

/// Cuts parts at the ends of blocks.
fn stretches<S: Snapshot>(view: &View<S>, parts: Vec<Part>) -> VecDeque<Stretch> {
    let mut stretches = VecDeque::new();
    for Part { arrival, rows, index, .. } in parts {
        let Some(index) = index else {
            let segment = view.head[arrival - view.runs.len()].clone();
            stretches.push_back(Stretch { place: Place::Head(segment), rows });
            continue;
        };
        let (mut next, run) = (rows.start as u32, view.runs[arrival].id);
        while (next as usize) < rows.end {
            let number = index.block_of(next);
            let block = index.block_rows(number);
            let end = block.end.min(rows.end as u32);
            let place = Place::Block { index: index.clone(), run, number };
            let rows = (next - block.start) as usize..(end - block.start) as usize;
            stretches.push_back(Stretch { place, rows });
            next = end;
        }
    }
    stretches
}

/// Feeds the last sample and the last state before the window, as far as they are needed. Returns whether
/// there are any rows before it.
fn feed_before<S: Snapshot>(
    view: &View<S>,
    record: RecordId,
    plan: &Plan,
    series: &mut Series,
) -> Result<bool> {
    let (from, _) = plan.window();
    let window = (0, from.saturating_sub(1));
    let mut rows = RecordMerge::new(view, record, window, Order::NewestFirst)?;
    let mut has_rows = false;
    let (mut needs_sample, mut needs_state) = (plan.needs_sample_before(), plan.needs().states);
    // From the newest to the oldest.
    let mut found: Vec<(u64, String)> = Vec::new();
    while (needs_sample || needs_state || !has_rows)
        && let Some(next) = rows.next(view)?
    {
        has_rows = true;
        let (stored_at, json) = rows.row(&next);
        let is_sample = needs_sample && matches!(plan.member().read(json), Ok(Some(_)));
        let is_state = needs_state && matches!(plan.member().is_present(json), Ok(true));
        if is_sample || is_state {
            found.push((stored_at, json.to_owned()));
        }
        needs_sample &= !is_sample;
        needs_state &= !is_state;
        rows.advance(view, next)?;
    }
    for (stored_at, json) in found.iter().rev() {
        series.row(*stored_at, json)?;
    }
    Ok(has_rows)
}
