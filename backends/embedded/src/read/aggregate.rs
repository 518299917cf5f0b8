//! Buckets computed from blocks: plans the steps of one question.
//!
//! A step takes stretches of rows, each of one record in one block or segment, by record and then by
//! time. The records of a run come in the same order, so each of its blocks is decoded once. A large step
//! is divided between two threads.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use annals_core::Result;
use annals_core::aggregate::{BucketPage, Plan, Series};
use tokio::sync::Semaphore;

use super::fold::{Encoded, Fold, Source, Work};
use super::recent::Recent;
use super::stretch::{Place, Rows, feed_before, has_any};
use super::{Filter, Steps, View};
use crate::Map;
use crate::engine::Snapshot;
use crate::format::RunIndex;
use crate::ids::{RecordId, Run, RunId};
use crate::tuning::Tuning;

/// Blocks are cached for questions about at most this many records with at most this many stretches each.
/// Larger questions would evict everything else.
const CACHED: usize = 16;

/// Records are added to a page until it has this many buckets. One record may have more.
const PAGE_BUCKETS: usize = 4_096;

/// The position of a question. Between steps it holds the buckets of one record, or of all of them where
/// they are merged.
pub(crate) struct Aggregation {
    plan: Arc<Plan>,
    step_rows: usize,
    divided_rows: usize,
    statistics_rows: usize,
    records: std::vec::IntoIter<(RecordId, Arc<str>)>,
    few_records: bool,
    filter: Option<Arc<Filter>>,
    current: Option<Current>,
    /// Records whose rows have all been read. Their buckets are made when they are asked for: filled, they
    /// may be a million for each.
    computed: VecDeque<Series>,
    /// All records, where they are merged.
    merged: Option<Series>,
    /// The blocks read last.
    recent: Recent,
}

/// The record being computed.
struct Current {
    name: Arc<str>,
    series: Series,
    rows: Rows,
    cached: bool,
}

impl<S: Snapshot> Steps<S> for Aggregation {
    type Item = BucketPage;

    /// Returns the buckets that the step has completed.
    fn step(&mut self, view: &View<S>, readers: &Arc<Semaphore>) -> Result<Option<BucketPage>> {
        if !self.computed.is_empty() {
            return self.finished().map(Some);
        }
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
                            Place::Block { index, run, number } => {
                                let asked = (&mut current.series, current.cached);
                                let block = (index, run, number);
                                self.fetch(view, &mut fetched, asked, block, &stretch.rows)?
                            }
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
                        rows += 1 + merge.count_passed();
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
        let records = view.records(plan.pattern())?;
        Ok(Self {
            step_rows: tuning.step_rows.max(1),
            divided_rows: tuning.divided_rows.max(2),
            statistics_rows: tuning.layout.statistics_rows,
            few_records: records.len() <= CACHED,
            records: records.into_iter(),
            current: None,
            computed: VecDeque::new(),
            filter: plan.predicate().cloned().map(Filter::new),
            merged: plan.merges().then(|| Series::merged(plan.clone())),
            recent: Recent::default(),
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
        let (plan, filter) = (&self.plan, self.filter.as_ref());
        let mut series = Series::new(plan.clone(), name.clone());
        if plan.predicate().is_some() && plan.needs_all_records() {
            if !has_any(view, record, plan, filter)? {
                return Ok(None);
            }
            series.exists();
        }
        let has_before =
            plan.needs_before() && feed_before(view, record, plan, filter, &mut series)?;
        let rows = Rows::new(view, record, plan.window(), filter)?;
        let has_rows = !matches!(&rows, Rows::Stretches(none) if none.is_empty());
        if !has_rows && !has_before {
            let is_listed = plan.needs_all_records() && view.summary(record)?.is_some();
            if !is_listed {
                return Ok(None);
            }
        }
        if let Rows::Stretches(all) = &rows {
            series.reserve_for(all.iter().map(|stretch| stretch.rows.len()).sum());
        }
        let is_short = matches!(&rows, Rows::Stretches(all) if all.len() <= CACHED);
        Ok(Some(Current { name, series, rows, cached: self.few_records && is_short }))
    }

    /// Reads the block of some rows from the snapshot, encoded unless it is at hand or its statistics, which
    /// are, answer for the rows.
    fn fetch<S: Snapshot>(
        &self,
        view: &View<S>,
        fetched: &mut Map<(RunId, u32), Source>,
        (series, cached): (&mut Series, bool),
        (index, run, number): (Arc<RunIndex>, Run, u32),
        rows: &Range<usize>,
    ) -> Result<Source> {
        let fold = self.fold_of(view);
        if fold.may_have_statistics(rows)
            && let Some(all) = self.recent.statistics(run.id, number)
            && fold.answer(series, all, rows).is_some()
        {
            return Ok(Source::Statistics(all.clone()));
        }
        if let Some(source) = fetched.get(&(run.id, number)) {
            return Ok(source.clone());
        }
        let source = match self.recent.block(run.id, number) {
            Some(ready) => Source::Ready(ready.clone()),
            None => match view.caches.cached_block(run.id, number).filter(|_| cached) {
                Some(block) => Source::Block(block),
                None => {
                    let bytes = view.caches.encoded_block(view.tables()?, &run, &index, number)?;
                    let run = run.id;
                    Source::Encoded(Arc::new(Encoded { cached, run, number, index, bytes }))
                }
            },
        };
        fetched.insert((run.id, number), source.clone());
        Ok(source)
    }

    fn fold_of<'a, S: Snapshot>(&'a self, view: &'a View<S>) -> Fold<'a> {
        let statistics_rows = self.statistics_rows;
        Fold { plan: &self.plan, caches: &view.caches, statistics_rows }
    }

    /// Computes the step's work, on two threads if it is large and a reader is free.
    fn fold<S: Snapshot>(
        &mut self,
        view: &View<S>,
        open: &mut [Current],
        mut work: Vec<Work>,
        rows: usize,
        readers: &Arc<Semaphore>,
    ) -> Result<()> {
        let fold = self.fold_of(view);
        let second = if rows >= self.divided_rows { readers.try_acquire().ok() } else { None };
        let Some(cut) = second.as_ref().and(cut(&work, rows, self.plan.needs().samples)) else {
            let mut all: Vec<&mut Series> = open.iter_mut().map(|one| &mut one.series).collect();
            let read = fold.all(&mut all, 0, work)?;
            self.recent.extend(read);
            return Ok(());
        };
        let later_work = work.split_off(cut);
        let first = later_work[0].series;
        // The record in the middle, if it is divided.
        let mut rest = (work[cut - 1].series == first)
            .then(|| Series::new(self.plan.clone(), open[first].name.clone()));
        let (earlier, later) = open.split_at_mut(first + usize::from(rest.is_some()));
        let mut earlier: Vec<&mut Series> = earlier.iter_mut().map(|one| &mut one.series).collect();
        let later = later.iter_mut().map(|one| &mut one.series);
        let mut later: Vec<&mut Series> = rest.iter_mut().chain(later).collect();
        let (earlier, later) = thread::scope(|scope| {
            let other = scope.spawn(|| fold.all(&mut later, first, later_work));
            (fold.all(&mut earlier, 0, work), other.join())
        });
        self.recent.extend(earlier?);
        self.recent.extend(later.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        match rest {
            Some(rest) => open[first].series.merge(rest),
            None => Ok(()),
        }
    }

    /// The buckets of all records but the last, if that has rows left.
    fn complete(&mut self, mut open: Vec<Current>, rows: usize) -> Result<Option<BucketPage>> {
        if rows >= self.step_rows {
            // It may have rows left. If not, the next step finds that out.
            self.current = open.pop();
        }
        if open.is_empty() && self.current.is_none() {
            return Ok(match self.merged.take() {
                Some(merged) => Some(merged.finish_page()?).filter(|page| !page.is_empty()),
                None => None,
            });
        }
        for Current { series, .. } in open {
            match &mut self.merged {
                Some(merged) => merged.merge(series)?,
                None => self.computed.push_back(series),
            }
        }
        self.finished().map(Some)
    }

    /// The next buckets of records that are computed.
    fn finished(&mut self) -> Result<BucketPage> {
        let (mut page, mut buckets) = (BucketPage::default(), 0);
        while buckets < PAGE_BUCKETS
            && let Some(series) = self.computed.pop_front()
        {
            let of_record = series.finish_page()?;
            buckets += of_record.len();
            page.append(of_record);
        }
        Ok(page)
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
