//! Rows of blocks and segments enter, in order of record and time; samples go into series.

use std::ops::Range;
use std::sync::Arc;

use annals_core::Result;
use annals_core::aggregate::{Plan, Series};

use super::Caches;
use super::recent::{Ready, Recent};
use crate::error::{corrupt, format_error};
use crate::format::{Block, Numbers, RunIndex, Statistics, Stretch, Verdict, Verdicts};
use crate::head::Segment;
use crate::ids::RunId;

/// Rows of one record.
pub(super) struct Work {
    /// The position of the record's series.
    pub(super) series: usize,
    pub(super) source: Source,
    pub(super) rows: Range<usize>,
}

/// What has the rows.
#[derive(Clone)]
pub(super) enum Source {
    Block(Arc<Block>),
    Ready(Ready),
    /// Statistics that answer for the rows.
    Statistics(Arc<[Statistics]>),
    Encoded(Arc<Encoded>),
    Head(Arc<Segment>),
}

/// A block that is still encoded.
pub(super) struct Encoded {
    /// Whether it is cached once it has been decoded.
    pub(super) cached: bool,
    pub(super) run: RunId,
    pub(super) number: u32,
    pub(super) index: Arc<RunIndex>,
    pub(super) bytes: Vec<u8>,
}

/// What statistics answer for rows.
pub(super) enum Answer<'a> {
    /// None satisfies the predicate.
    NoRows,
    /// All satisfy it, and these are their samples.
    Samples(&'a Statistics),
}

impl Answer<'_> {
    fn feed(self, series: &mut Series) -> Result<()> {
        match self {
            Self::NoRows => Ok(()),
            Self::Samples(found) => {
                series.partial((found.first, found.last), found.samples.clone())
            }
        }
    }
}

/// What a thread needs.
#[derive(Clone, Copy)]
pub(super) struct Fold<'a> {
    pub(super) plan: &'a Plan,
    pub(super) caches: &'a Caches,
    /// Fewer rows than this have no statistics.
    pub(super) statistics_rows: usize,
}

impl Fold<'_> {
    /// Does all work, whose first series is number `offset`. Returns what was read last.
    pub(super) fn all(
        self,
        series: &mut [&mut Series],
        offset: usize,
        work: Vec<Work>,
    ) -> Result<Recent> {
        let (mut recent, mut samples) = (Recent::default(), Samples::default());
        for Work { series: at, source, rows } in work {
            let series = &mut *series[at - offset];
            let ready = match source {
                Source::Head(segment) => {
                    self.feed(series, &*segment, rows, &mut samples)?;
                    continue;
                }
                Source::Block(block) => self.ready(block)?,
                Source::Ready(ready) => ready,
                Source::Statistics(all) => match self.answer(series, &all, &rows) {
                    Some(answer) => {
                        answer.feed(series)?;
                        continue;
                    }
                    None => return Err(corrupt(self.caches.engine, "statistics contradict rows")),
                },
                Source::Encoded(encoded) => {
                    if self.may_have_statistics(&rows) {
                        let all = self.statistics(&mut recent, &encoded)?;
                        if let Some(answer) = self.answer(series, &all, &rows) {
                            answer.feed(series)?;
                            continue;
                        }
                    }
                    self.decode(&mut recent, &encoded)?
                }
            };
            match ready {
                Ready::Block(block) => self.feed(series, &*block, rows, &mut samples)?,
                Ready::Numbers(ready) => match &*ready {
                    (numbers, None) => feed_numbers(series, numbers, rows)?,
                    (numbers, Some(verdicts)) => {
                        feed_chosen(series, numbers, verdicts, rows, &mut samples)?;
                    }
                },
            }
        }
        Ok(recent)
    }

    /// Whether a member's numbers are not enough: states read the values.
    fn needs_text(self) -> bool {
        self.plan.needs().states
    }

    /// The numbers of a block that is in columns.
    fn ready(self, block: Arc<Block>) -> Result<Ready> {
        if self.needs_text() {
            return Ok(Ready::Block(block));
        }
        let verdicts = match self.plan.predicate() {
            Some(predicate) => self.caches.verdicts(&block, predicate)?,
            None => None,
        };
        if !self.is_enough(verdicts.as_ref()) {
            return Ok(Ready::Block(block));
        }
        let numbers = block.numbers(self.plan.member());
        let numbers = numbers.map_err(|error| format_error(self.caches.engine, error))?;
        Ok(match numbers {
            Some(numbers) => Ready::Numbers(Arc::new((numbers, verdicts))),
            None => Ready::Block(block),
        })
    }

    /// Whether columns tell of each row whether it satisfies the predicate.
    fn is_enough(self, verdicts: Option<&Verdicts>) -> bool {
        let is_known = |all: &Verdicts| !all.of(0..all.len()).contains(&Verdict::Unknown);
        self.plan.predicate().is_none() || verdicts.is_some_and(is_known)
    }

    /// Whether a block may have statistics that help with these rows.
    pub(super) fn may_have_statistics(self, rows: &Range<usize>) -> bool {
        let can_help = self.plan.by_statistics() || self.plan.predicate().is_some();
        can_help && rows.len() >= self.statistics_rows
    }

    /// The statistics of a block.
    fn statistics(self, recent: &mut Recent, encoded: &Encoded) -> Result<Arc<[Statistics]>> {
        let Encoded { run, number, index, bytes, .. } = encoded;
        if let Some(known) = recent.statistics(*run, *number) {
            return Ok(known.clone());
        }
        let asked = (self.plan.member(), self.plan.predicate());
        let read: Arc<[_]> = self.caches.decode_statistics(index, *number, bytes, asked)?.into();
        recent.keep_statistics(*run, *number, read.clone());
        Ok(read)
    }

    /// What statistics answer for rows: if one bucket has all of the rows, or no row satisfies the predicate.
    pub(super) fn answer<'a>(
        self,
        series: &mut Series,
        all: &'a [Statistics],
        rows: &Range<usize>,
    ) -> Option<Answer<'a>> {
        let has = |one: &&Statistics| one.rows.start <= rows.start && rows.end <= one.rows.end;
        let found = all.iter().find(has)?;
        if found.verdict == Verdict::No {
            return Some(Answer::NoRows);
        }
        let is_all = found.rows == *rows && found.verdict == Verdict::Yes;
        (is_all && self.plan.by_statistics() && series.has_in_one_bucket(found.first, found.last))
            .then_some(Answer::Samples(found))
    }

    fn decode(self, recent: &mut Recent, encoded: &Encoded) -> Result<Ready> {
        let Encoded { run, number, index, bytes, cached } = encoded;
        if let Some(ready) = recent.block(*run, *number) {
            return Ok(ready.clone());
        }
        let numbers = if self.needs_text() || *cached {
            None
        } else {
            self.decode_numbers(index, *number, bytes)?
        };
        let ready = match numbers {
            Some(numbers) => Ready::Numbers(Arc::new(numbers)),
            None => {
                let block = Arc::new(self.caches.decode_block(index, *number, bytes)?);
                if *cached {
                    self.caches.cache_block(*run, *number, block.clone());
                    self.ready(block)?
                } else {
                    Ready::Block(block)
                }
            }
        };
        recent.keep_block(*run, *number, ready.clone());
        Ok(ready)
    }

    /// Reads the numbers of a block in columns, and which rows satisfy the predicate, if that is enough.
    fn decode_numbers(
        self,
        index: &RunIndex,
        number: u32,
        bytes: &[u8],
    ) -> Result<Option<(Numbers, Option<Verdicts>)>> {
        let rows = 0..index.block_rows(number).len();
        let verdicts = match self.plan.predicate() {
            Some(predicate) => {
                self.caches.decode_verdicts(index, number, bytes, predicate, rows)?
            }
            None => None,
        };
        if !self.is_enough(verdicts.as_ref()) {
            return Ok(None);
        }
        let numbers = self.caches.decode_numbers(index, number, bytes, self.plan.member())?;
        Ok(numbers.map(|numbers| (numbers, verdicts)))
    }

    /// Feeds adjacent rows to a series: their samples together, and others one by one.
    fn feed(
        self,
        series: &mut Series,
        source: &impl Samplable,
        rows: Range<usize>,
        samples: &mut Samples,
    ) -> Result<()> {
        if self.plan.needs().states {
            return rows.into_iter().try_for_each(|row| {
                let (stored_at, json) = source.row(row);
                series.row(stored_at, json)
            });
        }
        let mut rows = rows;
        while !rows.is_empty() {
            samples.clear();
            let end = source.samples(self.plan, rows.clone(), samples);
            series.samples(&samples.times, &samples.values)?;
            if end < rows.end {
                // No sample, or text that is not JSON, which the series reports.
                let (stored_at, json) = source.row(end);
                series.row(stored_at, json)?;
            }
            rows.start = end + 1;
        }
        Ok(())
    }
}

/// Feeds adjacent rows of a block in columns to a series.
fn feed_numbers(series: &mut Series, numbers: &Numbers, mut rows: Range<usize>) -> Result<()> {
    while !rows.is_empty() {
        let (stretch, length) = numbers.stretch(rows.clone());
        match stretch {
            Stretch::Samples(times, values) => series.samples(times, values)?,
            Stretch::NoSamples(times) => times.iter().try_for_each(|time| series.skip(*time))?,
            // The series reports it.
            Stretch::Unreadable(time, text) => series.row(time, text)?,
        }
        rows.start += length;
    }
    Ok(())
}

/// Feeds those adjacent rows of a block in columns to a series that satisfy the predicate. All of them are
/// known.
fn feed_chosen(
    series: &mut Series,
    numbers: &Numbers,
    verdicts: &Verdicts,
    mut rows: Range<usize>,
    samples: &mut Samples,
) -> Result<()> {
    while !rows.is_empty() {
        let (stretch, length) = numbers.stretch(rows.clone());
        let verdicts = verdicts.of(rows.start..rows.start + length);
        let is_chosen = |verdict: &Verdict| *verdict == Verdict::Yes;
        match stretch {
            Stretch::Samples(times, values) => {
                samples.clear();
                for ((time, value), verdict) in times.iter().zip(values).zip(verdicts) {
                    if is_chosen(verdict) {
                        samples.times.push(*time);
                        samples.values.push(*value);
                    }
                }
                series.samples(&samples.times, &samples.values)?;
            }
            Stretch::NoSamples(times) => {
                let chosen = times.iter().zip(verdicts).filter(|(_, verdict)| is_chosen(verdict));
                chosen.into_iter().try_for_each(|(time, _)| series.skip(*time))?;
            }
            // Of these nothing is known.
            Stretch::Unreadable(time, text) => series.row(time, text)?,
        }
        rows.start += length;
    }
    Ok(())
}

/// Samples and their times.
#[derive(Default)]
pub(super) struct Samples {
    times: Vec<u64>,
    values: Vec<f64>,
}

impl Samples {
    fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
}

/// Rows whose text is searched for samples.
trait Samplable {
    /// A row's time and text.
    fn row(&self, row: usize) -> (u64, &str);

    /// Appends the samples of adjacent rows that satisfy the predicate, up to the first of them without
    /// one, and returns that row or the end.
    fn samples(&self, plan: &Plan, rows: Range<usize>, samples: &mut Samples) -> usize {
        let end = rows.end;
        for row in rows {
            let (stored_at, json) = self.row(row);
            match plan.predicate().map(|predicate| predicate.test(json)) {
                None | Some(Ok(true)) => {}
                Some(Ok(false)) => continue,
                Some(Err(_)) => return row,
            }
            let Ok(Some(value)) = plan.member().read(json) else { return row };
            samples.times.push(stored_at);
            samples.values.push(value);
        }
        end
    }
}

impl Samplable for Block {
    fn row(&self, row: usize) -> (u64, &str) {
        (self.time(row), self.json(row))
    }
}

impl Samplable for Segment {
    fn row(&self, position: usize) -> (u64, &str) {
        (self.time(position), self.json(position))
    }
}
