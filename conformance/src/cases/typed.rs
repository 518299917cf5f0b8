//! TYPED: rows as the caller's own type.

use annals_core::{PersistenceError, QueryExt, QueryParams, RawRow, Value};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::case::cases;
use crate::check::{Verdict, ensure, equal};
use crate::context::{Context, Store};
use crate::warnings::caught;

cases![
    typed_1_rows_that_do_not_fit_are_skipped_with_a_warning,
    typed_1_the_rest_comes_back_from_every_kind_of_read,
    typed_2_older_shapes_are_read_by_a_function,
    restore_1_the_newest_value_comes_back_alone,
    restore_1_a_newest_value_that_does_not_fit_is_reported,
];

#[derive(Debug, Deserialize, PartialEq)]
struct Reading {
    celsius: f64,
}

/// Two rows that fit around one that does not.
async fn readings(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    store.put("oven", json!({ "celsius": 180.5 }), 1_000).await?;
    store.put("oven", json!({ "kelvin": 453.6 }), 2_000).await?;
    store.put("oven", json!({ "celsius": 181.0, "by": "probe 2" }), 3_000).await?;
    Ok(store)
}

async fn typed_1_rows_that_do_not_fit_are_skipped_with_a_warning(cx: &Context) -> Verdict {
    let store = readings(cx).await?;
    let query = store.query_typed::<Reading>("oven", QueryParams::default());
    let (rows, warnings) = caught(query).await;
    let rows = rows?;
    equal("how many were skipped", &rows.skipped, &1)?;
    let got: Vec<_> =
        rows.rows.iter().map(|row| (&*row.record, row.stored_at, row.value.celsius)).collect();
    equal("the rows that fit", &got, &[("oven", 3_000, 181.0), ("oven", 1_000, 180.5)])?;
    let named = warnings.iter().any(|text| text.contains("oven") && text.contains("2000"));
    ensure(named, "the warnings", "one that names oven and 2000", warnings)
}

async fn typed_1_the_rest_comes_back_from_every_kind_of_read(cx: &Context) -> Verdict {
    let store = readings(cx).await?;
    let latest: Vec<Reading> = store.query_latest("oven", 3).await?;
    equal("the latest three", &latest, &[Reading { celsius: 181.0 }, Reading { celsius: 180.5 }])?;
    let range: Vec<Reading> = store.query_range("oven", 500, 1_500).await?;
    equal("from 500 to 1500", &range, &[Reading { celsius: 180.5 }])?;
    let mut stream = store.stream_typed::<Reading>("oven", QueryParams::default()).await?;
    let mut streamed = Vec::new();
    while let Some(row) = stream.next().await {
        streamed.push(row?.stored_at);
    }
    equal("the stream", &streamed, &[3_000, 1_000])?;
    equal("how many the stream skipped", &stream.skipped(), &1)?;
    let raw = store.query_typed::<Box<RawValue>>("oven", QueryParams::default()).await?;
    equal("how many rows there are as text", &(raw.rows.len(), raw.skipped), &(3, 0))
}

/// Degrees Celsius, of either shape.
fn celsius(row: &RawRow) -> Result<f64, String> {
    let value: Value = serde_json::from_str(&row.json).map_err(|error| error.to_string())?;
    let member = |name: &str| value.get(name).and_then(Value::as_f64);
    let kelvin = || member("kelvin").filter(|kelvin| *kelvin >= 0.0);
    member("celsius")
        .or_else(|| kelvin().map(|kelvin| kelvin - 273.15))
        .ok_or_else(|| format!("no temperature in {}", row.json))
}

async fn typed_2_older_shapes_are_read_by_a_function(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (value, at) in [
        (json!({ "kelvin": 0.0 }), 1_000),
        (json!({ "kelvin": -1.0 }), 2_000),
        (json!({ "celsius": 21.5 }), 3_000),
    ] {
        store.put("oven", value, at).await?;
    }
    let query = store.query_typed_with("oven", QueryParams::default(), celsius);
    let (typed, warnings) = caught(query).await;
    let typed = typed?;
    let rows: Vec<_> = typed.rows.iter().map(|row| (row.stored_at, row.value)).collect();
    equal("the rows in the current shape", &rows, &[(3_000, 21.5), (1_000, -273.15)])?;
    equal("how many were skipped", &typed.skipped, &1)?;
    let named =
        |text: &String| text.contains("oven") && text.contains("2000") && text.contains("-1");
    ensure(
        warnings.iter().any(named),
        "the warnings",
        "one that names oven, 2000 and -1",
        warnings,
    )?;
    let latest = store.query_latest_with("oven", 2, celsius).await?;
    equal("those of the latest two", &latest, &[21.5])
}

async fn restore_1_the_newest_value_comes_back_alone(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (record, n, at) in
        [("oven", 2, 2_000), ("oven", 3, 3_000), ("oven", 1, 1_000), ("oven2", 9, 9_000)]
    {
        store.put(record, json!(n), at).await?;
    }
    let restored = store.restore::<u64>("oven").await?.map(|row| (row.value, row.stored_at));
    equal("what is restored", &restored, &Some((3, 3_000)))?;
    let since = async |time| {
        let restored = store.restore_since::<u64>("oven", time).await?;
        Verdict::Ok(restored.map(|row| row.value))
    };
    equal("what is restored from 3000 on", &since(3_000).await?, &Some(3))?;
    equal("what is restored from 3001 on", &since(3_001).await?, &None)?;
    equal(
        "what is restored of a record without rows",
        &store.restore::<u64>("door").await?,
        &None,
    )?;
    let refused = store.restore::<u64>("oven*").await;
    let is_refused = matches!(refused, Err(PersistenceError::InvalidRecordName { .. }));
    ensure(is_refused, "restoring oven*", "InvalidRecordName", refused)
}

async fn restore_1_a_newest_value_that_does_not_fit_is_reported(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("oven", json!(1), 1_000).await?;
    store.put("oven", json!("broken"), 2_000).await?;
    let (restored, warnings) = caught(store.restore::<u64>("oven")).await;
    equal("what is restored", &restored?, &None)?;
    let named = warnings.iter().any(|text| text.contains("oven") && text.contains("2000"));
    ensure(named, "the warnings", "one that names oven and 2000", warnings)
}
