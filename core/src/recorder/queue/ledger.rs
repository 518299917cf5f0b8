//! The account of every value, per record and in total, with the filter of each record.

use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::Row;
use crate::error::PersistenceError;
use crate::json::JsonText;
use crate::name::RecordName;
use crate::recorder::filter::{Facts, Filters, Gate, Judgement, Reason, Rules};
use crate::recorder::stats::RecordStats;

/// Where a record's account is in the ledger. Accounts are never closed, so it stays good.
pub(crate) type RecordId = usize;

/// Which record a value is for.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    Name(&'a str),
    Id(RecordId),
}

/// The record of a row, and its place in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) record: RecordId,
    /// The place among all accepted rows.
    pub(crate) seq: u64,
}

/// What became of a value that was pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    Rejected,
    Dropped,
}

/// All accounts. One entry per allowed name that was ever used; names that are not allowed share
/// one account, so that a source of ever new ones does not fill the memory.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    filters: Filters,
    pub(crate) total: RecordStats,
    accounts: Vec<Account>,
    by_name: HashMap<RecordName, RecordId>,
    pub(crate) invalid_names: RecordStats,
}

#[derive(Debug)]
struct Account {
    name: RecordName,
    stats: RecordStats,
    /// `None` if every value is recorded.
    filter: Option<(Arc<Rules>, Gate)>,
}

impl Ledger {
    pub(super) fn new(filters: Filters) -> Self {
        Self { filters, ..Self::default() }
    }

    /// The record's account, opened if it is new.
    pub(crate) fn open(&mut self, target: Target<'_>) -> Result<RecordId, PersistenceError> {
        let name = match (self.find(target), target) {
            (Some(id), _) | (None, Target::Id(id)) => return Ok(id),
            (None, Target::Name(name)) => RecordName::new(name)?,
        };
        let id = self.accounts.len();
        let filter = self.filters.of(name.as_str()).map(|rules| (rules, Gate::default()));
        self.by_name.insert(name.clone(), id);
        self.accounts.push(Account { name, stats: RecordStats::default(), filter });
        Ok(id)
    }

    pub(crate) fn find(&self, target: Target<'_>) -> Option<RecordId> {
        match target {
            Target::Id(id) => Some(id),
            Target::Name(name) => self.by_name.get(name).copied(),
        }
    }

    pub(crate) fn name(&self, id: RecordId) -> RecordName {
        self.accounts[id].name.clone()
    }

    pub(crate) fn rules(&self, id: RecordId) -> Option<Arc<Rules>> {
        self.accounts[id].filter.as_ref().map(|(rules, _)| Arc::clone(rules))
    }

    /// Filters the record by `rules` from here on. A value that is held is released.
    pub(crate) fn set_rules(&mut self, id: RecordId, rules: Arc<Rules>) -> Option<Row> {
        let held = self.release(id);
        self.accounts[id].filter = Some((rules, Gate::default()));
        held
    }

    pub(crate) fn gate(&mut self, id: RecordId) -> Option<&mut Gate> {
        self.accounts[id].filter.as_mut().map(|(_, gate)| gate)
    }

    /// Judges a value of a filtered record, and releases the value that was held before it if that is
    /// due.
    pub(crate) fn judge(
        &mut self,
        id: RecordId,
        facts: &Facts,
        at: u64,
    ) -> (Judgement, Option<Row>) {
        let Some(gate) = self.gate(id) else { return (Judgement::Pass, None) };
        let judgement = gate.judge(facts, at);
        let held = gate.release(judgement, facts, at);
        (judgement, held.map(|held| self.released(id, held)))
    }

    /// A judgement was carried out; `value` is the one to hold, if it is.
    pub(crate) fn judged(
        &mut self,
        id: RecordId,
        (judgement, facts): (Judgement, Facts),
        at: u64,
        value: Option<JsonText>,
    ) {
        let Some(gate) = self.gate(id) else { return };
        let implausible = u64::from(facts.implausible());
        let replaced = gate.commit(judgement, facts, at, value);
        self.change(Some(id), |stats| {
            stats.implausible += implausible;
            if replaced {
                stats.held -= 1;
                stats.filtered.count(Reason::Interval);
            }
            match judgement {
                Judgement::Hold => stats.held += 1,
                Judgement::Filter(reason) => stats.filtered.count(reason),
                Judgement::Pass | Judgement::Late => {}
            }
        });
    }

    /// The record's held value, to be queued.
    fn release(&mut self, id: RecordId) -> Option<Row> {
        let held = self.gate(id)?.release_now()?;
        Some(self.released(id, held))
    }

    fn released(&mut self, id: RecordId, (value, stored_at): (JsonText, u64)) -> Row {
        self.change(Some(id), |stats| stats.held -= 1);
        Row { record: self.name(id), value, stored_at }
    }

    /// All held values, to be queued.
    pub(crate) fn release_all(&mut self) -> Vec<(Row, RecordId)> {
        if self.total.held == 0 {
            return Vec::new();
        }
        let ids = 0..self.accounts.len();
        ids.filter_map(|id| self.release(id).map(|row| (row, id))).collect()
    }

    /// A value was taken into the queue.
    pub(crate) fn accept(&mut self, origin: Origin) {
        if let Some(gate) = self.gate(origin.record) {
            gate.last_seq = Some(origin.seq);
        }
        self.change(Some(origin.record), |stats| {
            stats.recorded += 1;
            stats.pending += 1;
        });
    }

    /// A value never got into the queue; `None` for a name that is not allowed.
    pub(crate) fn refuse(&mut self, id: Option<RecordId>, fate: Fate) {
        self.change(id, |stats| {
            stats.recorded += 1;
            *counter(stats, fate) += 1;
        });
    }

    /// A pending value came to its end.
    pub(crate) fn resolve(&mut self, origin: Origin, fate: Fate) {
        if fate != Fate::Stored
            && let Some(gate) = self.gate(origin.record)
        {
            gate.forget(Some(origin.seq));
        }
        self.change(Some(origin.record), |stats| {
            stats.pending -= 1;
            *counter(stats, fate) += 1;
        });
    }

    /// All that is pending or held counts as dropped; returns how many.
    pub(crate) fn abandon(&mut self) -> u64 {
        for account in &mut self.accounts {
            account.stats.abandon();
        }
        self.total.abandon()
    }

    pub(crate) fn lose(&mut self, id: Option<RecordId>, values: u64) {
        self.change(id, |stats| stats.lost = stats.lost.saturating_add(values));
    }

    pub(crate) fn account(&self, id: RecordId) -> RecordStats {
        self.accounts[id].stats
    }

    /// All accounts, unsorted: the caller sorts them without the lock.
    pub(crate) fn accounts(&self) -> Vec<(Arc<str>, RecordStats)> {
        let shared = |account: &Account| (account.name.clone().into_shared(), account.stats);
        self.accounts.iter().map(shared).collect()
    }

    fn change(&mut self, id: Option<RecordId>, change: impl Fn(&mut RecordStats)) {
        change(&mut self.total);
        change(match id {
            Some(id) => &mut self.accounts[id].stats,
            None => &mut self.invalid_names,
        });
    }
}

fn counter(stats: &mut RecordStats, fate: Fate) -> &mut u64 {
    match fate {
        Fate::Stored => &mut stats.stored,
        Fate::Rejected => &mut stats.rejected,
        Fate::Dropped => &mut stats.dropped,
    }
}
