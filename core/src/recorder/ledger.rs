//! The account of every value, per record and in total.

use std::collections::HashMap;
use std::sync::Arc;

use super::stats::RecordStats;
use crate::error::PersistenceError;
use crate::name::RecordName;

/// Where a record's account is in the ledger. Accounts are never closed, so it stays good.
pub(super) type RecordId = usize;

/// What became of a value that was pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    Rejected,
    Dropped,
}

/// All accounts. One entry per allowed name that was ever used; names that are not allowed share
/// one account, so that a source of ever new ones does not fill the memory.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    total: RecordStats,
    accounts: Vec<Account>,
    by_name: HashMap<RecordName, RecordId>,
    invalid_names: RecordStats,
}

#[derive(Debug)]
struct Account {
    name: RecordName,
    stats: RecordStats,
}

impl Ledger {
    /// The record's account, opened if it is new.
    pub(super) fn open(&mut self, name: &str) -> Result<RecordId, PersistenceError> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(*id);
        }
        let name = RecordName::new(name)?;
        let id = self.accounts.len();
        self.by_name.insert(name.clone(), id);
        self.accounts.push(Account { name, stats: RecordStats::default() });
        Ok(id)
    }

    pub(super) fn name(&self, id: RecordId) -> RecordName {
        self.accounts[id].name.clone()
    }

    /// A value was taken into the queue.
    pub(super) fn accept(&mut self, id: RecordId) {
        self.change(Some(id), |stats| {
            stats.recorded += 1;
            stats.pending += 1;
        });
    }

    /// A value never got into the queue; `None` for a name that is not allowed.
    pub(super) fn refuse(&mut self, id: Option<RecordId>, fate: Fate) {
        self.change(id, |stats| {
            stats.recorded += 1;
            *counter(stats, fate) += 1;
        });
    }

    /// A pending value came to its end.
    pub(super) fn settle(&mut self, id: RecordId, fate: Fate) {
        self.change(Some(id), |stats| {
            stats.pending -= 1;
            *counter(stats, fate) += 1;
        });
    }

    /// All that is pending counts as dropped; returns how many.
    pub(super) fn abandon(&mut self) -> u64 {
        for account in &mut self.accounts {
            account.stats.dropped += std::mem::take(&mut account.stats.pending);
        }
        let pending = std::mem::take(&mut self.total.pending);
        self.total.dropped += pending;
        pending
    }

    pub(super) fn lose(&mut self, id: Option<RecordId>, values: u64) {
        self.change(id, |stats| stats.lost = stats.lost.saturating_add(values));
    }

    pub(super) fn total(&self) -> RecordStats {
        self.total
    }

    pub(super) fn invalid_names(&self) -> RecordStats {
        self.invalid_names
    }

    pub(super) fn account(&self, id: RecordId) -> RecordStats {
        self.accounts[id].stats
    }

    /// All accounts, unsorted: sorting is for whoever does not hold the lock.
    pub(super) fn accounts(&self) -> Vec<(Arc<str>, RecordStats)> {
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
