//! Rows in one sorted vector: the plainest store that seeks instead of scanning, written without
//! anything of the reference's.

use std::sync::Arc;

use annals_core::{CleanupPlan, Order, Query, RawRow};

/// Rows by record and time; equal ones in order of arrival.
#[derive(Default)]
pub(crate) struct Shelf(pub(crate) Vec<RawRow>);

impl Shelf {
    pub(crate) fn insert(&mut self, row: RawRow) {
        let key = (&*row.record, row.stored_at);
        let place = self.0.partition_point(|other| (&*other.record, other.stored_at) <= key);
        self.0.insert(place, row);
    }

    pub(crate) fn select(&self, query: &Query) -> Vec<RawRow> {
        let mut selected = Vec::new();
        let mut rest = &self.0[..];
        while let Some(first) = rest.first() {
            let record = Arc::clone(&first.record);
            let end = rest.partition_point(|row| row.record <= record);
            let (rows, others) = rest.split_at(end);
            rest = others;
            if query.is_empty() || !query.pattern.matches(&record) {
                continue;
            }
            let from = rows.partition_point(|row| row.stored_at < query.from);
            let to = rows.partition_point(|row| row.stored_at <= query.to);
            let rows = &rows[from..to.max(from)];
            let limit = query.limit.map_or(rows.len(), |limit| rows.len().min(limit as usize));
            let newest = rows[rows.len() - limit..].iter().cloned();
            match query.order {
                Order::NewestFirst => selected.extend(newest.rev()),
                Order::OldestFirst => selected.extend(newest),
            }
        }
        selected
    }

    pub(crate) fn sweep(&mut self, plan: &CleanupPlan) -> u64 {
        let before = self.0.len();
        let mut newer = 0;
        let mut record: Arc<str> = "".into();
        // From the newest of each record on, so that the newest can be counted.
        let mut kept: Vec<RawRow> = Vec::new();
        for row in self.0.drain(..).rev() {
            if row.record != record {
                (record, newer) = (row.record.clone(), 0);
            }
            let expired = plan.last_removed(&row.record).is_some_and(|last| row.stored_at <= last);
            if !expired || newer < plan.keep_newest {
                kept.push(row);
            }
            newer = newer.saturating_add(1);
        }
        kept.reverse();
        self.0 = kept;
        (before - self.0.len()) as u64
    }
}
