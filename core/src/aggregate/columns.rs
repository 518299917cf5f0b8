//! The answer as columns: the buckets of one record without a [`Bucket`] for each.

use std::sync::Arc;

use super::bucket::{Bucket, BucketValue};
use super::function::Function;
use super::locator::Span;

/// The buckets of one record, column by column.
///
/// It has what a [`Bucket`] for each would have, in a fraction of the memory: an answer of millions of small buckets
/// is limited by memory rather than by arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketColumns {
    pub(super) record: Arc<str>,
    pub(super) functions: Arc<[Function]>,
    pub(super) spans: Vec<Span>,
    pub(super) counts: Vec<u64>,
    /// Empty if no bucket has skipped rows.
    pub(super) skipped: Vec<u64>,
    /// Empty if no bucket is filled.
    pub(super) filled: Vec<bool>,
    /// A column for each function.
    pub(super) values: Vec<Vec<Option<BucketValue>>>,
}

impl BucketColumns {
    /// The columns of buckets of one record, which answer one question. `None` if there are none.
    pub(super) fn from_buckets(buckets: Vec<Bucket>) -> Option<Self> {
        let first = buckets.first()?;
        let (record, functions) = (first.record.clone(), first.functions.clone());
        let spans = buckets.iter().map(|bucket| Span { start: bucket.start, end: bucket.end });
        let column = |at: usize| buckets.iter().map(|bucket| bucket.values[at]).collect();
        Some(Self {
            spans: spans.collect(),
            counts: buckets.iter().map(|bucket| bucket.count).collect(),
            skipped: buckets.iter().map(|bucket| bucket.skipped).collect(),
            filled: buckets.iter().map(|bucket| bucket.filled).collect(),
            values: (0..functions.len()).map(column).collect(),
            record,
            functions,
        })
    }

    /// The record's name.
    pub fn record(&self) -> &Arc<str> {
        &self.record
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no bucket.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// When each bucket begins and ends.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many samples each bucket has.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The results of a function. `None` if it was not asked for, and for [`Function::Count`] and
    /// [`Function::Skipped`].
    pub fn values(&self, function: &Function) -> Option<&[Option<BucketValue>]> {
        if matches!(function, Function::Count | Function::Skipped) {
            return None;
        }
        let column = self.functions.iter().position(|asked| asked == function)?;
        Some(&self.values[column])
    }

    /// Adds later buckets of the same record, which answer the same question.
    pub fn append(&mut self, mut later: Self) {
        let (own, all) = (self.len(), self.len() + later.len());
        if !(self.skipped.is_empty() && later.skipped.is_empty()) {
            self.skipped.resize(own, 0);
            self.skipped.append(&mut later.skipped);
            self.skipped.resize(all, 0);
        }
        if !(self.filled.is_empty() && later.filled.is_empty()) {
            self.filled.resize(own, false);
            self.filled.append(&mut later.filled);
            self.filled.resize(all, false);
        }
        self.spans.append(&mut later.spans);
        self.counts.append(&mut later.counts);
        let columns = self.values.iter_mut().zip(&mut later.values);
        columns.for_each(|(own, later)| own.append(later));
    }

    /// A bucket for each row.
    pub fn into_buckets(self) -> Vec<Bucket> {
        let bucket = |(at, span): (usize, &Span)| Bucket {
            record: self.record.clone(),
            start: span.start,
            end: span.end,
            count: self.counts[at],
            skipped: self.skipped.get(at).copied().unwrap_or_default(),
            filled: self.filled.get(at).copied().unwrap_or_default(),
            functions: self.functions.clone(),
            values: self.values.iter().map(|column| column[at]).collect(),
        };
        self.spans.iter().enumerate().map(bucket).collect()
    }
}

/// Buckets in the order of the answer, in one of two forms.
#[derive(Debug, Clone, PartialEq)]
pub enum BucketPage {
    /// One by one.
    Buckets(Vec<Bucket>),
    /// In columns, by record. None of them is empty.
    Columns(Vec<BucketColumns>),
}

impl BucketPage {
    /// How many buckets there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Buckets(buckets) => buckets.len(),
            Self::Columns(records) => records.iter().map(BucketColumns::len).sum(),
        }
    }

    /// Whether there is no bucket.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Buckets(buckets) => buckets.is_empty(),
            Self::Columns(records) => records.is_empty(),
        }
    }

    /// Adds the buckets of `later`, in columns if all of them are.
    pub fn append(&mut self, later: Self) {
        *self = match (std::mem::take(self), later) {
            (all, later) if all.is_empty() => later,
            (Self::Columns(mut all), Self::Columns(mut later)) => {
                all.append(&mut later);
                Self::Columns(all)
            }
            (all, later) => {
                let mut all = all.into_buckets();
                all.append(&mut later.into_buckets());
                Self::Buckets(all)
            }
        };
    }

    /// A [`Bucket`] for each.
    pub fn into_buckets(self) -> Vec<Bucket> {
        match self {
            Self::Buckets(buckets) => buckets,
            Self::Columns(records) => {
                records.into_iter().flat_map(BucketColumns::into_buckets).collect()
            }
        }
    }
}

impl Default for BucketPage {
    fn default() -> Self {
        Self::Buckets(Vec::new())
    }
}

impl From<Vec<Bucket>> for BucketPage {
    fn from(buckets: Vec<Bucket>) -> Self {
        Self::Buckets(buckets)
    }
}
