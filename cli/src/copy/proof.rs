//! What both ends of a copy have: a digest for each record.

use std::sync::Arc;

use annals::{PersistenceBackend, PersistenceError, QueryParams, forward_record};
use futures::StreamExt;
use serde::Serialize;
use twox_hash::XxHash3_128;

/// The rows of one record in their order: how many, the first and the last time, and a hash of all
/// times and values.
pub(super) struct Digest {
    pub(super) record: Arc<str>,
    pub(super) count: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    hash: XxHash3_128,
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let all = |digest: &Self| (digest.count, digest.first, digest.last, digest.hash());
        self.record == other.record && all(self) == all(other)
    }
}

impl Digest {
    pub(super) fn hash(&self) -> u128 {
        self.hash.finish_128()
    }
}

/// The digests of rows that come in the order of a query, oldest first.
#[derive(Default)]
pub(super) struct Digests {
    pub(super) records: Vec<Digest>,
    /// The number of rows whose text is not JSON. They have no digest.
    pub(super) unreadable: u64,
}

impl Digests {
    /// Adds a row with the canonical text of its value.
    pub(super) fn add(&mut self, record: &Arc<str>, stored_at: u64, value: &str) {
        if self.records.last().is_none_or(|last| last.record != *record) {
            let hash = XxHash3_128::new();
            let (record, first) = (record.clone(), stored_at);
            self.records.push(Digest { record, count: 0, first, last: first, hash });
        }
        if let Some(digest) = self.records.last_mut() {
            digest.count += 1;
            digest.last = stored_at;
            digest.hash.write(&stored_at.to_le_bytes());
            digest.hash.write(&(value.len() as u64).to_le_bytes());
            digest.hash.write(value.as_bytes());
        }
    }

    /// The digests of what a store has.
    ///
    /// # Errors
    /// As the query.
    pub(super) async fn of(
        store: &dyn PersistenceBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Self, PersistenceError> {
        let mut digests = Self::default();
        let mut rows = store.query_stream(pattern, params).await?;
        while let Some(row) = rows.next().await.transpose()? {
            if is_own(&row.record) {
                continue;
            }
            match canonical(&row.json) {
                Some(value) => digests.add(&row.record, row.stored_at, &value),
                None => digests.unreadable += 1,
            }
        }
        Ok(digests)
    }

    pub(super) fn rows(&self) -> u64 {
        self.records.iter().map(|digest| digest.count).sum()
    }
}

/// Whether a record is the program's own: how far a history was forwarded is true of that history only.
pub(super) fn is_own(record: &str) -> bool {
    // A short look first, for each row passes here.
    record.starts_with("annals.") && record.starts_with(&forward_record(""))
}

/// The text of a value that is the same for equal values: stores may keep them in different forms.
/// `None` if it is not JSON.
pub(super) fn canonical(json: &str) -> Option<String> {
    let mut value: serde_json::Value = serde_json::from_str(json).ok()?;
    // Another crate of the program may have serde_json keep the order of members.
    value.sort_all_objects();
    serde_json::to_string(&value).ok()
}

/// A record at both ends.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Compared {
    pub(super) record: Arc<str>,
    pub(super) count: u64,
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) hash: String,
    /// Whether the destination has exactly this.
    pub(super) agrees: bool,
    /// How many rows the destination has.
    pub(super) at_destination: u64,
}

/// Compares the records of both ends, in byte order of their names.
pub(super) fn compare(source: &Digests, destination: &Digests) -> Vec<Compared> {
    let (mut left, mut right) =
        (source.records.iter().peekable(), destination.records.iter().peekable());
    let mut compared = Vec::new();
    loop {
        let (from, to) = match (left.peek(), right.peek()) {
            (None, None) => return compared,
            (Some(a), Some(b)) if a.record == b.record => (left.next(), right.next()),
            (Some(a), Some(b)) if b.record < a.record => (None, right.next()),
            (None, Some(_)) => (None, right.next()),
            (Some(_), _) => (left.next(), None),
        };
        let Some(record) = from.or(to).map(|digest| digest.record.clone()) else {
            return compared;
        };
        compared.push(Compared {
            record,
            count: from.map_or(0, |digest| digest.count),
            first: from.map(|digest| digest.first),
            last: from.map(|digest| digest.last),
            hash: from.map_or(String::new(), |digest| format!("{:032x}", digest.hash())),
            agrees: from == to,
            at_destination: to.map_or(0, |digest| digest.count),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(rows: &[(&str, u64, &str)]) -> Digests {
        let mut digests = Digests::default();
        for (record, at, value) in rows {
            digests.add(&Arc::from(*record), *at, value);
        }
        digests
    }

    #[test]
    fn every_difference_is_found() {
        let rows = [("a", 1, "1"), ("a", 1, "2"), ("b", 5, "3")];
        let of = |other: &[(&str, u64, &str)]| {
            let compared = compare(&digests(&rows), &digests(other));
            compared.iter().map(|one| (one.record.to_string(), one.agrees)).collect::<Vec<_>>()
        };
        let said = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(of(&rows), said(true, true));
        assert_eq!(of(&[rows[1], rows[0], rows[2]]), said(false, true), "another order");
        assert_eq!(of(&[("a", 1, "1"), ("a", 2, "2"), rows[2]]), said(false, true), "another time");
        assert_eq!(of(&[("a", 1, "11"), ("a", 1, "2"), rows[2]]), said(false, true), "a value");
        assert_eq!(of(&rows[..2]), said(true, false), "a record is missing");
        let more = [rows[0], rows[1], ("aa", 1, "1"), rows[2]];
        let compared = compare(&digests(&rows), &digests(&more));
        assert_eq!(compared.len(), 3);
        assert_eq!((&*compared[1].record, compared[1].agrees), ("aa", false));
        assert_eq!((compared[1].count, compared[1].at_destination), (0, 1));
    }

    #[test]
    fn equal_values_have_one_text() {
        assert_eq!(
            canonical(" {\"b\": 1.50e+02, \"a\":\"\\u0041\"}"),
            canonical(r#"{"a":"A","b":150.0}"#)
        );
        assert_ne!(canonical("1"), canonical("1.0"));
        assert_eq!(canonical("{"), None);
    }
}
