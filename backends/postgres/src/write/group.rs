//! Stores one group of batches in one transaction.

use annals_core::{Batch, ErrorKind, Result};
use futures::future::join3;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{copy, statements};
use crate::engine::Engine;
use crate::error::{self, Phase};
use crate::layout::{Layout, make_partitions};
use crate::net::{Parameter, Session, first_column, int8s};
use crate::sql::Sql;

/// From this many rows on, COPY is used instead of arrays. Thousands of rows/s with arrays and with COPY,
/// one run each on an idle machine: 1,024 rows 292 and 247, 2,048 rows 298 and 358, 4,096 rows 312 and
/// 346. On a busy machine the difference is below the noise.
const COPY_ROWS: usize = 2048;
/// Arrays are one message, which has to fit into memory as a whole, here and on the server.
const COPY_BYTES: usize = 1 << 20;

/// How often names or partitions may be removed between their lookup and the insert before that is an
/// error.
const ATTEMPTS: usize = 10;

enum Attempt {
    Stored,
    /// Nothing was stored: names were removed since their ids were cached in this generation.
    StaleNames(i64),
    /// Nothing was stored: no partition covers the times of some rows.
    NoPartition,
    /// The batches with these indices were stored before.
    Known(Vec<usize>),
}

/// Stores all batches or none, except for those whose id is already known.
pub(super) async fn store(
    engine: &Engine,
    operation: &'static str,
    batches: &[&Batch],
) -> Result<()> {
    let layout = &**engine.schema.ready(&engine.pools).await?;
    let session = engine.pools.writer(operation).await?;
    let transaction = Transaction { engine, layout, session: &session };
    let mut batches = batches.to_vec();
    let mut lost = "";
    for _ in 0..ATTEMPTS {
        let mut stale = None;
        let result = match transaction.attempt(&batches).await {
            Err(error) if error::no_partition(&error) => Attempt::NoPartition,
            result => result?,
        };
        match result {
            Attempt::Stored => {
                session.send(&engine.schema.sql.notify());
                session.release();
                return Ok(());
            }
            Attempt::StaleNames(generation) => {
                engine.names.clear();
                stale = Some(generation);
                lost = "record names are removed as fast as they are added";
            }
            Attempt::NoPartition => {
                session.rollback().await?;
                let rows = batches.iter().flat_map(|batch| batch.rows());
                let times: Vec<i64> = rows.map(|row| row.stored_at.cast_signed()).collect();
                // A backend that was open before a migration does not know of partitions.
                make_partitions(&engine.schema.sql, &session, &times).await?;
                lost = "the server finds no partition for these rows, although it was created: \
                        either sweeps drop it at once, or a trigger refuses the rows";
                continue;
            }
            Attempt::Known(known) => {
                let mut index = 0;
                batches.retain(|_| (!known.contains(&index), index += 1).0);
            }
        }
        session.rollback().await?;
        if batches.is_empty() {
            session.release();
            return Ok(());
        }
        if let Some(generation) = stale
            && transaction.generation().await? == Some(generation)
        {
            return Err(error::not_obeyed(operation));
        }
    }
    Err(error::own(operation, ErrorKind::Busy, lost))
}

/// The connection on which a group is stored.
struct Transaction<'a> {
    engine: &'a Engine,
    layout: &'a dyn Layout,
    session: &'a Session,
}

impl Transaction<'_> {
    fn sql(&self) -> &Sql {
        &self.engine.schema.sql
    }

    fn begin(&self) -> String {
        self.sql().begin_write(self.layout.write_settings())
    }

    /// The generation of names, in the simple protocol, in which a pooler cannot confuse statements.
    async fn generation(&self) -> Result<Option<i64>> {
        let generation = self.session.simple(&statements::generation(self.sql())).await?;
        Ok(generation.and_then(|generation| generation.parse().ok()))
    }

    /// One transaction. Statements are sent without waiting for answers: all of them if there are
    /// neither batch ids nor a COPY, otherwise all up to the commit, which follows once the rest
    /// succeeded. A statement behind a BEGIN that failed does nothing because of its condition; a
    /// COPY cannot have one and waits for BEGIN. Unless everything is stored, the transaction is left
    /// open or has done nothing, and must be rolled back.
    async fn attempt(&self, batches: &[&Batch]) -> Result<Attempt> {
        let names = &self.engine.names;
        let found = names.resolve(self.sql(), self.layout, self.session, batches).await?;
        let claims = Claims::new(self.session, batches)?;
        let size: usize = batches.iter().map(|batch| super::bytes(batch)).sum();
        if found.0.len() >= COPY_ROWS || size >= COPY_BYTES {
            self.copy(batches, found, &claims).await
        } else {
            self.insert(batches, found, &claims).await
        }
    }

    /// Few rows: one statement with an array for each column.
    async fn insert(
        &self,
        batches: &[&Batch],
        (ids, generation): (Vec<i64>, i64),
        claims: &Claims,
    ) -> Result<Attempt> {
        let (session, client) = (self.session, self.session.client());
        let rows = || batches.iter().flat_map(|batch| batch.rows());
        // `Batch::validate` and `Row` refuse times beyond i64.
        let times: Vec<i64> = rows().map(|row| row.stored_at.cast_signed()).collect();
        let values: Vec<&str> = rows().map(|row| row.value.as_str()).collect();
        let parameters: [Parameter<'_>; 4] =
            [int8s(&ids), int8s(&times), (&values, Type::TEXT_ARRAY), (&generation, Type::INT8)];
        let (begin, insert) = (self.begin(), statements::insert(self.sql()));
        let claim = statements::claim(self.sql());
        // Each future sends when it is first polled, and `join` polls in this order (`tokio::join!`
        // does not). All are answered before anything is decided, so nothing is left under way.
        let begin = client.batch_execute(&begin);
        let insert = client.execute_typed(&insert, &parameters);
        if claims.writers.is_empty() {
            let commit = client.batch_execute("COMMIT");
            let all = async {
                let (begun, inserted, committed) = join3(begin, insert, commit).await;
                // The first error is the cause. The COMMIT of an aborted transaction is a rollback.
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
            let (begun, claimed, inserted) =
                join3(begin, claims.send(&claim, session), insert).await;
            begun?;
            let claimed = claimed?;
            Ok((claimed, inserted?))
        };
        let (claimed, inserted) = session.run(all).await?;
        let known = claims.refused(session, &claimed)?;
        let stale = (inserted != ids.len() as u64).then_some(generation);
        self.decide(stale, known).await
    }

    /// Many rows: COPY, which cannot have a condition.
    async fn copy(
        &self,
        batches: &[&Batch],
        (ids, generation): (Vec<i64>, i64),
        claims: &Claims,
    ) -> Result<Attempt> {
        let (session, client) = (self.session, self.session.client());
        session.execute(&self.begin()).await?;
        let claim = statements::claim(self.sql());
        let claim = async {
            match claims.writers.is_empty() {
                true => Ok(None),
                false => claims.send(&claim, session).await.map(Some),
            }
        };
        let check = statements::generation(self.sql());
        let copy = statements::copy(self.sql());
        let all = async {
            let check = client.simple_query(&check);
            let copy = copy::send(client, &copy, batches, &ids);
            let (checked, claimed, copied) = join3(check, claim, copy).await;
            let (checked, claimed) = (checked?, claimed?);
            copied.map(|()| (checked, claimed))
        };
        let (checked, claimed) = session.run(all).await?;
        let known = match claimed {
            Some(claimed) => claims.refused(session, &claimed)?,
            None => Vec::new(),
        };
        let current = first_column(&checked).and_then(|generation| generation.parse().ok());
        let stale = (current != Some(generation)).then_some(generation);
        self.decide(stale, known).await
    }

    /// Commits if the names are current and no batch is known.
    async fn decide(&self, stale: Option<i64>, known: Vec<usize>) -> Result<Attempt> {
        if let Some(generation) = stale {
            return Ok(Attempt::StaleNames(generation));
        }
        if !known.is_empty() {
            return Ok(Attempt::Known(known));
        }
        self.session.commit().await?;
        Ok(Attempt::Stored)
    }
}

/// The batch numbers of a group.
struct Claims {
    /// The index of each batch in the group.
    batches: Vec<usize>,
    writers: Vec<[u8; 16]>,
    numbers: Vec<i64>,
}

impl Claims {
    fn new(session: &Session, batches: &[&Batch]) -> Result<Self> {
        let mut claims = Self { batches: Vec::new(), writers: Vec::new(), numbers: Vec::new() };
        for (index, id) in batches.iter().enumerate().filter_map(|(i, b)| Some((i, b.id()?))) {
            let number = i64::try_from(id.number).map_err(|_| {
                let message = "the batch number is above i64::MAX";
                error::own(session.operation(), ErrorKind::Other, message)
            })?;
            claims.batches.push(index);
            claims.writers.push(id.writer.to_be_bytes());
            claims.numbers.push(number);
        }
        Ok(claims)
    }

    /// Raises each writer's number. This waits for an unfinished transaction that raised the same one,
    /// so that a retry waits for the first attempt. [`refused`](Self::refused) evaluates the answer.
    async fn send(&self, claim: &str, session: &Session) -> Result<Row, tokio_postgres::Error> {
        let writers: Vec<&[u8]> = self.writers.iter().map(|writer| &writer[..]).collect();
        let parameters: [Parameter<'_>; 2] = [(&writers, Type::BYTEA_ARRAY), int8s(&self.numbers)];
        session.client().query_typed_one(claim, &parameters).await
    }

    /// The indices of the batches whose number was not above the last.
    fn refused(&self, session: &Session, claimed: &Row) -> Result<Vec<usize>> {
        let answer = claimed.try_get(0).and_then(|ran: bool| Ok((ran, claimed.try_get(1)?)));
        let Ok((true, raised)): Result<(bool, Vec<&[u8]>), _> = answer else {
            return Err(error::not_obeyed(session.operation()));
        };
        let taken = |writer: &[u8; 16]| raised.iter().any(|raised| raised == writer);
        let all = self.batches.iter().zip(&self.writers);
        Ok(all.filter(|(_, writer)| !taken(writer)).map(|(index, _)| *index).collect())
    }
}
