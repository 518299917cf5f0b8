//! Reads the rows behind a number.

use std::collections::HashMap;
use std::sync::Arc;

use annals_core::{ErrorKind, FollowPage, FollowParams, Pattern, Position, RawRow, Result};
use futures::future::{join, try_join_all};
use tokio_postgres::types::Type;

use super::OPERATION;
use crate::engine::Engine;
use crate::error::{self, ENGINE};
use crate::net::{Parameter, Session, int8, int8s};
use crate::read::NamePages;
use crate::sql::Sql;

/// The first stretch of numbers that one statement looks at. Where there are no rows, the next is twice
/// as long.
const STRETCH: i64 = 1 << 16;
/// A pattern that matches more records than this is compared by the client.
const MOST_IDS: usize = 10_000;
/// How many statements run at once.
const PIPELINED: usize = 64;
/// The text of a page ends about here.
const PAGE_BYTES: i64 = 8 << 20;

/// The rows from `position` up to the number `settled`, as many as a page has. What is known of the
/// history may be older than the snapshot, so its identity is compared here as well.
pub(super) async fn read(
    engine: &Engine,
    pattern: &Pattern,
    params: &FollowParams,
    position: Position,
    settled: u64,
) -> Result<FollowPage> {
    let sql = &engine.schema.sql;
    let layout = engine.schema.ready(&engine.pools).await?;
    let session = engine.pools.reader(OPERATION).await?;
    let (begin, identity) = (
        sql.begin_read(&layout.read_lock(sql)),
        format!("SELECT history FROM {}.meta", sql.schema),
    );
    let client = session.client();
    let both = async {
        // Each future sends when it is first polled, and `join` polls in this order.
        let begin = client.batch_execute(&begin);
        let (begun, row) = join(begin, client.query_typed_one(&identity, &[])).await;
        begun.and(row)
    };
    let history: i64 = session.run(both).await?.get(0);
    if history.cast_unsigned() != position.history {
        return Err(position.cursor(ENGINE)?.of_another_history());
    }
    let wanted = Wanted::find(sql, &session, pattern).await?;
    let limit = i64::try_from(params.page_rows).unwrap_or(i64::MAX);
    let since = i64::try_from(position.since).unwrap_or(i64::MAX);
    let settled = settled.cast_signed();
    let mut after = position.arrival.cast_signed();
    let mut stretch = STRETCH;
    let mut numbers = Vec::new();
    let mut rows = Vec::new();
    while after < settled && rows.is_empty() && wanted.any() {
        let to = after.saturating_add(stretch).min(settled);
        stretch = stretch.saturating_mul(2);
        let mut parameters: Vec<Parameter<'_>> =
            vec![int8(&after), int8(&to), int8(&since), int8(&limit)];
        if let Some(ids) = &wanted.ids {
            parameters.push(int8s(ids));
        }
        let found = session.query(&select(sql, wanted.ids.is_some()), &parameters).await?;
        let unknown: Vec<i64> = found.iter().map(|row| row.get(1)).collect();
        let names = wanted.names(sql, &session, &unknown).await?;
        for row in &found {
            let number: i64 = row.get(0);
            let name = names.get(&row.get(1)).ok_or_else(no_name)?;
            if pattern.matches(name) {
                let stored_at = row.get::<_, i64>(2).cast_unsigned();
                rows.push(RawRow::new(name.clone(), row.get::<_, &str>(3).into(), stored_at));
                numbers.push(number.cast_unsigned());
            }
            after = number;
        }
        // Cut off by the limit or by the size, the rest comes with the next page.
        let all = found.first().map_or(0, |row| row.get::<_, i64>(4));
        if all == found.len() as i64 {
            after = to;
        }
    }
    if !wanted.any() {
        after = settled;
    }
    session.finish().await?;
    let at = move |arrival: u64| Position { arrival, ..position }.cursor(ENGINE);
    let page = FollowPage::new(rows, at(after.cast_unsigned())?, after >= settled);
    Ok(page.with_row_cursors(move |rows| {
        rows.checked_sub(1).and_then(|row| numbers.get(row)).and_then(|number| at(*number).ok())
    }))
}

/// The rows with numbers from `$1`, exclusive, to `$2`, at `$3` or later, at most `$4`, and at most about
/// as many bytes as a page has. The last column is how many there are without these two limits, or one
/// more than `$4`.
fn select(sql: &Sql, by_id: bool) -> String {
    let of_records = if by_id { "AND record_id = ANY ($5::bigint[])" } else { "" };
    format!(
        "SELECT seq, record_id, stored_at, value, found FROM (\
           SELECT *, row_number() OVER (ORDER BY seq) AS place, count(*) OVER () AS found, \
             sum(octet_length(value)) OVER (ORDER BY seq) - octet_length(value) AS before \
           FROM (\
             SELECT seq, record_id, stored_at, value FROM {}.history \
             WHERE seq > $1 AND seq <= $2 AND stored_at >= $3 {of_records} \
             ORDER BY seq LIMIT $4::bigint + 1) AS arrived) AS counted \
         WHERE place <= $4::bigint AND before < {PAGE_BYTES} ORDER BY seq",
        sql.schema
    )
}

/// The newest `newest` rows of each record, oldest first, of those with numbers up to `settled`.
pub(super) async fn latest(
    engine: &Engine,
    pattern: &Pattern,
    newest: usize,
    settled: u64,
) -> Result<Vec<RawRow>> {
    let mut rows = Vec::new();
    if !pattern.can_match() || newest == 0 {
        return Ok(rows);
    }
    let sql = &engine.schema.sql;
    let layout = engine.schema.ready(&engine.pools).await?;
    let session = engine.pools.reader(OPERATION).await?;
    session.execute(&sql.begin_read(&layout.read_lock(sql))).await?;
    // One record at a time, which every layout answers with a seek.
    let select = format!(
        "SELECT stored_at, value FROM (\
           SELECT stored_at, seq, value FROM {}.history WHERE record_id = $1 AND seq <= $2 \
           ORDER BY stored_at DESC, seq DESC LIMIT $3) AS newest ORDER BY stored_at, seq",
        sql.schema
    );
    let newest = i64::try_from(newest).unwrap_or(i64::MAX);
    let settled = settled.cast_signed();
    let mut pages = NamePages::new(sql, pattern.clone());
    loop {
        let names = pages.next(&session).await?;
        if names.is_empty() {
            session.finish().await?;
            return Ok(rows);
        }
        for names in names.chunks(PIPELINED) {
            let parameters: Vec<[Parameter<'_>; 3]> = names
                .iter()
                .map(|named| [int8(&named.id), int8(&settled), int8(&newest)])
                .collect();
            let client = session.client();
            let answers = parameters.iter().map(|values| client.query_typed(&select, values));
            for (named, found) in names.iter().zip(session.run(try_join_all(answers)).await?) {
                rows.extend(found.iter().map(|row| {
                    let stored_at = row.get::<_, i64>(0).cast_unsigned();
                    RawRow::new(named.name.clone(), row.get::<_, &str>(1).into(), stored_at)
                }));
            }
        }
    }
}

/// The records that a pattern matches.
struct Wanted {
    /// `None`: rows of all records are read, and compared here.
    ids: Option<Vec<i64>>,
    names: HashMap<i64, Arc<str>>,
}

impl Wanted {
    async fn find(sql: &Sql, session: &Session, pattern: &Pattern) -> Result<Self> {
        let mut names = HashMap::new();
        if !pattern.can_match() {
            return Ok(Self { ids: Some(Vec::new()), names });
        }
        if pattern.is_all() {
            return Ok(Self { ids: None, names });
        }
        let mut pages = NamePages::new(sql, pattern.clone());
        loop {
            let page = pages.next(session).await?;
            if page.is_empty() {
                return Ok(Self { ids: Some(names.keys().copied().collect()), names });
            }
            names.extend(page.into_iter().map(|named| (named.id, named.name)));
            if names.len() > MOST_IDS {
                return Ok(Self { ids: None, names });
            }
        }
    }

    fn any(&self) -> bool {
        self.ids.as_ref().is_none_or(|ids| !ids.is_empty())
    }

    /// The names of these records.
    async fn names(
        &self,
        sql: &Sql,
        session: &Session,
        ids: &[i64],
    ) -> Result<HashMap<i64, Arc<str>>> {
        let mut unknown: Vec<i64> = ids.to_vec();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|id| !self.names.contains_key(id));
        let mut names = self.names.clone();
        if !unknown.is_empty() {
            let select = format!("SELECT id, name FROM {}.records WHERE id = ANY ($1)", sql.schema);
            let parameters: [Parameter<'_>; 1] = [(&unknown, Type::INT8_ARRAY)];
            let rows = session.query(&select, &parameters).await?;
            names.extend(rows.iter().map(|row| (row.get(0), row.get::<_, &str>(1).into())));
        }
        Ok(names)
    }
}

fn no_name() -> annals_core::PersistenceError {
    error::own(OPERATION, ErrorKind::Corrupt, "a row's record has no name")
}
