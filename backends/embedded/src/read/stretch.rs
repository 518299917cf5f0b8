//! The rows of one record as stretches of blocks and segments.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use annals_core::aggregate::{Plan, Series};
use annals_core::{MAX_TIMESTAMP, Order, Result};

use super::{Filter, RecordMerge, View};
use crate::engine::Snapshot;
use crate::format::RunIndex;
use crate::head::Segment;
use crate::ids::{RecordId, Run};

/// The rows of a record that are to be computed.
pub(super) enum Rows {
    /// In order of time. There may be none.
    Stretches(VecDeque<Stretch>),
    /// From runs or segments whose times overlap.
    Overlapping(Box<RecordMerge>),
}

/// Adjacent rows of one record.
pub(super) struct Stretch {
    pub(super) place: Place,
    pub(super) rows: Range<usize>,
}

pub(super) enum Place {
    Block { index: Arc<RunIndex>, run: Run, number: u32 },
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

impl Rows {
    /// The rows of a record in a window of time.
    pub(super) fn new<S: Snapshot>(
        view: &View<S>,
        record: RecordId,
        window: (u64, u64),
        filter: Option<&Arc<Filter>>,
    ) -> Result<Self> {
        let mut parts = parts(view, record, window)?;
        parts.sort_unstable_by_key(|part| (part.first, part.arrival));
        let in_order = parts.windows(2).all(|pair| match pair {
            [one, next] => (one.last, one.arrival) < (next.first, next.arrival),
            _ => true,
        });
        if in_order {
            return Ok(Self::Stretches(stretches(view, parts)));
        }
        let merge = RecordMerge::new(view, record, window, Order::OldestFirst)?;
        Ok(Self::Overlapping(Box::new(merge.with_filter(filter.cloned()))))
    }
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
        let (mut next, run) = (rows.start as u32, view.runs[arrival]);
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

/// Whether a row counts. Text that is no longer JSON satisfies no predicate.
fn satisfies(plan: &Plan, json: &str) -> bool {
    plan.predicate().is_none_or(|predicate| predicate.test(json).unwrap_or(false))
}

/// Whether any row of a record counts, in the window or not.
pub(super) fn has_any<S: Snapshot>(
    view: &View<S>,
    record: RecordId,
    plan: &Plan,
    filter: Option<&Arc<Filter>>,
) -> Result<bool> {
    let rows = RecordMerge::new(view, record, (0, MAX_TIMESTAMP), Order::NewestFirst)?;
    let mut rows = rows.with_filter(filter.cloned());
    while let Some(next) = rows.next(view)? {
        if rows.is_chosen(&next) || satisfies(plan, rows.row(&next).1) {
            return Ok(true);
        }
        rows.advance(view, next)?;
    }
    Ok(false)
}

/// Feeds the last sample and the last state before the window, as far as they are needed. Returns whether
/// any rows before it count.
pub(super) fn feed_before<S: Snapshot>(
    view: &View<S>,
    record: RecordId,
    plan: &Plan,
    filter: Option<&Arc<Filter>>,
    series: &mut Series,
) -> Result<bool> {
    let (from, _) = plan.window();
    let window = (0, from.saturating_sub(1));
    let rows = RecordMerge::new(view, record, window, Order::NewestFirst)?;
    let mut rows = rows.with_filter(filter.cloned());
    let mut has_rows = false;
    let (mut needs_sample, mut needs_state) = (plan.needs_sample_before(), plan.needs().states);
    // From the newest to the oldest.
    let mut found: Vec<(u64, String)> = Vec::new();
    while (needs_sample || needs_state || !has_rows)
        && let Some(next) = rows.next(view)?
    {
        let (stored_at, json) = rows.row(&next);
        if !rows.is_chosen(&next) && !satisfies(plan, json) {
            rows.advance(view, next)?;
            continue;
        }
        has_rows = true;
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
