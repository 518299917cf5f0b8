//! The cases, a file per section of the contract. BATCH, CONCURRENT and FOLLOW have several, and `many` is
//! about large numbers in any section.

use crate::case::Case;
use crate::contract::Clause;
use crate::random;

mod aggregate;
mod aggregate_buckets;
mod aggregate_functions;
mod aggregate_held;
mod aggregate_many;
mod aggregate_random;
mod atomic;
mod batch;
mod cancel;
mod cleanup;
mod concurrent;
mod correct;
mod durable;
mod erase;
mod executor;
mod filter;
mod follow;
mod follow_edits;
mod follow_from;
mod latest;
mod many;
mod name;
mod pattern;
mod processes;
mod query;
mod range;
mod record;
mod retain;
mod thin;
mod time;
mod typed;
mod value;

/// All cases, in the order of the contract.
pub(crate) fn all() -> Vec<Case> {
    let files: &[&[Case]] = &[
        name::CASES,
        pattern::CASES,
        value::CASES,
        time::CASES,
        query::CASES,
        range::CASES,
        latest::CASES,
        typed::CASES,
        filter::CASES,
        aggregate::CASES,
        aggregate_buckets::CASES,
        aggregate_functions::CASES,
        aggregate_held::CASES,
        aggregate_many::CASES,
        aggregate_random::CASES,
        follow::CASES,
        follow_from::CASES,
        follow_edits::CASES,
        batch::CASES,
        atomic::CASES,
        many::CASES,
        cleanup::CASES,
        retain::CASES,
        erase::CASES,
        correct::CASES,
        durable::CASES,
        record::CASES,
        thin::CASES,
        concurrent::CASES,
        processes::CASES,
        cancel::CASES,
        executor::CASES,
        random::CASES,
    ];
    let mut cases = files.concat();
    let place =
        |case: &Case| Clause::all().iter().position(|clause| clause.id() == case.clause_id());
    cases.sort_by_cached_key(place);
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_clause_has_a_case_and_every_case_a_clause() {
        for clause in Clause::all() {
            let has_case = all().iter().any(|case| case.clause_id() == clause.id());
            assert!(has_case, "{} has no case", clause.id());
        }
        for case in all() {
            assert!(case.clause().is_some(), "{} is named after no clause", case.name());
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = all().iter().map(Case::name).collect();
        assert_eq!(names.len(), all().len());
    }
}
