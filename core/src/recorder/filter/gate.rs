//! What one record's filter has seen, and how it judges the next value.

use super::rules::Facts;
use crate::json::JsonText;

/// The filter of one record.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The last value that passed, with its time.
    reference: Option<(Facts, u64)>,
    /// The time of the last recorded value.
    recorded_at: Option<u64>,
    /// The greatest time of a value, recorded or not.
    seen_at: u64,
    /// The value that waits until the minimum interval is over.
    held: Option<(JsonText, u64)>,
    /// The place in the queue of the last recorded value.
    pub(crate) last_seq: Option<u64>,
}

/// What happens with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is recorded.
    Pass,
    /// It is recorded, and too old to compare others with.
    Late,
    /// It waits until the minimum interval is over.
    Hold,
    Filter(Reason),
}

/// Why a value is filtered out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Implausible,
    Unchanged,
    DeadBand,
    Interval,
}

impl Gate {
    pub(crate) fn judge(&self, facts: &Facts, at: u64) -> Judgement {
        let rules = &facts.rules;
        if facts.refused {
            return Judgement::Filter(Reason::Implausible);
        }
        if at < self.seen_at {
            return Judgement::Late;
        }
        if let Some((reference, passed_at)) = &self.reference
            && rules.heartbeat.is_none_or(|heartbeat| at - passed_at < heartbeat)
        {
            if !rules.change(reference, facts) {
                return Judgement::Filter(Reason::Unchanged);
            }
            if !rules.leaves_bands(reference, facts) {
                return Judgement::Filter(Reason::DeadBand);
            }
        }
        if self.is_too_soon(facts, self.recorded_at, at) {
            return Judgement::Hold;
        }
        Judgement::Pass
    }

    /// Takes note of a judgement that was carried out, with the value if it is to be held. Returns
    /// whether it replaced the one that was held.
    pub(crate) fn commit(
        &mut self,
        judgement: Judgement,
        facts: Facts,
        at: u64,
        value: Option<JsonText>,
    ) -> bool {
        match judgement {
            Judgement::Filter(Reason::Implausible) => return false,
            Judgement::Filter(_) => {
                self.seen_at = at;
                return false;
            }
            Judgement::Late => {
                self.reference = None;
                return false;
            }
            Judgement::Hold | Judgement::Pass => {}
        }
        self.seen_at = at;
        self.reference = Some((facts, at));
        let replaced = self.held.take().is_some();
        if judgement == Judgement::Hold {
            self.held = value.map(|value| (value, at));
        } else {
            self.recorded_at = Some(at);
        }
        replaced
    }

    /// The held value if it is due before a value that was judged so, at this time.
    pub(crate) fn release(
        &mut self,
        judgement: Judgement,
        facts: &Facts,
        at: u64,
    ) -> Option<(JsonText, u64)> {
        let since = match judgement {
            Judgement::Pass => self.held.as_ref().map(|(_, held_at)| *held_at),
            Judgement::Filter(_) => self.recorded_at,
            Judgement::Late | Judgement::Hold => return None,
        };
        if self.is_too_soon(facts, since, at) { None } else { self.release_now() }
    }

    /// The held value; it counts as recorded.
    pub(crate) fn release_now(&mut self) -> Option<(JsonText, u64)> {
        let (value, at) = self.held.take()?;
        self.recorded_at = Some(at);
        Some((value, at))
    }

    /// Takes a stored value for the last one that passed, unless there has been another.
    pub(crate) fn resume(&mut self, facts: Facts, at: u64) {
        if self.seen_at == 0 && self.reference.is_none() {
            self.reference = Some((facts, at));
            self.recorded_at = Some(at);
            self.seen_at = at;
        }
    }

    /// The row at this place in the queue will not be stored: nothing may be compared with it.
    pub(crate) fn forget(&mut self, seq: Option<u64>) {
        if seq.is_none() || self.last_seq == seq {
            self.recorded_at = None;
            // A held value is still to be stored.
            if self.held.is_none() {
                self.reference = None;
            }
        }
    }

    fn is_too_soon(&self, facts: &Facts, since: Option<u64>, at: u64) -> bool {
        let interval = facts.rules.min_interval;
        since.zip(interval).is_some_and(|(since, interval)| at.saturating_sub(since) < interval)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::recorder::filter::{Filter, Rules};

    /// What is recorded of values at times, and what is held at the end.
    fn sifted(filter: &Filter, values: &[(u64, &str)]) -> (Vec<(u64, String)>, Option<u64>) {
        let rules = Arc::new(Rules::new(filter).unwrap());
        let mut gate = Gate::default();
        let mut recorded = Vec::new();
        for (at, json) in values {
            let text = JsonText::from_text(*json, 1000).unwrap();
            let facts = Facts::of(&rules, json);
            let judgement = gate.judge(&facts, *at);
            if let Some((held, held_at)) = gate.release(judgement, &facts, *at) {
                recorded.push((held_at, held.to_string()));
            }
            if matches!(judgement, Judgement::Pass | Judgement::Late) {
                recorded.push((*at, (*json).to_owned()));
            }
            gate.commit(judgement, facts, *at, Some(text));
        }
        (recorded, gate.held.map(|(_, at)| at))
    }

    fn times(filter: &Filter, values: &[(u64, &str)]) -> Vec<u64> {
        sifted(filter, values).0.into_iter().map(|(at, _)| at).collect()
    }

    const MS10: Duration = Duration::from_millis(10);

    #[test]
    fn on_change_records_the_first_of_equal_values() {
        let values = [(0, "1"), (1, "1.0"), (2, "2"), (3, "2"), (4, "1")];
        assert_eq!(times(&Filter::new().on_change(), &values), [0, 2, 4]);
    }

    #[test]
    fn a_dead_band_is_around_the_last_value_that_passed() {
        let values = [(0, "1"), (1, "1.4"), (2, "1.5"), (3, "1.6"), (4, "null"), (5, "1.6")];
        assert_eq!(times(&Filter::new().dead_band("", 0.5), &values), [0, 3, 4, 5]);
        let values = [(0, "100"), (1, "101"), (2, "99"), (3, "102"), (4, "101"), (5, "-102")];
        assert_eq!(times(&Filter::new().relative_dead_band("", 0.01), &values), [0, 3, 5]);
        let both = Filter::new().dead_band("a", 1.0).dead_band("b", 1.0);
        let values = [(0, r#"{"a":1,"b":1}"#), (1, r#"{"a":2,"b":1}"#), (2, r#"{"a":2,"b":9}"#)];
        assert_eq!(times(&both, &values), [0, 2]);
    }

    #[test]
    fn a_heartbeat_lets_what_did_not_change_pass() {
        let filter = Filter::new().on_change().dead_band("", 1.0).heartbeat(MS10);
        let values: Vec<(u64, &str)> = (0..25).map(|at| (at, "1")).collect();
        assert_eq!(times(&filter, &values), [0, 10, 20]);
    }

    #[test]
    fn an_implausible_value_leaves_no_trace() {
        let filter = Filter::new().within("", 0.0..=5.0).on_change();
        let values = [(0, "1"), (1, "99"), (2, "1"), (3, "\"x\""), (4, "5")];
        assert_eq!(times(&filter, &values), [0, 3, 4]);
    }

    #[test]
    fn a_minimum_interval_keeps_the_last_value_that_lasted() {
        let filter = Filter::new().min_interval(MS10);
        let steady: Vec<(u64, &str)> = (0..35).map(|at| (at, "1")).collect();
        assert_eq!(sifted(&filter, &steady), {
            let recorded = [0, 10, 20, 30].map(|at| (at, "1".to_owned())).to_vec();
            (recorded, Some(34))
        });
        // The value at 3 was the current one for 17 ms.
        let values = [(0, "1"), (2, "2"), (3, "3"), (20, "4")];
        assert_eq!(times(&filter, &values), [0, 3, 20]);
    }

    #[test]
    fn a_held_value_is_what_changes_are_compared_with() {
        let filter = Filter::new().on_change().min_interval(MS10);
        // Back to the first value within the interval: that is what is held.
        let values = [(0, "1"), (2, "2"), (4, "1"), (6, "1")];
        assert_eq!(sifted(&filter, &values), (vec![(0, "1".to_owned())], Some(4)));
        // A repetition releases it when the interval is over.
        let values = [(0, "1"), (2, "2"), (10, "2"), (11, "2")];
        assert_eq!(times(&filter, &values), [0, 2]);
    }

    #[test]
    fn a_late_value_is_recorded_and_the_next_one_is_too() {
        let values = [(5, "1"), (9, "1"), (7, "1"), (10, "1"), (11, "1")];
        assert_eq!(times(&Filter::new().on_change(), &values), [5, 7, 10]);
    }
}
