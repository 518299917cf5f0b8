//! RECORD: core's recorder in front of the backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    ManualClock, Overflow, PersistenceBackend, QueryParams, Recorder, RecorderConfig,
    RecorderError, RetryPolicy, Value,
};
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure};
use crate::context::{Context, joined};
use crate::faulty::{Fault, Faulty, POISON};

cases![
    record_1_the_account_balances_at_every_moment,
    record_1_what_the_account_calls_stored_is_there,
    record_1_what_a_source_lost_is_counted_beside,
    record_2_the_moment_of_capture_is_kept,
    record_2_a_clock_that_steps_back_makes_nothing_older,
    record_3_order_survives_batches_and_retries,
    record_3_order_survives_a_restart,
    record_4_what_can_never_be_stored_is_rejected_alone,
    record_4_what_the_backend_refuses_is_rejected_alone,
    record_4_an_outage_of_unknown_kind_rejects_nothing,
    record_5_flush_and_close_report_what_the_backend_rejected,
    durable_4_a_recorder_that_lost_an_answer_stores_once,
];

/// Small batches and quick retries, on a clock that stands still.
fn config(clock: &Arc<ManualClock>) -> RecorderConfig {
    let retry =
        RetryPolicy::default().with_delays(Duration::from_millis(1), Duration::from_millis(4));
    RecorderConfig::default()
        .with_max_batch_rows(7)
        .with_linger(Duration::ZERO)
        .with_retry(retry)
        .with_clock(clock.clone())
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(10_000))
}

/// Values from several tasks, good and bad, into a queue that is too small, under each policy.
async fn record_1_the_account_balances_at_every_moment(cx: &Context) -> Verdict {
    const TASKS: u64 = 3;
    const VALUES: u64 = 120;
    for overflow in [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest] {
        let store = cx.fresh().await?;
        let config = config(&clock()).with_capacity_rows(10).with_overflow(overflow);
        let recorder = Recorder::new(Faulty::new(store.backend.clone(), Fault::Busy), config);
        let done = Arc::new(AtomicBool::new(false));
        let watched = tokio::spawn(watch(recorder.clone(), done.clone()));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let recorder = recorder.clone();
                tokio::spawn(async move {
                    for i in 0..VALUES {
                        let name =
                            if i % 10 == 9 { "not*allowed".into() } else { format!("r{task}") };
                        match recorder.record(&name, &i).await {
                            Ok(()) | Err(RecorderError::Rejected(_)) => {}
                            Err(error) => {
                                return Err(failure("recording", "Ok", error.to_string()));
                            }
                        }
                    }
                    Verdict::Ok(())
                })
            })
            .collect();
        for task in tasks {
            joined(task.await)??;
        }
        match recorder.close().await {
            Ok(()) | Err(RecorderError::Dropped { .. }) => {}
            Err(error) => return Err(failure("closing the recorder", "Ok", error.to_string())),
        }
        done.store(true, Ordering::SeqCst);
        joined(watched.await)??;
        let total = recorder.stats().total;
        equal("values recorded", &total.recorded, &(TASKS * VALUES))?;
        equal("values rejected", &total.rejected, &(TASKS * VALUES / 10))?;
        equal("values pending after close", &total.pending, &0)?;
        if overflow == Overflow::Wait {
            equal("values dropped where the policy is to wait", &total.dropped, &0)?;
        }
    }
    Ok(())
}

async fn watch(recorder: Recorder, done: Arc<AtomicBool>) -> Verdict {
    loop {
        let last = done.load(Ordering::SeqCst);
        let stats = recorder.stats();
        ensure(stats.total.balances(), "the total account", "it balances", stats.total)?;
        let mut sum = stats.invalid_names;
        for (record, account) in &stats.records {
            ensure(account.balances(), format!("the account of {record}"), "it balances", account)?;
            sum += *account;
        }
        equal("the sum of all accounts", &sum, &stats.total)?;
        if last {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

async fn record_1_what_the_account_calls_stored_is_there(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let recorder = Recorder::new(store.backend.clone(), config(&clock()));
    for at in 0..60 {
        let name = ["a", "b", "c"][at as usize % 3];
        recorder.record_at(name, &at, at).await.during("recording")?;
    }
    recorder.flush().await.during("flushing")?;
    let stats = recorder.stats();
    equal("values stored", &(stats.total.stored, stats.total.pending), &(60, 0))?;
    for name in ["a", "b", "c"] {
        let rows = store.rows(name, QueryParams::default()).await?.len() as u64;
        let stored = stats.records.get(name).map(|account| account.stored);
        equal(
            format!("values stored of {name}, by the account and the store"),
            &stored,
            &Some(rows),
        )?;
    }
    recorder.close().await.during("closing the recorder")
}

async fn record_1_what_a_source_lost_is_counted_beside(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let recorder = Recorder::new(store.backend.clone(), config(&clock()));
    recorder.record("r", &1).await.during("recording")?;
    recorder.add_lost("r", 5);
    recorder.add_lost("s", 2);
    recorder.close().await.during("closing the recorder")?;
    let stats = recorder.stats();
    let lost = |name: &str| stats.records.get(name).map(|account| (account.lost, account.recorded));
    equal("lost and recorded of r", &lost("r"), &Some((5, 1)))?;
    equal("lost and recorded of s", &lost("s"), &Some((2, 0)))?;
    equal("lost in total", &stats.total.lost, &7)?;
    ensure(stats.total.balances(), "the account", "it balances without them", stats.total)
}

async fn record_2_the_moment_of_capture_is_kept(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let clock = clock();
    let recorder = Recorder::new(store.backend.clone(), config(&clock));
    // Value and time are taken at the call; nothing has been awaited yet.
    let captured = recorder.record("r", &"captured");
    clock.set(90_000);
    captured.await.during("recording")?;
    recorder.record_at("r", &"given", 42).await.during("recording with a time")?;
    recorder.record("r", &"later").await.during("recording")?;
    recorder.close().await.during("closing the recorder")?;
    let rows = store.rows("r", QueryParams::default()).await?;
    let rows: Vec<_> = rows.iter().map(|(_, at, value)| (*at, value.as_str())).collect();
    let expected = [(90_000, Some("later")), (10_000, Some("captured")), (42, Some("given"))];
    equal("the rows", &rows, &expected)
}

async fn record_2_a_clock_that_steps_back_makes_nothing_older(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let clock = clock();
    let recorder = Recorder::new(store.backend.clone(), config(&clock));
    for (value, now) in [(0, 10_000), (1, 10_005), (2, 3), (3, 9_999), (4, 10_006), (5, 0)] {
        clock.set(now);
        recorder.record("r", &value).await.during("recording")?;
        recorder.flush().await.during("flushing")?;
        let latest = store.values("r", QueryParams::latest(1)).await?;
        equal(format!("the latest value after {value} at {now}"), &latest, &[value])?;
    }
    recorder.close().await.during("closing the recorder")
}

/// Only the order is looked at: what is stored at all is RECORD-1's matter.
fn in_order(what: &str, values: &[Value]) -> Verdict {
    let numbers: Vec<u64> = values.iter().filter_map(Value::as_u64).collect();
    let ordered = !numbers.is_empty() && numbers.windows(2).all(|pair| pair[0] > pair[1]);
    ensure(ordered, what, "the last recorded first", numbers)
}

async fn record_3_order_survives_batches_and_retries(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let faulty = Faulty::new(store.backend.clone(), Fault::Busy);
    let recorder = Recorder::new(faulty, config(&clock()));
    for value in 0..80_u64 {
        recorder.record(["a", "b"][value as usize % 2], &value).await.during("recording")?;
    }
    recorder.close().await.during("closing the recorder")?;
    let retries = recorder.stats().retries;
    ensure(retries > 0, "calls that were made again", "some: every other one fails", retries)?;
    for record in ["a", "b"] {
        let values = store.values(record, QueryParams::default()).await?;
        in_order(&format!("values of {record}, all captured at the same time"), &values)?;
    }
    Ok(())
}

async fn record_3_order_survives_a_restart(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    for start in 0..3_u64 {
        let recorder = Recorder::new(store.backend.clone(), config(&clock()));
        for value in start * 20..(start + 1) * 20 {
            recorder.record("r", &value).await.during("recording")?;
        }
        recorder.close().await.during("closing the recorder")?;
        drop(recorder);
        store = cx.reopen(store).await?;
    }
    in_order("values of three recorders", &store.values("r", QueryParams::default()).await?)
}

async fn record_4_what_can_never_be_stored_is_rejected_alone(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let recorder = Recorder::new(store.backend.clone(), config(&clock()).with_max_value_bytes(50));
    let mut rejected = 0;
    for at in 0..20_u64 {
        recorder.record_at("good", &at, at).await.during("recording")?;
        let bad = match at % 3 {
            0 => recorder.record_at("bad*name", &at, at).await,
            1 => recorder.record_at("good", &"x".repeat(60), at).await,
            _ => recorder.record_at("good", &at, u64::MAX).await,
        };
        let is_rejected = matches!(bad, Err(RecorderError::Rejected(_)));
        ensure(is_rejected, "a value that can never be stored", "Rejected", bad)?;
        rejected += 1;
    }
    recorder.close().await.during("closing the recorder")?;
    let total = recorder.stats().total;
    equal("values stored and rejected", &(total.stored, total.rejected), &(20, rejected))?;
    let expected: Vec<u64> = (0..20).rev().collect();
    equal("the good values", &store.values("*", QueryParams::default()).await?, &expected)
}

async fn record_4_what_the_backend_refuses_is_rejected_alone(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let backend: Arc<dyn PersistenceBackend> = Faulty::new(store.backend.clone(), Fault::Poison);
    let recorder = Recorder::new(backend, config(&clock()));
    for at in 0..40_u64 {
        let name = if at % 5 == 2 { POISON } else { "good" };
        recorder.record_at(name, &at, at).await.during("recording")?;
    }
    ensure_rejected("close", recorder.close().await, 8)?;
    let total = recorder.stats().total;
    equal("values stored and rejected", &(total.stored, total.rejected), &(32, 8))?;
    let values = store.values("*", QueryParams::default()).await?;
    let expected: Vec<Value> =
        (0..40_u64).rev().filter(|at| at % 5 != 2).map(|at| json!(at)).collect();
    equal("the values of the batches beside the refused ones", &values, &expected)
}

async fn record_4_an_outage_of_unknown_kind_rejects_nothing(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let backend: Arc<dyn PersistenceBackend> = Faulty::new(store.backend.clone(), Fault::Outage);
    let recorder = Recorder::new(backend, config(&clock()));
    for at in 0..60_u64 {
        recorder.record_at(["a", "b"][at as usize % 2], &at, at).await.during("recording")?;
    }
    recorder.flush().await.during("flushing the recorder")?;
    let total = recorder.stats().total;
    equal("values stored and rejected", &(total.stored, total.rejected), &(60, 0))?;
    for record in ["a", "b"] {
        let values = store.values(record, QueryParams::default()).await?;
        in_order(&format!("values of {record}"), &values)?;
    }
    recorder.close().await.during("closing the recorder").map(drop)
}

async fn record_5_flush_and_close_report_what_the_backend_rejected(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let backend: Arc<dyn PersistenceBackend> = Faulty::new(store.backend.clone(), Fault::Poison);
    let recorder = Recorder::new(backend, config(&clock()));
    for (name, at) in [(POISON, 1), ("good", 2), (POISON, 3)] {
        recorder.record_at(name, &at, at).await.during("recording")?;
    }
    ensure_rejected("the first flush", recorder.flush().await, 2)?;
    recorder.flush().await.during("a flush with nothing new")?;
    recorder.record_at(POISON, &4, 4).await.during("recording")?;
    ensure_rejected("close", recorder.close().await, 1)?;
    equal("the good values", &store.values("*", QueryParams::default()).await?, &vec![json!(2)])
}

fn ensure_rejected(what: &str, result: Result<(), RecorderError>, expected: u64) -> Verdict {
    let reported =
        matches!(&result, Err(RecorderError::RowsRejected { rows, .. }) if *rows == expected);
    ensure(reported, what, format!("RowsRejected of {expected} values"), result)
}

async fn durable_4_a_recorder_that_lost_an_answer_stores_once(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    let faulty = Faulty::new(store.backend.clone(), Fault::AnswerLost);
    let recorder = Recorder::new(faulty, config(&clock()));
    for at in 0..50_u64 {
        recorder.record_at("r", &at, at).await.during("recording")?;
    }
    recorder.close().await.during("closing the recorder")?;
    let retries = recorder.stats().retries;
    ensure(retries > 0, "calls that were made again", "some: every other one fails", retries)?;
    let expected: Vec<u64> = (0..50).rev().collect();
    equal("the rows", &store.values("r", QueryParams::default()).await?, &expected)
}
