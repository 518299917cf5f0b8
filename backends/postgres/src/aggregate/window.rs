//! Where the rows of a window are: what the records have within it, before it and around it.
//!
//! Every statement here seeks, and only asks of partitions and chunks outside the window what an answer
//! cannot do without: whether a record has rows at all, and its last sample before the window.

use std::collections::HashSet;

use annals_core::Result;
use annals_core::aggregate::Sample;

use super::Answer;
use crate::net::{int8, int8s};
use crate::read::Named;

/// The times that some records have in the window.
pub(super) struct Reach {
    /// The first and the last time that rows of the window can have.
    pub(super) times: (i64, i64),
    /// The first and the last time of all their rows, where these were looked at.
    all: Option<(i64, i64)>,
}

impl Answer<'_> {
    /// `None`: no row is in the window.
    pub(super) async fn reach(&self, ids: &Vec<i64>) -> Result<Option<Reach>> {
        let (from, to) = self.plan.window();
        let (from, to) = (from.cast_signed(), to.cast_signed());
        // Other partitions stay untouched. A single table is asked for all times: that costs no more,
        // and tells how much of it the window is.
        let is_divided = self.layout.kind().is_divided_by_time();
        let (start, end) = if is_divided { (from, to) } else { (0, i64::MAX) };
        let select = self.layout.bounds(self.sql);
        let row = self.session.query_one(&select, &[int8s(ids), int8(&start), int8(&end)]).await?;
        let (Some(first), Some(last)) = (row.get::<_, Option<i64>>(0), row.get(1)) else {
            return Ok(None);
        };
        let times = (from.max(first), i64::min(to, last));
        let all = (!is_divided).then_some((first, last));
        Ok((times.0 <= times.1).then_some(Reach { times, all }))
    }

    /// Whether the window has most of the time of the records or, where the history is divided by time,
    /// most of the time of the parts that it reaches into.
    pub(super) async fn is_most(&self, reach: &Reach) -> Result<bool> {
        let (start, end) = reach.times;
        if let Some((first, last)) = reach.all {
            return Ok((end - start) / 2 >= (last - first) / 4);
        }
        let parts = self.layout.parts(self.sql, self.session).await?;
        let (from, to) = self.plan.window();
        let (from, to) = (from.cast_signed(), to.cast_signed());
        let length = |first: i64, last: i64| i128::from(last) - i128::from(first) + 1;
        let (mut inside, mut all) = (0, 0);
        for part in parts.iter().filter(|part| part.first <= end && part.last >= start) {
            inside += length(part.first.max(from), part.last.min(to));
            all += length(part.first, part.last);
        }
        Ok(2 * inside >= all)
    }

    /// Which of the records have buckets even without rows in the window.
    pub(super) async fn existing(&self, ids: &Vec<i64>) -> Result<HashSet<i64>> {
        if !self.plan.needs_all_records() && !self.plan.needs_before() {
            return Ok(HashSet::new());
        }
        let select = self.layout.filter_records(self.sql, "EXISTS", "true");
        let rows = self.session.query(&select, &[int8s(ids)]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The last sample of a record before the window, if the plan needs it.
    pub(super) async fn before(&self, record: &Named) -> Result<Option<Sample>> {
        if !self.plan.needs_before() {
            return Ok(None);
        }
        let from = format!("{}.history WHERE record_id = $1 AND stored_at < $2", self.sql.schema);
        // Without the fence the server reads backwards from the window and stops at the first sample.
        // With it, or with an array of ids, it would read and sort all rows before the window.
        let samples = self.extract.unfenced().samples("stored_at, seq", &from);
        let select = format!(
            "SELECT stored_at, sample FROM ({samples}) AS samples \
             WHERE sample IS NOT NULL ORDER BY stored_at DESC, seq DESC LIMIT 1"
        );
        let start = self.plan.window().0.cast_signed();
        let found = self.session.query(&select, &[int8(&record.id), int8(&start)]).await?;
        let sample = found.first().map(|row| {
            let at = row.get::<_, i64>(0).cast_unsigned();
            Sample { at, value: row.get(1) }
        });
        Ok(sample)
    }
}
