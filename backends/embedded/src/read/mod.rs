//! The read path.
//!
//! Enters: a pattern, a window of time, a limit and an order. Leaves: pages of rows, in order, from
//! one state of the store. A query takes a snapshot ([`View`]), merges the head and the runs record
//! by record ([`RecordMerge`]), and collects pages ([`Scan`]). Decoded run indexes and blocks are
//! cached for all readers ([`Caches`]). Between two pages a stream holds its snapshot, under a lease
//! if there is a time limit ([`Leases`]).

mod cache;
mod leases;
mod merge;
mod scan;
mod view;

pub(crate) use cache::Caches;
pub(crate) use leases::{Lease, Leases};
pub(crate) use merge::RecordMerge;
pub(crate) use scan::{Page, Scan};
pub(crate) use view::{View, runs_in_order};
