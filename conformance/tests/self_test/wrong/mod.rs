//! Backends that break a clause: a file for each kind of call, with what is expected of each.

mod aggregates;
mod batches;
mod cleanups;
mod erasures;
mod filters;
mod follow;
mod journals;
mod partials;
mod patterns;
mod reads;
mod streams;
mod writes;

use crate::subject::Subject;
pub(crate) use writes::Values;

pub(crate) fn subjects() -> Vec<Subject> {
    let files = [
        // The first, since they take longest.
        journals::subjects(),
        reads::subjects(),
        streams::subjects(),
        patterns::subjects(),
        aggregates::subjects(),
        partials::subjects(),
        filters::subjects(),
        follow::subjects(),
        writes::subjects(),
        batches::subjects(),
        cleanups::subjects(),
        erasures::subjects(),
    ];
    files.into_iter().flatten().collect()
}
