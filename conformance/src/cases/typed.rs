//! TYPED: rows as the caller's own type.

use annals_core::{QueryExt, QueryParams};
use futures_util::StreamExt;
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
