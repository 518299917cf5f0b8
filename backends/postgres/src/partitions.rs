//! PostgreSQL's own partitions: made ahead, and on demand for every other time.
//!
//! There is no DEFAULT partition: each new partition would have to search it, under a lock that
//! holds up readers, and its rows could only be deleted one by one.

use std::collections::BTreeMap;

use annals_core::{ErrorKind, PersistenceError};
use tokio_postgres::SimpleQueryMessage;

use crate::ddl::VACUUM;
use crate::engine::Engine;
use crate::error;
use crate::session::Session;
use crate::sql::{literal, quote};

/// From so many partitions on, new ones hold more than one interval: queries look into each, and a
/// flood of absurd times must not make a partition for each row.
const MANY: usize = 500;
/// Every so many further ones they hold [`FACTOR`] times as much.
const MORE: usize = 100;
const FACTOR: i64 = 16;

/// So many are made in one transaction: each takes a moment, and some of the server's room for locks.
const STEP: usize = 64;

/// The times that a partition holds: from the first on, up to but not including the second.
/// `None`: to the end of time.
type Range = (i64, Option<i64>);

/// A partition of the history.
pub(crate) struct Partition {
    /// With its schema, as an identifier.
    pub(crate) name: String,
    range: Range,
}

impl Partition {
    /// The last time it can hold.
    pub(crate) fn last(&self) -> i64 {
        self.range.1.map_or(i64::MAX, |to| to - 1)
    }
}

/// All partitions of a table of the schema.
pub(crate) async fn list(
    engine: &Engine,
    session: &Session,
    table: &str,
) -> Result<Vec<Partition>, PersistenceError> {
    let parent = literal(&format!("{}.{table}", engine.sql.schema));
    let select = format!(
        "SELECT n.nspname, c.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid) \
         FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE i.inhparent = {parent}::regclass ORDER BY c.oid"
    );
    let rows = session.run(session.client().query_typed(&select, &[])).await?;
    let partitions = rows.iter().filter_map(|row| {
        let name = format!("{}.{}", quote(row.get(0)), quote(row.get(1)));
        // One that is dropped meanwhile has no bound (`pg_get_expr` sees more than the snapshot).
        let bound: Option<&str> = row.get(2);
        // Somebody's DEFAULT partition has no range, and is left alone.
        Some(Partition { name, range: range(bound?)? })
    });
    Ok(partitions.collect())
}

/// From `FOR VALUES FROM ('0') TO ('1000')`.
fn range(bound: &str) -> Option<Range> {
    let (from, to) = bound.strip_prefix("FOR VALUES FROM (")?.split_once(") TO (")?;
    let value = |text: &str| text.trim_matches('\'').parse().ok();
    let from = if from == "MINVALUE" { 0 } else { value(from)? };
    let to = to.strip_suffix(')')?;
    Some((from, if to == "MAXVALUE" { None } else { Some(value(to)?) }))
}

/// Makes the partitions for now and the two intervals after it.
pub(crate) async fn make_ahead(engine: &Engine, session: &Session) -> Result<(), PersistenceError> {
    let select = format!(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, partition_interval \
         FROM {}.meta",
        engine.sql.schema
    );
    let row = session.run(session.client().query_typed_one(&select, &[])).await?;
    let (now, Some(interval)) = (row.get::<_, i64>(0), row.get::<_, Option<i64>>(1)) else {
        // Somebody else's partitions, who sees to them himself.
        return Ok(());
    };
    let times = (0..3).map(|ahead| now.saturating_add(interval.saturating_mul(ahead)));
    make(engine, session, &times.collect::<Vec<_>>()).await
}

/// Makes the partitions that rows of these times need, in transactions of their own: what a flood of
/// absurd times wants at once would exceed any limit, and begin anew with each attempt.
///
/// They are made as tables and attached: that lets stores and queries go on, where `PARTITION OF`
/// would lock them out.
pub(crate) async fn make(
    engine: &Engine,
    session: &Session,
    times: &[i64],
) -> Result<(), PersistenceError> {
    if covered(&ranges(list(engine, session, "history").await?), times) {
        return Ok(());
    }
    while !make_some(engine, session, times).await? {}
    Ok(())
}

/// Makes the next [`STEP`] of them. True: all are there.
async fn make_some(
    engine: &Engine,
    session: &Session,
    times: &[i64],
) -> Result<bool, PersistenceError> {
    let client = session.client();
    session.run(client.batch_execute(&engine.sql.begin_partitions)).await?;
    // Somebody else may have been first.
    let mut existing = ranges(list(engine, session, "history").await?);
    let interval = format!("SELECT partition_interval FROM {}.meta", engine.sql.schema);
    let answer = session.run(client.simple_query(&interval)).await?;
    let interval = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok().filter(|it| *it > 0),
        _ => None,
    });
    let mut all = true;
    match interval {
        Some(interval) => {
            let ranges = plan(interval, &mut existing, times);
            let some = &ranges[..ranges.len().min(STEP)];
            all = some.len() == ranges.len();
            session.run(client.batch_execute(&attach(engine, "history", some))).await?;
        }
        None if covered(&existing, times) => {}
        None => {
            let message = "no partition of the history takes these times, and annals did not \
                           partition it (`partition_interval` in the table meta is NULL)";
            session.run(client.batch_execute("ROLLBACK")).await?;
            return Err(error::own(session.operation(), ErrorKind::Config, message));
        }
    }
    session.run(client.batch_execute("COMMIT")).await?;
    Ok(all)
}

fn ranges(partitions: Vec<Partition>) -> BTreeMap<i64, Option<i64>> {
    partitions.into_iter().map(|partition| partition.range).collect()
}

fn covered(existing: &BTreeMap<i64, Option<i64>>, times: &[i64]) -> bool {
    times.iter().all(|time| covers(existing, *time))
}

fn covers(existing: &BTreeMap<i64, Option<i64>>, time: i64) -> bool {
    existing.range(..=time).next_back().is_some_and(|(_, to)| to.is_none_or(|to| time < to))
}

/// The ranges to be made so that all `times` are covered; they are added to `existing`.
pub(crate) fn plan(
    interval: i64,
    existing: &mut BTreeMap<i64, Option<i64>>,
    times: &[i64],
) -> Vec<Range> {
    let mut made = Vec::new();
    for time in times {
        if covers(existing, *time) {
            continue;
        }
        let width = width(interval, existing.len());
        let start = time - time % width;
        let below = existing.range(..=time).next_back().and_then(|(_, to)| *to);
        let from = below.map_or(start, |below| below.max(start));
        let above = existing.range(time..).next().map(|(from, _)| *from);
        let to = match (start.checked_add(width), above) {
            (Some(end), Some(above)) => Some(end.min(above)),
            (end, above) => end.or(above),
        };
        existing.insert(from, to);
        made.push((from, to));
    }
    made
}

/// How much a new partition holds when there are so many.
fn width(interval: i64, existing: usize) -> i64 {
    let steps = if existing < MANY { 0 } else { (existing - MANY) / MORE + 1 };
    let factor = FACTOR.saturating_pow(u32::try_from(steps).unwrap_or(u32::MAX));
    interval.saturating_mul(factor)
}

/// The statements that make partitions of these ranges.
pub(crate) fn attach(engine: &Engine, parent: &str, ranges: &[Range]) -> String {
    let s = &engine.sql.schema;
    let attach = ranges.iter().map(|(from, to)| {
        let end = to.map_or_else(|| "end".to_owned(), |to| to.to_string());
        let to = to.map_or_else(|| "MAXVALUE".to_owned(), |to| to.to_string());
        let name = format!("{s}.history_{from}_{end}");
        format!(
            "CREATE TABLE {name} (LIKE {s}.{parent} INCLUDING CONSTRAINTS INCLUDING INDEXES \
               INCLUDING STORAGE) {VACUUM}; \
             ALTER TABLE {s}.{parent} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to});"
        )
    });
    attach.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_read_as_postgresql_writes_it() {
        assert_eq!(range("FOR VALUES FROM ('0') TO ('1000')"), Some((0, Some(1000))));
        assert_eq!(range("FOR VALUES FROM ('5') TO (MAXVALUE)"), Some((5, None)));
        assert_eq!(range("FOR VALUES FROM (MINVALUE) TO ('7')"), Some((0, Some(7))));
        assert_eq!(range("DEFAULT"), None);
    }

    /// Whatever the times, the partitions never overlap, cover them, and stay bounded in number.
    #[test]
    fn partitions_cover_all_times_without_overlap() {
        for interval in [1, 7, 1_000, 86_400_000, i64::MAX] {
            let mut existing = BTreeMap::new();
            let mut time: i64 = 12_345;
            let mut times = vec![0, i64::MAX, i64::MAX - 1, 1, interval - 1, interval];
            for i in 0..20_000 {
                time = time.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i);
                times.push(time.wrapping_abs().max(0) >> (i % 63));
            }
            let made = plan(interval, &mut existing, &times);
            assert_eq!(made.len(), existing.len());
            assert!(made.len() < 4_500, "{} partitions for {interval}", made.len());
            assert!(times.iter().all(|time| covers(&existing, *time)));
            let mut end = Some(0);
            for (from, to) in &existing {
                assert!(end.is_some_and(|end| end <= *from), "{from} overlaps");
                assert!(to.is_none_or(|to| to > *from));
                end = *to;
            }
        }
    }

    #[test]
    fn a_partition_begins_at_a_multiple_of_the_interval() {
        let mut existing = BTreeMap::new();
        assert_eq!(plan(10, &mut existing, &[25, 29, 5]), [(20, Some(30)), (0, Some(10))]);
        assert_eq!(plan(10, &mut existing, &[15]), [(10, Some(20))]);
        let last = i64::MAX - i64::MAX % 10;
        assert_eq!(plan(10, &mut existing, &[i64::MAX]), [(last, None)]);
    }
}
