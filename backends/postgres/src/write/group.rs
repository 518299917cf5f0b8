//! One group of batches, one transaction.

use annals_core::{Batch, ErrorKind, PersistenceError};
use futures_util::future::join4;
use tokio_postgres::{Row, Statement};

use super::copy;
use super::names;
use crate::engine::Engine;
use crate::error;
use crate::session::Session;

/// From so many rows on COPY is faster than arrays (measured; see docs/design.md).
const COPY_ROWS: usize = 1024;
/// Arrays are one message, which has to be in memory whole, here and on the server.
const COPY_BYTES: usize = 1 << 20;

/// How often names may be removed between looking them up and storing before something is wrong.
const ATTEMPTS: usize = 10;

enum Attempt {
    Stored,
    /// Names were removed since their ids were cached.
    StaleNames,
    /// These batches, by their place, were stored before.
    Known(Vec<usize>),
}

/// Stores all batches or none; those whose id is known already are left out.
pub(super) async fn store(
    engine: &Engine,
    operation: &'static str,
    batches: &[&Batch],
) -> Result<(), PersistenceError> {
    engine.ready().await?;
    let session = engine.writer(operation).await?;
    let mut batches = batches.to_vec();
    for _ in 0..ATTEMPTS {
        match attempt(engine, &session, &batches).await? {
            Attempt::Stored => {
                session.release();
                return Ok(());
            }
            Attempt::StaleNames => engine.names.clear(),
            Attempt::Known(places) => {
                let mut place = 0;
                batches.retain(|_| (!places.contains(&place), place += 1).0);
            }
        }
        session.run(session.client().batch_execute("ROLLBACK")).await?;
        if batches.is_empty() {
            session.release();
            return Ok(());
        }
    }
    Err(error::own(operation, ErrorKind::Busy, "record names are removed as fast as they are added"))
}

/// One transaction, in two round trips: everything up to the rows is sent at once and looked at
/// together, and the commit goes out when all of it is right. Unless all is stored, the transaction
/// is left open, to be rolled back.
async fn attempt(
    engine: &Engine,
    session: &Session,
    batches: &[&Batch],
) -> Result<Attempt, PersistenceError> {
    let (ids, generation) = names::resolve(engine, session, batches).await?;
    let sql = &engine.sql;
    let client = session.client();
    let claims = Claims::new(session, batches)?;

    let check = session.run(client.prepare_cached(&sql.generation)).await?;
    let claim = match claims.writers.is_empty() {
        true => None,
        false => Some(session.run(client.prepare_cached(&sql.claim)).await?),
    };
    let size: usize = batches.iter().map(|batch| super::bytes(batch)).sum();
    let copied = ids.len() >= std::env::var("COPY_ROWS").ok().and_then(|v| v.parse().ok()).unwrap_or(COPY_ROWS) || size >= COPY_BYTES;
    let rows = session.run(client.prepare_cached(if copied { &sql.copy } else { &sql.insert }));
    let rows = rows.await?;

    let claim = async {
        match &claim {
            Some(statement) => claims.send(session, statement).await,
            None => Ok(Vec::new()),
        }
    };
    let insert = async {
        if copied {
            copy::send(client, &rows, batches, &ids).await
        } else {
            insert(session, &rows, batches, &ids).await
        }
    };
    // Each future sends when it is first polled, and `join` polls in this order. (`tokio::join`
    // does not.) All of them are answered before anything is decided: nothing is left under way.
    let sent = join4(
        client.batch_execute(&sql.begin_write),
        client.query_one(&check, &[]),
        claim,
        insert,
    );
    let (begun, checked, claimed) = session
        .run(async {
            let (begun, checked, claimed, inserted) = sent.await;
            // The first error is the cause; those behind it say that the transaction is aborted.
            begun?;
            let (checked, claimed) = (checked?, claimed?);
            inserted?;
            Ok(((), checked, claimed))
        })
        .await?;
    let () = begun;
    if checked.get::<_, i64>(0) != generation {
        return Ok(Attempt::StaleNames);
    }
    let known = claims.refused(&claimed);
    if !known.is_empty() {
        return Ok(Attempt::Known(known));
    }
    session.commit().await?;
    Ok(Attempt::Stored)
}

/// Few rows: one statement with an array for each column.
async fn insert(
    session: &Session,
    statement: &Statement,
    batches: &[&Batch],
    ids: &[i64],
) -> Result<(), tokio_postgres::Error> {
    let rows = || batches.iter().flat_map(|batch| batch.rows());
    // `Batch::validate` and `Row` refuse what is beyond i64.
    let times: Vec<i64> = rows().map(|row| row.stored_at.cast_signed()).collect();
    let values: Vec<&str> = rows().map(|row| row.value.as_str()).collect();
    session.client().execute(statement, &[&ids, &times, &values]).await.map(drop)
}

/// The batch numbers of a group.
struct Claims {
    /// Which batch, by its place in the group.
    places: Vec<usize>,
    writers: Vec<[u8; 16]>,
    numbers: Vec<i64>,
}

impl Claims {
    fn new(session: &Session, batches: &[&Batch]) -> Result<Self, PersistenceError> {
        let mut claims = Self { places: Vec::new(), writers: Vec::new(), numbers: Vec::new() };
        for (place, id) in batches.iter().enumerate().filter_map(|(i, b)| Some((i, b.id()?))) {
            let number = i64::try_from(id.number).map_err(|_| {
                let message = "the batch's number is above i64::MAX";
                error::own(session.operation(), ErrorKind::Other, message)
            })?;
            claims.places.push(place);
            claims.writers.push(id.writer.to_be_bytes());
            claims.numbers.push(number);
        }
        Ok(claims)
    }

    /// Raises each writer's number. A transaction that raised the same one and has not ended holds
    /// this up: a retry meets the end of the attempt before it.
    async fn send(
        &self,
        session: &Session,
        statement: &Statement,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let writers: Vec<&[u8]> = self.writers.iter().map(|writer| &writer[..]).collect();
        session.client().query(statement, &[&writers, &self.numbers]).await
    }

    /// The places of the batches whose number was not above the last.
    fn refused(&self, claimed: &[Row]) -> Vec<usize> {
        let taken = |writer: &[u8; 16]| claimed.iter().any(|row| row.get::<_, &[u8]>(0) == writer);
        self.places.iter().zip(&self.writers).filter(|(_, w)| !taken(w)).map(|(p, _)| *p).collect()
    }
}
