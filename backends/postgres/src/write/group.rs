//! One group of batches, one transaction.

use annals_core::{Batch, ErrorKind, PersistenceError};
use futures_util::future::join3;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::copy;
use super::names;
use crate::engine::Engine;
use crate::error::{self, Phase};
use crate::partitions;
use crate::session::{Parameter, Session};

/// From so many rows on COPY is used instead of arrays. One run each of batch after batch on a quiet
/// machine, arrays against COPY in thousands of rows/s: 1,024 rows 292 against 247, 2,048 rows
/// 298 against 358, 4,096 rows 312 against 346. On a busy machine the difference drowns in noise.
const COPY_ROWS: usize = 2048;
/// Arrays are one message, which has to be in memory whole, here and on the server.
const COPY_BYTES: usize = 1 << 20;

/// How often names, or partitions, may be removed between looking for them and storing before
/// something is wrong.
const ATTEMPTS: usize = 10;

enum Attempt {
    Stored,
    /// No row went in: names were removed since their ids were cached, in this generation.
    StaleNames(i64),
    /// No row went in: some are of times that no partition takes.
    NoPartition,
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
    let mut lost = "";
    for _ in 0..ATTEMPTS {
        let mut stale = None;
        let result = match attempt(engine, &session, &batches).await {
            Err(error) if error::no_partition(&error) => Attempt::NoPartition,
            result => result?,
        };
        match result {
            Attempt::Stored => {
                session.release();
                return Ok(());
            }
            Attempt::StaleNames(generation) => {
                engine.names.clear();
                stale = Some(generation);
                lost = "record names are removed as fast as they are added";
            }
            Attempt::NoPartition => {
                session.run(session.client().batch_execute("ROLLBACK")).await?;
                let rows = batches.iter().flat_map(|batch| batch.rows());
                let times: Vec<i64> = rows.map(|row| row.stored_at.cast_signed()).collect();
                partitions::make(engine, &session, &times).await?;
                lost = "the server finds no partition for these rows, however often one is made: \
                        either sweeps drop them as fast, or a trigger refuses the rows";
                continue;
            }
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
        if let Some(generation) = stale
            && current(engine, &session).await? == Some(generation)
        {
            return Err(error::not_obeyed(operation));
        }
    }
    Err(error::own(operation, ErrorKind::Busy, lost))
}

/// The generation of names, in the simple protocol, in which no pooler mixes statements up.
async fn current(engine: &Engine, session: &Session) -> Result<Option<i64>, PersistenceError> {
    let answer = session.run(session.client().simple_query(&engine.sql.generation)).await?;
    Ok(generation(&answer))
}

fn generation(answer: &[SimpleQueryMessage]) -> Option<i64> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    })
}

/// One transaction. What can be sent without waiting is sent at once: everything, if neither ids
/// nor a COPY are in it, and else everything up to the commit, which goes out when all before it
/// is right. What is sent behind a BEGIN that fails does nothing by its own condition; a COPY
/// cannot have one, and waits for BEGIN. Unless all is stored, the transaction is left open or has
/// done nothing, and is to be rolled back.
async fn attempt(
    engine: &Engine,
    session: &Session,
    batches: &[&Batch],
) -> Result<Attempt, PersistenceError> {
    let (ids, generation) = names::resolve(engine, session, batches).await?;
    let claims = Claims::new(session, batches)?;
    let size: usize = batches.iter().map(|batch| super::bytes(batch)).sum();
    if ids.len() >= COPY_ROWS || size >= COPY_BYTES {
        copied(engine, session, batches, (&ids, generation), &claims).await
    } else {
        inserted(engine, session, batches, (&ids, generation), &claims).await
    }
}

/// Few rows: one statement with an array for each column.
async fn inserted(
    engine: &Engine,
    session: &Session,
    batches: &[&Batch],
    (ids, generation): (&[i64], i64),
    claims: &Claims,
) -> Result<Attempt, PersistenceError> {
    let sql = &engine.sql;
    let client = session.client();
    let rows = || batches.iter().flat_map(|batch| batch.rows());
    // `Batch::validate` and `Row` refuse what is beyond i64.
    let times: Vec<i64> = rows().map(|row| row.stored_at.cast_signed()).collect();
    let values: Vec<&str> = rows().map(|row| row.value.as_str()).collect();
    let parameters: [Parameter<'_>; 4] = [
        (&ids, Type::INT8_ARRAY),
        (&times, Type::INT8_ARRAY),
        (&values, Type::TEXT_ARRAY),
        (&generation, Type::INT8),
    ];
    // Each future sends when it is first polled, and `join` polls in this order. (`tokio::join`
    // does not.) All of them are answered before anything is decided: nothing is left under way.
    let begin = engine.begin(&sql.begin_write);
    let begin = client.batch_execute(&begin);
    let insert = client.execute_typed(&sql.insert, &parameters);
    if claims.writers.is_empty() {
        let commit = client.batch_execute("COMMIT");
        let all = async {
            let (begun, inserted, committed) = join3(begin, insert, commit).await;
            // The first error is the cause, and after one that the server reports the commit was
            // none: of an aborted transaction it makes a rollback.
            begun?;
            let inserted = inserted?;
            committed.map(|()| inserted)
        };
        let inserted = session.run_in(Phase::Commit, all).await?;
        return Ok(match inserted == ids.len() as u64 {
            true => Attempt::Stored,
            false => Attempt::StaleNames(generation),
        });
    }
    let all = async {
        let (begun, claimed, inserted) = join3(begin, claims.send(engine, session), insert).await;
        begun?;
        let claimed = claimed?;
        Ok((claimed, inserted?))
    };
    let (claimed, inserted) = session.run(all).await?;
    let known = claims.refused(session, &claimed)?;
    let stale = (inserted != ids.len() as u64).then_some(generation);
    decide(session, stale, known).await
}

/// Many rows: COPY, which cannot have a condition.
async fn copied(
    engine: &Engine,
    session: &Session,
    batches: &[&Batch],
    (ids, generation): (&[i64], i64),
    claims: &Claims,
) -> Result<Attempt, PersistenceError> {
    let sql = &engine.sql;
    let client = session.client();
    session.run(client.batch_execute(&engine.begin(&sql.begin_write))).await?;
    let claim = async {
        match claims.writers.is_empty() {
            true => Ok(None),
            false => claims.send(engine, session).await.map(Some),
        }
    };
    let check = client.simple_query(&sql.generation);
    let all = async {
        let copy = copy::send(client, &sql.copy, batches, ids);
        let (checked, claimed, copied) = join3(check, claim, copy).await;
        let (checked, claimed) = (checked?, claimed?);
        copied.map(|()| (checked, claimed))
    };
    let (checked, claimed) = session.run(all).await?;
    let known = match claimed {
        Some(claimed) => claims.refused(session, &claimed)?,
        None => Vec::new(),
    };
    let stale = (self::generation(&checked) != Some(generation)).then_some(generation);
    decide(session, stale, known).await
}

/// Commits if the names are current and no batch is known.
async fn decide(
    session: &Session,
    stale: Option<i64>,
    known: Vec<usize>,
) -> Result<Attempt, PersistenceError> {
    if let Some(generation) = stale {
        return Ok(Attempt::StaleNames(generation));
    }
    if !known.is_empty() {
        return Ok(Attempt::Known(known));
    }
    session.commit().await?;
    Ok(Attempt::Stored)
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
    /// The answer is for [`refused`](Self::refused).
    async fn send(&self, engine: &Engine, session: &Session) -> Result<Row, tokio_postgres::Error> {
        let writers: Vec<&[u8]> = self.writers.iter().map(|writer| &writer[..]).collect();
        let parameters: [Parameter<'_>; 2] =
            [(&writers, Type::BYTEA_ARRAY), (&self.numbers, Type::INT8_ARRAY)];
        session.client().query_typed_one(&engine.sql.claim, &parameters).await
    }

    /// The places of the batches whose number was not above the last.
    fn refused(&self, session: &Session, claimed: &Row) -> Result<Vec<usize>, PersistenceError> {
        let answer = claimed.try_get(0).and_then(|ran: bool| Ok((ran, claimed.try_get(1)?)));
        let Ok((true, raised)): Result<(bool, Vec<&[u8]>), _> = answer else {
            return Err(error::not_obeyed(session.operation()));
        };
        let taken = |writer: &[u8; 16]| raised.iter().any(|raised| raised == writer);
        let all = self.places.iter().zip(&self.writers);
        Ok(all.filter(|(_, writer)| !taken(writer)).map(|(place, _)| *place).collect())
    }
}
