//! Values of series at steps, from the library's aggregates.
//!
//! - A selection without a range is the newest sample that is not older than the look-back: buckets
//!   of one step with their last sample, carried on, and the newest row before the first step.
//! - A range is a window before each step. Buckets as wide as the greatest common divisor of step
//!   and window are combined, so the rows are read once. Quantiles cannot be combined: their buckets
//!   are the windows, in as many passes as windows overlap.
//!
//! Windows are open at their start and closed at their end, as in Prometheus 3: `(t − 5m, t]`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use annals_core::aggregate::{BucketColumns, BucketValue, Member};
use annals_core::{Aggregate, Fill, Function, PersistenceBackend, QueryExt, QueryParams};
use futures::StreamExt;

use super::answer::Answer;
use super::buckets::Buckets;
use super::leaf::{Leaf, Question, Range};
use super::problem::Problem;
use super::select::{Selection, Selector};
use super::stage::{Labels, Series};
use super::steps::Steps;
use super::windows::{carried, quantiles, windows};

/// What a query reads.
pub(super) struct Evaluation<'a> {
    pub(super) history: &'a Arc<dyn PersistenceBackend>,
    pub(super) steps: Steps,
    /// In milliseconds.
    pub(super) lookback: i64,
    pub(super) max_series: usize,
}

/// Samples by record, for one member.
type Newest = HashMap<Arc<str>, (u64, f64)>;

impl Evaluation<'_> {
    /// Sends every series of `leaf` to `answer`, by member and then by record.
    pub(super) async fn run(&self, leaf: &Leaf, answer: &mut Answer) -> Result<(), Problem> {
        let window = match &leaf.range {
            Some(range) => range.bounds(&self.steps),
            None => (self.since(), self.steps.end().max(0) as u64),
        };
        let selector = &leaf.selector;
        let history = self.history.as_ref();
        let selection = selector.find(history, window, self.max_series, false).await?;
        let (seen, by_member) = (selection.seen, by_member(selection));
        for (member, records) in by_member {
            match &leaf.range {
                Some(range) => {
                    self.range(selector, range, &member, (seen, records), answer).await?;
                }
                None => self.newest(selector, &member, (seen, records), answer).await?,
            }
        }
        Ok(())
    }

    /// The first millisecond of the look-back of the first step.
    fn since(&self) -> u64 {
        self.steps.start.saturating_sub(self.lookback).saturating_add(1).max(0) as u64
    }

    async fn newest(
        &self,
        selector: &Selector,
        member: &Arc<str>,
        (seen, records): (usize, Vec<Arc<str>>),
        answer: &mut Answer,
    ) -> Result<(), Problem> {
        let steps = self.steps;
        let newest = self.newest_at_start(selector, member, &records).await?;
        let values = |record: &Arc<str>, buckets: Option<&BucketColumns>| {
            carried(newest.get(record).copied(), buckets, &steps, self.lookback)
        };
        if steps.count == 1 {
            for record in records {
                let values = values(&record, None);
                answer.push(series(true, member, record, values)).await?;
            }
            return Ok(());
        }
        let aggregate = Aggregate::every(Duration::from_millis(steps.step.unsigned_abs()))
            .origin(steps.start + 1)
            .member(member)
            .range((steps.start + 1).max(0) as u64, steps.end().max(0) as u64)
            .functions([Function::Last, Function::LastAt]);
        let pattern = selector.pattern();
        let asked = vec![aggregate];
        let mut buckets = Buckets::ask(self.history, pattern, seen, records, asked).await?;
        while let Some(next) = buckets.next().await {
            let (record, buckets) = next?;
            let values = values(&record, buckets.first().and_then(Option::as_ref));
            answer.push(series(true, member, record, values)).await?;
        }
        Ok(())
    }

    /// The newest samples at the first step that are not older than the look-back: those in the
    /// newest rows, or before them where these have none.
    async fn newest_at_start(
        &self,
        selector: &Selector,
        member: &str,
        records: &[Arc<str>],
    ) -> Result<Newest, Problem> {
        let (from, to) = (self.since(), self.steps.start.max(0) as u64);
        let place = Member::parse(member)?;
        let (mut newest, mut without) = (Newest::new(), Vec::new());
        let mut take = |record: Arc<str>, at: u64, json: &str| match place.read(json) {
            Ok(Some(value)) => {
                newest.insert(record, (at, value));
            }
            _ => without.push(record),
        };
        let params = QueryParams::latest(1).with_start_time(from).with_end_time(to);
        let pattern = match records {
            [only] => only,
            _ => selector.pattern(),
        };
        let mut rows = self.history.query_stream(pattern, params).await?;
        while let Some(row) = rows.next().await.transpose()? {
            if records.binary_search(&row.record).is_ok() {
                take(row.record, row.stored_at, &row.json);
            }
        }
        let last = Aggregate::new().member(member).range(from, to);
        let last = last.functions([Function::Last, Function::LastAt]);
        for record in without {
            let buckets = self.history.aggregate(&record, &last).await?;
            let Some(bucket) = buckets.first() else { continue };
            if let (Some(at), Some(value)) = (bucket.get("last_at"), bucket.get("last")) {
                newest.insert(record, (at as u64, value));
            }
        }
        Ok(newest)
    }

    async fn range(
        &self,
        selector: &Selector,
        range: &Range,
        member: &Arc<str>,
        (seen, records): (usize, Vec<Arc<str>>),
        answer: &mut Answer,
    ) -> Result<(), Problem> {
        let question = range.question(&self.steps, member)?.ok_or_else(|| {
            let text = "quantile_over_time over windows that overlap more than a hundred times: \
                        choose a greater step or a smaller range";
            Problem::TooMuch(text.to_owned())
        })?;
        let asked = match &question {
            Question::Windows { passes, .. } => passes.clone(),
            Question::Combined { aggregate } if range.sample.is_counter() => {
                vec![aggregate.clone(), before(range.bounds(&self.steps).0, member)]
            }
            Question::Combined { aggregate } => vec![aggregate.clone()],
        };
        let pattern = selector.pattern();
        let mut buckets = Buckets::ask(self.history, pattern, seen, records, asked).await?;
        while let Some(next) = buckets.next().await {
            let (record, answers) = next?;
            let values = match (&question, &answers[..]) {
                (Question::Windows { function, .. }, passes) => {
                    quantiles(passes, function, &self.steps, range)
                }
                (Question::Combined { .. }, [Some(buckets), rest @ ..]) => {
                    let before = rest.first().and_then(|before| last(before.as_ref()?));
                    windows(buckets, before, &self.steps, range)
                }
                (Question::Combined { .. }, _) => continue,
            };
            answer.push(series(range.sample.keeps_name(), member, record, values)).await?;
        }
        Ok(())
    }
}

/// Asks for the last sample before `from`, with one seek per record.
fn before(from: u64, member: &str) -> Aggregate {
    let before = from.saturating_sub(1);
    let aggregate = Aggregate::new().member(member).range(before, before).now(u64::MAX);
    aggregate.fill(Fill::Previous).functions([Function::Last])
}

/// The last sample that the first bucket tells.
fn last(buckets: &BucketColumns) -> Option<f64> {
    let last = buckets.values(&Function::Last)?.first()?;
    last.map(BucketValue::as_f64)
}

fn series(named: bool, member: &Arc<str>, record: Arc<str>, values: Vec<Option<f64>>) -> Series {
    let member = Some(member.clone()).filter(|member| !member.is_empty());
    Series { labels: Labels { named, member, record: Some(record) }, values }
}

/// The records of each member, in byte order of both.
fn by_member(selection: Selection) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut members: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for found in selection.found {
        for member in found.members {
            members.entry(member).or_default().push(found.record.clone());
        }
    }
    members
}
