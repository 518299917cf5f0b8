//! Creates partitions: ahead for the near future, and on demand for every other time.
//!
//! There is no DEFAULT partition: each new partition would have to search it under a lock that
//! blocks readers, and its rows could only be deleted one by one.

use std::collections::BTreeMap;

use annals_core::{ErrorKind, Result};

use super::parts::Part;
use crate::error;
use crate::net::Session;
use crate::sql::{Sql, VACUUM, quote};

/// From this many partitions on, new ones cover more than one interval: queries visit each, and a flood
/// of absurd times must not create a partition for each row.
const MANY: usize = 500;
/// Each time this many more exist, new ones cover [`FACTOR`] times as much.
const MORE: usize = 100;
const FACTOR: i64 = 16;

/// The most partitions created in one transaction: each takes time and space in the lock table.
const STEP: usize = 64;

/// The first time that a partition covers, and the first that it no longer covers. `None`: the end of
/// time.
type Range = (i64, Option<i64>);

/// Ranges by their first time.
type Ranges = BTreeMap<i64, Option<i64>>;

/// All partitions of a table of the schema.
pub(super) async fn list(sql: &Sql, session: &Session, table: &str) -> Result<Vec<Part>> {
    let parent = sql.relation(table);
    let select = format!(
        "SELECT n.nspname, c.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid) \
         FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE i.inhparent = {parent}::regclass ORDER BY c.oid"
    );
    let rows = session.query(&select, &[]).await?;
    let partitions = rows.iter().filter_map(|row| {
        let name = format!("{}.{}", quote(row.get(0)), quote(row.get(1)));
        // A partition dropped meanwhile has no bound (`pg_get_expr` sees more than the snapshot).
        let bound: Option<&str> = row.get(2);
        // A DEFAULT partition, which annals does not create, has no range and is left alone.
        let (first, to) = range(bound?)?;
        Some(Part { name, first, last: to.map_or(i64::MAX, |to| to - 1) })
    });
    Ok(partitions.collect())
}

/// Parses `FOR VALUES FROM ('0') TO ('1000')`.
fn range(bound: &str) -> Option<Range> {
    let (from, to) = bound.strip_prefix("FOR VALUES FROM (")?.split_once(") TO (")?;
    let value = |text: &str| text.trim_matches('\'').parse().ok();
    let from = if from == "MINVALUE" { 0 } else { value(from)? };
    let to = to.strip_suffix(')')?;
    Some((from, if to == "MAXVALUE" { None } else { Some(value(to)?) }))
}

/// Creates the partitions for now and for the next two intervals.
pub(super) async fn make_ahead(sql: &Sql, session: &Session) -> Result<()> {
    let select = format!(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, partition_interval \
         FROM {}.meta",
        sql.schema
    );
    let row = session.query_one(&select, &[]).await?;
    let (now, Some(interval)) = (row.get::<_, i64>(0), row.get::<_, Option<i64>>(1)) else {
        // An operator partitioned the table, and maintains the partitions.
        return Ok(());
    };
    let times = (0..3).map(|ahead| now.saturating_add(interval.saturating_mul(ahead)));
    make(sql, session, &times.collect::<Vec<_>>()).await
}

/// Creates the partitions that rows of these times need, in separate transactions: a flood of absurd
/// times would exceed the limits of one, and start over with each attempt.
///
/// A partition is created as a table and attached, which does not block stores and queries as
/// `PARTITION OF` does.
pub(crate) async fn make(sql: &Sql, session: &Session, times: &[i64]) -> Result<()> {
    if covered(&ranges(list(sql, session, "history").await?), times) {
        return Ok(());
    }
    while !make_some(sql, session, times).await? {}
    Ok(())
}

/// Creates the next [`STEP`] partitions. True: all of them exist.
async fn make_some(sql: &Sql, session: &Session, times: &[i64]) -> Result<bool> {
    session.execute(&sql.begin_partitions()).await?;
    // Another process may have been first.
    let mut existing = ranges(list(sql, session, "history").await?);
    let interval = format!("SELECT partition_interval FROM {}.meta", sql.schema);
    let interval = session.simple(&interval).await?.and_then(|interval| interval.parse().ok());
    let interval = interval.filter(|interval: &i64| *interval > 0);
    let mut all = true;
    match interval {
        Some(interval) => {
            let ranges = plan(interval, &mut existing, times);
            let some = &ranges[..ranges.len().min(STEP)];
            all = some.len() == ranges.len();
            session.execute(&attach(sql, "history", some)).await?;
        }
        None if covered(&existing, times) => {}
        None => {
            let message = "no partition of the history covers these times, and annals did not \
                           partition it (`partition_interval` in the table meta is NULL)";
            session.rollback().await?;
            return Err(error::own(session.operation(), ErrorKind::Config, message));
        }
    }
    session.execute("COMMIT").await?;
    Ok(all)
}

fn ranges(partitions: Vec<Part>) -> Ranges {
    let end = |last: i64| last.checked_add(1);
    partitions.into_iter().map(|part| (part.first, end(part.last))).collect()
}

fn covered(existing: &Ranges, times: &[i64]) -> bool {
    times.iter().all(|time| covers(existing, *time))
}

fn covers(existing: &Ranges, time: i64) -> bool {
    existing.range(..=time).next_back().is_some_and(|(_, to)| to.is_none_or(|to| time < to))
}

/// The ranges to create so that all `times` are covered; they are added to `existing`.
pub(super) fn plan(interval: i64, existing: &mut Ranges, times: &[i64]) -> Vec<Range> {
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

/// The milliseconds that a new partition covers, given the number of existing ones.
fn width(interval: i64, existing: usize) -> i64 {
    let steps = if existing < MANY { 0 } else { (existing - MANY) / MORE + 1 };
    let factor = FACTOR.saturating_pow(u32::try_from(steps).unwrap_or(u32::MAX));
    interval.saturating_mul(factor)
}

/// The statements that create partitions of these ranges.
pub(super) fn attach(sql: &Sql, parent: &str, ranges: &[Range]) -> String {
    let s = &sql.schema;
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
    fn bounds_are_parsed_as_postgresql_writes_them() {
        assert_eq!(range("FOR VALUES FROM ('0') TO ('1000')"), Some((0, Some(1000))));
        assert_eq!(range("FOR VALUES FROM ('5') TO (MAXVALUE)"), Some((5, None)));
        assert_eq!(range("FOR VALUES FROM (MINVALUE) TO ('7')"), Some((0, Some(7))));
        assert_eq!(range("DEFAULT"), None);
    }

    /// Whatever the times, the partitions cover them, never overlap, and are bounded in number.
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
    fn a_partition_starts_at_a_multiple_of_the_interval() {
        let mut existing = BTreeMap::new();
        assert_eq!(plan(10, &mut existing, &[25, 29, 5]), [(20, Some(30)), (0, Some(10))]);
        assert_eq!(plan(10, &mut existing, &[15]), [(10, Some(20))]);
        let last = i64::MAX - i64::MAX % 10;
        assert_eq!(plan(10, &mut existing, &[i64::MAX]), [(last, None)]);
    }
}
