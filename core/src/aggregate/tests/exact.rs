//! Accumulators against exact rational arithmetic, in any split and any order. The denominators are
//! powers of two and counts, so that integers do.

use std::sync::Arc;

use num_bigint::{BigInt, Sign};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// The value in units of 2^-1074, of which every `f64` is a whole number.
fn exact(value: f64) -> BigInt {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    let mantissa = if exponent == 0 { fraction } else { fraction | (1 << 52) };
    let size = BigInt::from(mantissa) << exponent.saturating_sub(1);
    if value < 0.0 { -size } else { size }
}

fn size(value: &BigInt) -> BigInt {
    BigInt::from(value.magnitude().clone())
}

/// A value of any kind: ordinary, with a large offset, or of any exponent at all.
fn value() -> impl Strategy<Value = f64> {
    let finite = any::<f64>().prop_filter("JSON has no other", |value| value.is_finite());
    let decimal = (-100_000..100_000_i32).prop_map(|value| f64::from(value) / 100.0);
    prop_oneof![
        4 => decimal.clone(),
        2 => decimal.prop_map(|value| 1e9 + value / 1000.0),
        2 => finite,
        2 => select(vec![
            1e16, -1e16, 1.0, -1.0, 0.1, 1e308, -1e308, f64::MAX, f64::MIN, 5e-324, -5e-324, 1e-200,
            2.0_f64.powi(900), -(2.0_f64.powi(899)), 9_007_199_254_740_993.0, 0.0, -0.0,
        ]),
    ]
}

/// Values, some of which cancel others.
fn values() -> impl Strategy<Value = Vec<f64>> {
    (vec(value(), 1..60), vec(any::<prop::sample::Index>(), 0..60)).prop_map(
        |(mut values, taken)| {
            let negated: Vec<f64> = taken.iter().map(|index| -index.get(&values)).collect();
            values.extend(negated);
            values
        },
    )
}

fn plan(names: &str) -> Arc<Plan> {
    Arc::new(Plan::new("r", &Aggregate::new().functions(shown(names)).now(0)).unwrap())
}

/// A partial of the values, computed in parts that are merged in the order of `order`.
fn in_parts(plan: &Plan, values: &[f64], cuts: &[usize], order: &[usize]) -> Partial {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (values.len() + 1)).collect();
    cuts.extend([0, values.len()]);
    cuts.sort_unstable();
    let mut parts: Vec<Partial> = Vec::new();
    for bounds in cuts.windows(2) {
        let mut part = Partial::default();
        let times: Vec<u64> = (bounds[0] as u64..bounds[1] as u64).collect();
        if parts.len().is_multiple_of(2) {
            part.push_all(plan, &times, &values[bounds[0]..bounds[1]]);
        } else {
            times
                .iter()
                .for_each(|at| part.push(plan, Sample { at: *at, value: values[*at as usize] }));
        }
        parts.push(part);
    }
    let mut whole = Partial::default();
    for pick in order.iter().chain(&[0; 64]) {
        if !parts.is_empty() {
            let next = parts.remove(pick % parts.len());
            whole.merge(plan, next);
        }
    }
    whole
}

fn finished(plan: &Arc<Plan>, partial: Partial, last: u64) -> Bucket {
    let mut series = Series::new(plan.clone(), "r".into());
    series.partial((0, last), partial).unwrap();
    series.finish().unwrap().remove(0)
}

/// Whether `got` is within 1e-12 of `sum / count`, or infinite where that is beyond `f64`.
fn is_near(got: f64, sum: &BigInt, count: usize) -> bool {
    if got.is_infinite() {
        let is_beyond = size(sum) >= exact(f64::MAX) * count;
        return is_beyond && (got > 0.0) == (sum.sign() == Sign::Plus);
    }
    let error = size(&(exact(got) * count - sum));
    // There is nothing nearer than one unit.
    &error * 1_000_000_000_000_u64 <= size(sum) || error <= BigInt::from(count)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn sums_and_means_are_exact_in_any_order(
        values in values(),
        cuts in vec(any::<usize>(), 0..6),
        order in vec(any::<usize>(), 0..8),
    ) {
        let plan = plan("sum,mean");
        let bucket = finished(&plan, in_parts(&plan, &values, &cuts, &order), values.len() as u64);
        let sum: BigInt = values.iter().map(|value| exact(*value)).sum();
        let (got_sum, got_mean) = (bucket.get("sum").unwrap(), bucket.get("mean").unwrap());
        prop_assert!(is_near(got_sum, &sum, 1), "sum {got_sum:e} of {values:?}");
        prop_assert!(is_near(got_mean, &sum, values.len()), "mean {got_mean:e} of {values:?}");
    }

    #[test]
    fn deviations_are_exact_in_any_order(
        values in values(),
        cuts in vec(any::<usize>(), 0..6),
        order in vec(any::<usize>(), 0..8),
    ) {
        let plan = plan("stddev");
        let bucket = finished(&plan, in_parts(&plan, &values, &cuts, &order), values.len() as u64);
        let got = bucket.get("stddev");
        if values.len() < 2 {
            prop_assert_eq!(got, None);
            return Ok(());
        }
        // n (n - 1) s² = n Σx² - (Σx)²
        let count = BigInt::from(values.len());
        let sum: BigInt = values.iter().map(|value| exact(*value)).sum();
        let squares: BigInt = values.iter().map(|value| exact(*value).pow(2)).sum();
        let expected = &count * squares - sum.pow(2);
        let scale = &count * (values.len() - 1);
        let got = got.unwrap();
        let square = |deviation: f64| exact(deviation).pow(2) * &scale;
        if got.is_infinite() {
            prop_assert!(expected >= square(f64::MAX), "{values:?}");
        } else if expected < square(1e-300) {
            // Numbers near the smallest have fewer digits.
            prop_assert!(square(got) <= expected * 4 + square(5e-324) * 4, "{got:e} of {values:?}");
        } else {
            let error = size(&(square(got) - &expected)) * 500_000_000_000_u64;
            prop_assert!(error <= expected, "stddev {got:e} of {values:?}");
        }
    }

    #[test]
    fn extremes_and_ends_are_exact_in_any_order(
        values in vec(select(vec![1.0, 2.0, 3.0, -0.0, 0.0]), 1..40),
        cuts in vec(any::<usize>(), 0..6),
        order in vec(any::<usize>(), 0..8),
    ) {
        let plan = plan("min,min_at,max,max_at,first,first_at,last,last_at,p10,median,p99.5");
        let bucket = finished(&plan, in_parts(&plan, &values, &cuts, &order), values.len() as u64);
        let get = |name: &str| bucket.get(name).unwrap();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let at = |wanted: f64| values.iter().position(|value| *value == wanted).unwrap() as f64;
        prop_assert_eq!((get("min"), get("min_at")), (min, at(min)));
        prop_assert_eq!((get("max"), get("max_at")), (max, at(max)));
        prop_assert_eq!((get("first"), get("first_at")), (values[0], 0.0));
        let last = values.len() - 1;
        prop_assert_eq!((get("last"), get("last_at")), (values[last], last as f64));
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        for (name, percent) in [("p10", 10.0), ("median", 50.0), ("p99.5", 99.5)] {
            let rank = percent / 100.0 * last as f64;
            let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            let expected = low + (high - low) * rank.fract();
            prop_assert!((get(name) - expected).abs() <= 1e-12, "{name}");
        }
    }
}

#[test]
fn cancellation_leaves_what_is_left() {
    for (values, sum) in [
        (vec![1e16, 1.0, -1e16], 1.0),
        (vec![1e308, 1e308, -1e308], 1e308),
        (vec![1e308, 1e-200, -1e308], 1e-200),
        (vec![f64::MAX, f64::MAX], f64::INFINITY),
        (vec![2.0_f64.powi(900), 1e-300, -(2.0_f64.powi(899)), -(2.0_f64.powi(899))], 1e-300),
        (vec![-0.0, -0.0], 0.0),
    ] {
        let plan = plan("sum");
        let bucket = finished(&plan, in_parts(&plan, &values, &[1, 2], &[1]), values.len() as u64);
        assert_eq!(bucket.get("sum"), Some(sum), "{values:?}");
    }
}
