//! Makes each call on the backend and on the reference, and compares the answers.

use std::fmt::Debug;
use std::mem::discriminant;

use annals_core::{
    Batch, BatchId, CleanupPlan, CleanupRule, Durability, Erasure, Grammar, Guarantees,
    MemoryBackend, Pattern, PersistenceBackend, PersistenceError, Predicate, QueryParams, Row,
};

use super::call::{Call, NewRow, Script};
use crate::check::{Plain, Verdict, failure, plain};
use crate::context::{Context, Store};

/// An answer in a form that can be compared. Values are compared as text, which tells -0.0 from 0.
type Answer = Result<String, PersistenceError>;

pub(crate) async fn run(cx: &Context, script: &Script) -> Verdict {
    let mut store = cx.fresh().await?;
    let reference = MemoryBackend::new();
    let claims = store.claims();
    for (number, call) in script.0.iter().enumerate() {
        let place = || format!("call {}, {call}", number + 1);
        if *call == Call::Reopen {
            // Otherwise there is nothing to open again.
            if claims.durability >= Durability::Process {
                store = cx.reopen(store).await?;
            }
        } else if is_comparable(call, claims) {
            let got = answer(&*store.backend, call, claims).await;
            let expected = answer(&reference, call, claims).await;
            same(&place(), &got, &expected)?;
        }
        let got = everything(&*store.backend).await;
        let expected = everything(&reference).await;
        same(&format!("all rows after {}", place()), &got, &expected)?;
    }
    end(store).await
}

async fn end(store: Store) -> Verdict {
    let Store { backend, .. } = store;
    Ok(backend.close().await?)
}

/// Whether the backend claims to do what the reference does with this call. A batch that is stored
/// twice because ids are ignored, for instance, is no difference to speak of.
fn is_comparable(call: &Call, claims: Guarantees) -> bool {
    match call {
        Call::StoreBatch(_, Some(_)) => claims.idempotent_batches,
        Call::CleanupPlan(rules, keep_newest) => {
            claims.selective_cleanup
                || plan(rules, *keep_newest).is_ok_and(|plan| plan.as_plain().is_some())
        }
        Call::Erase(..) | Call::Correct(_) => claims.erasure,
        _ => true,
    }
}

async fn answer(backend: &dyn PersistenceBackend, call: &Call, claims: Guarantees) -> Answer {
    match call {
        Call::Store(NewRow { record, value, stored_at }) => {
            backend.store(record, value, *stored_at).await.map(shown)
        }
        Call::StoreBatch(rows, id) => {
            let mut batch = Vec::new();
            for NewRow { record, value, stored_at } in rows {
                batch.push(Row { stored_at: *stored_at, ..Row::new(record, value, 0)? });
            }
            let mut batch = Batch::new(batch);
            if let Some((writer, number)) = id.filter(|_| claims.idempotent_batches) {
                batch = batch.with_id(BatchId { writer, number });
            }
            backend.store_batch(&batch).await.map(shown)
        }
        Call::Query(pattern, params) => {
            backend.query(pattern, *params).await.map(plain).map(listed)
        }
        Call::Stream(pattern, params) => {
            let stream = backend.query_stream(pattern, *params).await?;
            stream.into_values().await.map(plain).map(listed)
        }
        Call::QueryWhere(pattern, params, filter) => {
            let filter = Predicate::parse(filter)?;
            let stream = backend.query_where(pattern, *params, &filter).await?;
            stream.into_values().await.map(plain).map(listed)
        }
        Call::Erase(pattern, (from, to), filter) => {
            let erasure = Erasure::new(Pattern::new(pattern, Grammar::Glob)?)
                .with_start_time(*from)
                .with_end_time(*to)
                .with_where(filter.map(Predicate::parse).transpose()?);
            backend.erase(&erasure).await.map(shown)
        }
        Call::Correct(NewRow { record, value, stored_at }) => {
            backend.correct(&Row::new(record, value, *stored_at)?).await.map(shown)
        }
        Call::Records(pattern, grammar) => backend.records(pattern, *grammar).await.map(shown),
        Call::Cleanup(older_than) => backend.cleanup(*older_than).await.map(shown),
        Call::CleanupPlan(rules, keep_newest) => {
            backend.cleanup_plan(&plan(rules, *keep_newest)?).await.map(shown)
        }
        Call::Initialize => backend.initialize().await.map(shown),
        Call::Reopen => Ok(String::new()),
    }
}

fn plan(
    rules: &[(String, Option<u64>)],
    keep_newest: u64,
) -> Result<CleanupPlan, PersistenceError> {
    let rules: Result<Vec<CleanupRule>, PersistenceError> = rules
        .iter()
        .map(|(pattern, older_than)| {
            let pattern = Pattern::new(pattern, Grammar::Glob)?;
            Ok(CleanupRule::new(pattern, *older_than))
        })
        .collect();
    Ok(CleanupPlan::new(rules?).with_keep_newest(keep_newest))
}

async fn everything(backend: &dyn PersistenceBackend) -> Answer {
    backend.query("*", QueryParams::default()).await.map(plain).map(listed)
}

fn shown(answer: impl Debug) -> String {
    format!("{answer:?}")
}

fn listed(rows: Vec<Plain>) -> String {
    let rows: Vec<String> =
        rows.iter().map(|(record, at, value)| format!("({record:?}, {at}, {value})")).collect();
    format!("[{}]", rows.join(", "))
}

/// Errors are the same if they are of the same variant.
fn same(what: &str, got: &Answer, expected: &Answer) -> Verdict {
    let agree = match (got, expected) {
        (Ok(got), Ok(expected)) => got == expected,
        (Err(got), Err(expected)) => discriminant(got) == discriminant(expected),
        _ => false,
    };
    let words = |answer: &Answer| match answer {
        Ok(text) => text.clone(),
        Err(error) => format!("the error «{error}»"),
    };
    if agree { Ok(()) } else { Err(failure(what, words(expected), words(got))) }
}
