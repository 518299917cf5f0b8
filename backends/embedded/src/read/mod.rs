//! The read path.
//!
//! Enters: a pattern, a window of time, a limit and an order, or an aggregate. Leaves: pages of rows or
//! buckets, in order, from one state of the store. A query takes a snapshot ([`View`]), merges the head
//! and the runs record by record ([`RecordMerge`]), and collects pages ([`Scan`]). An aggregate reads the
//! same blocks without making rows ([`Aggregation`]). Decoded run indexes and blocks are cached for all
//! readers ([`Caches`]). A predicate is tested on columns where that is possible ([`Filter`]). Between two
//! [steps](Steps) a stream holds its snapshot, under a lease if there is a time limit ([`Leases`]).

mod aggregate;
mod cache;
mod cursor;
mod filter;
mod fold;
mod leases;
mod merge;
mod names;
mod recent;
mod scan;
mod step_blocks;
mod stretch;
mod view;

use std::sync::Arc;

use annals_core::Result;
use tokio::sync::Semaphore;

pub(crate) use aggregate::Aggregation;
pub(crate) use cache::{Caches, Runs};
pub(crate) use filter::Filter;
pub(crate) use leases::{Lease, Leases};
pub(crate) use merge::RecordMerge;
pub(crate) use names::NameList;
pub(crate) use scan::Scan;
pub(crate) use view::View;

/// Work that a stream does step by step.
pub(crate) trait Steps<S>: Send + 'static {
    /// What a step returns.
    type Item: Send;

    /// Takes a step; `None` at the end. `readers` limits the threads that read, of which this is one.
    fn step(&mut self, view: &View<S>, readers: &Arc<Semaphore>) -> Result<Option<Self::Item>>;
}
