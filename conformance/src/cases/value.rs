//! VALUE: what comes back of a value, and which are refused.

use annals_core::{
    Batch, DEFAULT_MAX_VALUE_BYTES, MAX_VALUE_DEPTH, Outcome, PersistenceError, QueryExt,
    QueryParams, Value,
};
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, refused, skip};
use crate::context::{Context, Store, row};
use crate::warnings::caught;

cases![
    value_1_values_come_back_equal,
    value_1_numbers_come_back_bit_for_bit,
    value_1_values_come_back_equal_from_a_batch,
    value_1_a_hundred_thousand_elements,
    value_2_the_deepest_value_comes_back,
    value_2_a_deeper_value_is_refused_when_stored,
    value_3_a_value_above_the_default_size_is_refused,
    value_3_the_configured_size_is_inclusive,
    value_4_a_row_that_is_no_json_any_more_is_reported,
];

fn values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(true),
        json!(false),
        json!(""),
        json!("\u{0}"),
        json!("a\u{0}b\u{0}"),
        json!({ "\u{0}": "\u{0}" }),
        json!("\u{1}\u{8}\t\n\r\u{1f}\u{7f}\u{80}\u{2028}\u{2029}\"\\/"),
        json!("🦀 مرحبا e\u{301} \u{e9} \u{10ffff} \u{fffe} \u{feff}"),
        json!("'; DROP TABLE history; --"),
        json!("NULL"),
        json!([]),
        json!({}),
        json!([[], {}, [[]], [null], { "": {} }]),
        json!({ "": 1 }),
        json!({ "a.b": 1, "$c": 2, "a": { "b": 3 }, "__proto__": 4, "a b": 5 }),
        json!({ "$serde_json::private::Number": "1" , "x": 2 }),
        json!({ "b": 1, "a": 2, "B": 3, "ä": 4 }),
        json!("x".repeat(100_000)),
        json!([1, [2.5, "three", null, { "four": [true] }]]),
    ];
    let integers = [
        u64::MAX,
        u64::MAX - 1,
        i64::MAX as u64 + 1,
        i64::MAX as u64,
        (1 << 53) + 1,
        1 << 53,
        1,
        0,
    ];
    values.extend(integers.map(|number| json!(number)));
    values.extend([i64::MIN, i64::MIN + 1, -(1 << 53) - 1, -1].map(|number| json!(number)));
    values
}

async fn value_1_values_come_back_equal(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (at, value) in (0..).zip(values()) {
        store.put("v", value, at).await?;
    }
    same_values(&store).await
}

async fn value_1_values_come_back_equal_from_a_batch(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<_>> =
        (0..).zip(values()).map(|(at, value)| row("v", value, at)).collect();
    store.store_batch(&Batch::new(rows?)).await.during("storing the values in a batch")?;
    same_values(&store).await
}

async fn same_values(store: &Store) -> Verdict {
    let mut got = store.values("v", QueryParams::default()).await?;
    got.reverse();
    equal("the number of values", &got.len(), &values().len())?;
    for (got, expected) in got.iter().zip(values()) {
        equal("a value", got, &expected)?;
        // `Value` compares 1 and 1.0 as different, but -0.0 and 0.0 as equal.
        equal("its text", &got.to_string(), &expected.to_string())?;
    }
    Ok(())
}

async fn value_1_numbers_come_back_bit_for_bit(cx: &Context) -> Verdict {
    let mut numbers = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        0.2,
        0.1 + 0.2,
        1e23,
        1.5e300,
        1e-7,
        100.0,
        1e15,
        1e16,
        1e21,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        5e-324,
        -5e-324,
        2.225_073_858_507_201e-308,
        9_007_199_254_740_993.0,
        1.797_693_134_862_315_7e308,
        std::f64::consts::PI,
        123_456_789.123_456_79,
    ];
    // A fixed walk over the exponents and mantissas.
    let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
    while numbers.len() < 300 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        numbers.extend(Some(f64::from_bits(bits)).filter(|number| number.is_finite()));
    }
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<_>> =
        (0..).zip(&numbers).map(|(at, number)| row("f", json!([number]), at)).collect();
    store.load(rows?).await?;
    store.put("g", json!(-0.0), 1).await?;
    let mut got = store.values("f", QueryParams::default()).await?;
    got.reverse();
    got.extend(store.values("g", QueryParams::default()).await?.into_iter().map(|v| json!([v])));
    numbers.push(-0.0);
    equal("the number of values", &got.len(), &numbers.len())?;
    for (got, expected) in got.iter().zip(&numbers) {
        let bits = got[0].as_f64().filter(|_| got[0].is_f64()).map(f64::to_bits);
        let what = format!("the bits of {expected:e}, which came as {}", got[0]);
        equal(what, &bits, &Some(expected.to_bits()))?;
    }
    Ok(())
}

async fn value_1_a_hundred_thousand_elements(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let array = json!((0..100_000).collect::<Vec<u32>>());
    store.put("long", array.clone(), 1).await?;
    let got = store.values("long", QueryParams::default()).await?;
    ensure(got == [array], "an array of 100,000 numbers", "the same", got.len())
}

/// A value with so many levels, arrays and objects in turn.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, level| match level % 2 {
        0 => json!([inner]),
        _ => json!({ "k": inner }),
    })
}

async fn value_2_the_deepest_value_comes_back(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("deep", nested(MAX_VALUE_DEPTH), 1).await?;
    store.put("flat", 1, 1).await?;
    let expected = [nested(MAX_VALUE_DEPTH), json!(1)];
    let got = store.values("*", QueryParams::default()).await?;
    ensure(got == expected, "127 levels", "what was stored", got)
}

async fn value_2_a_deeper_value_is_refused_when_stored(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for levels in [MAX_VALUE_DEPTH + 1, 2 * MAX_VALUE_DEPTH] {
        let error = refused(
            format!("storing {levels} levels"),
            store.store("deep", &nested(levels), 1).await,
            "ValueTooDeep",
            |error| matches!(error, PersistenceError::ValueTooDeep { .. }),
        )?;
        equal("what the error says of the row", &error.outcome(), &Outcome::NotApplied)?;
    }
    equal("what was stored", &store.all().await?, &[])
}

async fn value_3_a_value_above_the_default_size_is_refused(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", "before", 1).await?;
    // Two bytes of the text are quotes.
    let too_large = json!("x".repeat(DEFAULT_MAX_VALUE_BYTES - 1));
    let result = store.store("r", &too_large, 2).await;
    let is_expected =
        |error: &PersistenceError| matches!(error, PersistenceError::ValueTooLarge { .. });
    refused("storing 16 MiB and 1 byte", result, "ValueTooLarge", is_expected)?;
    store.put("r", "after", 3).await?;
    equal(
        "what was stored",
        &store.values("r", QueryParams::default()).await?,
        &["after", "before"],
    )
}

async fn value_3_the_configured_size_is_inclusive(cx: &Context) -> Verdict {
    const LIMIT: usize = 100;
    let location = cx.location().await?;
    let backend = cx.harness().open_with_max_value_bytes(&location, LIMIT).await?;
    let Some(backend) = backend else {
        return skip("the harness has no hook open_with_max_value_bytes");
    };
    backend.initialize().await?;
    let store = Store { location, backend };
    store.put("r", "x".repeat(LIMIT - 2), 1).await?;
    let is_expected = |error: &PersistenceError| {
        matches!(error, PersistenceError::ValueTooLarge { limit: LIMIT, .. })
    };
    let too_large = json!("x".repeat(LIMIT - 1));
    let result = store.store("r", &too_large, 2).await;
    refused("storing one byte more", result, "ValueTooLarge with the limit", is_expected)?;
    let batch = Batch::new(vec![row("r", 3, 3)?, row("r", too_large, 4)?]);
    refused(
        "a batch with such a row",
        store.store_batch(&batch).await,
        "InvalidRow, row 1",
        |error| match error {
            PersistenceError::InvalidRow { index: 1, source } => is_expected(source),
            _ => false,
        },
    )?;
    store.put("r", 5, 5).await?;
    equal("how many rows were stored", &store.all().await?.len(), &2)
}

async fn value_4_a_row_that_is_no_json_any_more_is_reported(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for at in 1..=3 {
        store.put("r", at, at).await?;
    }
    store.put("s", 4, 4).await?;
    store.close().await?;
    let Store { location, backend } = store;
    drop(backend);
    if cx.harness().corrupt(&location, "r", 2, "{\"cut\": sh").await?.is_none() {
        return skip("the harness has no hook corrupt");
    }
    let store = cx.open(&location).await?;
    let (rows, warnings) = caught(store.rows("*", QueryParams::default())).await;
    let expected =
        [("r".into(), 3, json!(3)), ("r".into(), 1, json!(1)), ("s".into(), 4, json!(4))];
    equal("the rows beside the damaged one", &rows?, &expected)?;
    let typed = store.query_typed::<Value>("*", QueryParams::default()).await;
    let typed = typed.during("a typed query")?;
    if typed.skipped != 1 && warnings.is_empty() {
        let got = format!("{} skipped, no warning", typed.skipped);
        return Err(failure("the damaged row", "a count of 1, or a warning", got));
    }
    equal("the rows of the typed query", &typed.rows.len(), &3)
}
