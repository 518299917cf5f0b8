//! Reads the rows of some records through a cursor.

use std::pin::pin;
use std::sync::Arc;

use annals_core::{ErrorKind, Order, Query, RawRow, Result};
use futures::TryStreamExt;
use futures::future::join;
use tokio::sync::mpsc;
use tokio_postgres::types::{ToSql, Type};

use super::{Message, Named};
use crate::error;
use crate::layout::Layout;
use crate::net::{Parameter, Session, int8, int8s};
use crate::sql::Sql;

/// Rows per FETCH and per page.
const PAGE_ROWS: usize = 1000;
/// A page ends early when its JSON reaches this size. The rest waits in the socket: the driver buffers
/// only what one read returns.
const PAGE_BYTES: usize = 1 << 20;

const CURSOR: &str = "annals_rows";

/// Sends the rows of `records`, in their order, to `pages`. Nothing is fetched before there is space for
/// it.
pub(super) async fn fetch(
    sql: &Sql,
    layout: &dyn Layout,
    session: &Session,
    query: &Query,
    records: &[Named],
    pages: &mpsc::Sender<Message>,
) -> Result<()> {
    let client = session.client();
    let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
    // `Query` limits both to i64.
    let (from, to) = (query.from.cast_signed(), query.to.cast_signed());
    let limit = query.limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let one = records.len() == 1;
    let select = match (query.order, limit) {
        (Order::NewestFirst, _) => layout.newest_first(sql, one),
        (Order::OldestFirst, None) => layout.oldest_first(sql),
        (Order::OldestFirst, Some(_)) => layout.newest_ascending(sql, one),
    };
    let declare = format!("DECLARE {CURSOR} NO SCROLL CURSOR FOR {select}");
    let fetch_page = format!("FETCH FORWARD {PAGE_ROWS} FROM {CURSOR}");
    let no_parameters = || std::iter::empty::<(&(dyn ToSql + Sync), Type)>();

    let mut sorter = Sorted { records, order: query.order, last: None };
    let Ok(mut room) = pages.reserve().await else { return Ok(()) };
    let opening = async {
        // Each future sends when it is first polled, and `join` polls in this order.
        let parameters: [Parameter<'_>; 4] =
            [int8s(&ids), int8(&from), int8(&to), (&limit, Type::INT8)];
        let declared = client.execute_typed(&declare, &parameters);
        let fetched = client.query_typed_raw(&fetch_page, no_parameters());
        let (declared, fetched) = join(declared, fetched).await;
        declared?;
        fetched
    };
    let mut fetched = session.run(opening).await?;
    loop {
        let mut rows = pin!(fetched);
        let mut count = 0;
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some(row) = session.run(rows.try_next()).await? {
            count += 1;
            let json: &str = row.get(2);
            bytes += json.len();
            page.push(sorter.next(row.get(0), row.get(1), json)?);
            if bytes >= PAGE_BYTES {
                room.send(Message::Page(std::mem::take(&mut page)));
                bytes = 0;
                match pages.reserve().await {
                    Ok(next) => room = next,
                    Err(_) => return Ok(()),
                }
            }
        }
        let more = count == PAGE_ROWS;
        if !page.is_empty() {
            room.send(Message::Page(page));
            match pages.reserve().await {
                Ok(next) => room = next,
                Err(_) => return Ok(()),
            }
        }
        if !more {
            break;
        }
        fetched = session.run(client.query_typed_raw(&fetch_page, no_parameters())).await?;
    }
    session.execute(&format!("CLOSE {CURSOR}")).await
}

/// Checks the order instead of asking the server to sort. The plan, one index scan for each record in
/// the order of the array, yields it for free, but SQL does not guarantee it.
struct Sorted<'a> {
    records: &'a [Named],
    order: Order,
    last: Option<(i64, i64)>,
}

impl Sorted<'_> {
    fn next(&mut self, place: i64, time: i64, json: &str) -> Result<RawRow> {
        let in_order = match (self.last.replace((place, time)), self.order) {
            (None, _) => true,
            (Some((before, _)), _) if before != place => before < place,
            (Some((_, before)), Order::NewestFirst) => before >= time,
            (Some((_, before)), Order::OldestFirst) => before <= time,
        };
        let index = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        match index.and_then(|index| self.records.get(index)) {
            Some(record) if in_order => {
                Ok(RawRow::new(record.name.clone(), Arc::from(json), time.cast_unsigned()))
            }
            _ => {
                let message = "a bug: the server's plan did not keep the rows in order";
                Err(error::own("query", ErrorKind::Other, message))
            }
        }
    }
}
