//! THIN: core's recorder with filters, in front of the backend.

use std::sync::Arc;
use std::time::Duration;

use annals_core::aggregate::Function;
use annals_core::{
    Aggregate, Filter, PersistenceBackend, QueryExt, QueryParams, Recorder, RecorderConfig, Value,
};
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal};
use crate::context::{Context, Store};
use crate::faulty::{Fault, Faulty, POISON};

cases![
    thin_1_rules_apply_in_their_order,
    thin_1_json_is_compared_and_not_its_text,
    thin_2_what_is_not_recorded_is_counted_by_rule,
    thin_2_a_value_after_a_rejected_one_passes,
    thin_3_a_held_value_is_stored_by_flush_and_close,
    thin_3_a_value_that_lasted_is_stored_with_the_next,
    thin_4_a_history_on_change_answers_as_a_full_one,
];

const MS_10: Duration = Duration::from_millis(10);

fn recorder(store: &Store, filter: Filter) -> Verdict<Recorder> {
    let config = RecorderConfig::default().with_filter("*", filter)?;
    Ok(Recorder::new(store.backend.clone(), config))
}

/// The times of the rows that are stored of these values, oldest first.
async fn times(cx: &Context, filter: Filter, values: &[(u64, Value)]) -> Verdict<Vec<u64>> {
    let store = cx.fresh().await?;
    let recorder = recorder(&store, filter)?;
    for (at, value) in values {
        recorder.record_at("r", value, *at).await.during("recording")?;
    }
    recorder.close().await.during("closing the recorder")?;
    let rows = store.rows("r", QueryParams::default()).await?;
    Ok(rows.iter().rev().map(|(_, at, _)| *at).collect())
}

async fn thin_1_rules_apply_in_their_order(cx: &Context) -> Verdict {
    let c = |value: f64| json!({ "c": value, "by": "probe" });
    let values = [
        (0, c(1.0)),
        (2, c(1.0)),
        (4, c(1.5)),
        (6, c(99.0)),
        (9, c(2.0)),
        (11, c(2.0)),
        (40, c(2.0)),
    ];
    let ranged = Filter::new().within("c", 0.0..=50.0);
    let changed = ranged.clone().on_change_of(["c"]);
    let banded = changed.clone().dead_band("c", 0.9);
    let beating = banded.clone().heartbeat(MS_10);
    for (what, filter, expected) in [
        ("a range", ranged, vec![0, 2, 4, 9, 11, 40]),
        ("and change", changed, vec![0, 4, 9]),
        ("and a dead band", banded, vec![0, 9]),
        ("and a heartbeat", beating.clone(), vec![0, 9, 40]),
        ("and a minimum interval", beating.min_interval(MS_10), vec![0, 9, 40]),
    ] {
        equal(
            format!("the rows of a filter with {what}"),
            &times(cx, filter, &values).await?,
            &expected,
        )?;
    }
    // A heartbeat is due at 6, but the value is implausible.
    let filter =
        Filter::new().within("c", 0.0..=50.0).on_change().heartbeat(Duration::from_millis(2));
    equal(
        "the rows of a range before a heartbeat",
        &times(cx, filter, &values[..4]).await?,
        &[0, 2, 4],
    )
}

async fn thin_1_json_is_compared_and_not_its_text(cx: &Context) -> Verdict {
    let raw = |text: &str| serde_json::from_str(text).unwrap_or_default();
    let values: [(u64, Value); 5] = [
        (1, raw(r#"{"a": 1, "b": [null, "x"]}"#)),
        (2, raw(r#"{"b": [null, "x"], "a": 1.0}"#)),
        (3, raw(r#"{"b": ["x", null], "a": 1}"#)),
        (4, raw(r#"{"b": ["x", null]}"#)),
        (5, raw(r#"{"b": ["x", null], "a": null}"#)),
    ];
    let stored = times(cx, Filter::new().on_change(), &values).await?;
    equal("the rows that changed", &stored, &[1, 3, 4, 5])?;
    let stored = times(cx, Filter::new().on_change_of(["/b/1"]), &values).await?;
    equal("the rows with another /b/1", &stored, &[1, 3])
}

async fn thin_2_what_is_not_recorded_is_counted_by_rule(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let filter = Filter::new()
        .within("", -50.0..=50.0)
        .on_change()
        .relative_dead_band("", 0.1)
        .min_interval(Duration::from_millis(20));
    let recorder = recorder(&store, filter)?;
    for at in 0..300_u64 {
        let name = ["a", "b"][at as usize % 2];
        let value = [10.0, 10.0, 10.5, 99.0, 20.0, 30.0, 15.0][(at / 7) as usize % 7];
        recorder.record_at(name, &value, at).await.during("recording")?;
        let stats = recorder.stats();
        let mut given = 0;
        for account in stats.records.values().chain([&stats.total]) {
            ensure(account.balances(), "the account", "it balances", account)?;
            given += account.recorded + account.filtered.total() + account.held;
        }
        equal("recorded, filtered and held values, twice", &given, &(2 * (at + 1)))?;
    }
    recorder.flush().await.during("flushing")?;
    let total = recorder.stats().total;
    let filtered = total.filtered;
    let by_rule = [filtered.implausible, filtered.unchanged, filtered.dead_band, filtered.interval];
    ensure(
        by_rule.iter().all(|count| *count > 0),
        "the filtered values",
        "some by each rule",
        by_rule,
    )?;
    equal("values held after a flush", &total.held, &0)?;
    let rows = store.rows("*", QueryParams::default()).await?.len() as u64;
    equal("rows, by the account and the store", &total.stored, &rows)?;
    recorder.close().await.during("closing the recorder")
}

async fn thin_2_a_value_after_a_rejected_one_passes(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let backend: Arc<dyn PersistenceBackend> = Faulty::new(store.backend.clone(), Fault::Poison);
    let config = RecorderConfig::default().with_filter("*", Filter::new().on_change())?;
    let recorder = Recorder::new(backend, config);
    for at in 1..=3 {
        recorder.record_at(POISON, &7, at).await.during("recording")?;
        ensure(recorder.flush().await.is_err(), "a flush", "it reports the rejected value", at)?;
    }
    equal("values filtered out", &recorder.stats().total.filtered.total(), &0)?;
    recorder.close().await.during("closing the recorder")
}

async fn thin_3_a_held_value_is_stored_by_flush_and_close(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let recorder = recorder(&store, Filter::new().min_interval(Duration::from_secs(60)))?;
    let numbers = async || store.values("r", QueryParams::default()).await;
    for at in 0..4_u64 {
        recorder.record_at("r", &at, at).await.during("recording")?;
    }
    equal("values held", &recorder.stats().total.held, &1)?;
    recorder.flush().await.during("flushing")?;
    equal("the rows after a flush", &numbers().await?, &[json!(3), json!(0)])?;
    recorder.record_at("r", &9, 9).await.during("recording")?;
    recorder.close().await.during("closing the recorder")?;
    equal("the rows after close", &numbers().await?, &[json!(9), json!(3), json!(0)])
}

async fn thin_3_a_value_that_lasted_is_stored_with_the_next(cx: &Context) -> Verdict {
    let filter = Filter::new().min_interval(MS_10);
    let values = [
        (0, json!(0)),
        (3, json!(3)),
        (5, json!(5)),
        (30, json!(30)),
        (38, json!(38)),
        (41, json!(41)),
    ];
    // 5 was current for 25 ms, 38 for 3.
    equal("the rows", &times(cx, filter, &values).await?, &[0, 5, 30, 41])
}

async fn thin_4_a_history_on_change_answers_as_a_full_one(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let config = RecorderConfig::default().with_filter("thin", Filter::new().on_change())?;
    let recorder = Recorder::new(store.backend.clone(), config);
    const LAST: u64 = 599_000;
    for at in (0..=LAST).step_by(1_000) {
        // Stands still for 1 to 37 s.
        let value = (at / 37_000).max(at / 61_000 * 2) % 5;
        recorder.record_at("full", &value, at).await.during("recording")?;
        recorder.record_at("thin", &value, at).await.during("recording")?;
    }
    recorder.close().await.during("closing the recorder")?;
    let rows = store.rows("thin", QueryParams::default()).await?.len();
    ensure(rows < 60, "the rows of the history on change", "fewer than 60 of 600", rows)?;
    let functions = "time_weighted_mean,integral,duration{2}";
    for width in [45, 3_600] {
        let asked = Aggregate::every(Duration::from_secs(width))
            .functions(Function::parse_list(functions)?)
            .range(0, LAST);
        let (full, thin) =
            (store.aggregate("full", &asked).await?, store.aggregate("thin", &asked).await?);
        equal("how many buckets there are", &thin.len(), &full.len())?;
        for (full, thin) in full.iter().zip(&thin) {
            for function in functions.split(',') {
                let (a, b) = (full.get(function), thin.get(function));
                let close = match (a, b) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
                    _ => a == b,
                };
                let what = format!("{function} from {} on change and in full", full.start);
                ensure(close, what, "the same", (a, b))?;
            }
        }
    }
    for at in (500..LAST).step_by(9_000) {
        let full = store.value_at("full", at).await?;
        let thin = store.value_at("thin", at).await?;
        let values = |rows: &[annals_core::StoredValue]| -> Vec<Value> {
            rows.iter().map(|row| row.value.clone()).collect()
        };
        equal(format!("the value at {at}"), &values(&thin), &values(&full))?;
    }
    Ok(())
}
