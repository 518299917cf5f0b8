//! Small buckets in columns against the same buckets as partials, in any pieces.

use std::sync::Arc;

use futures::{StreamExt, stream};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const FUNCTIONS: &str =
    "count,skipped,sum,mean,min,min_at,max,max_at,first,first_at,last,last_at,delta";

fn plan(functions: &str, order: Order) -> Arc<Plan> {
    let asked = every(10).range(25, 900).functions(shown(functions)).order(order);
    Arc::new(Plan::new("r", &asked).unwrap())
}

fn series(plan: &Arc<Plan>) -> Series {
    Series::new(plan.clone(), "r".into())
}

/// Samples in pieces; the second part, from `cut` on, is computed apart and merged.
fn fed(plan: &Arc<Plan>, samples: &[(u64, f64)], pieces: usize, cut: usize) -> Series {
    let (earlier, later) = samples.split_at(cut.min(samples.len()));
    let part = |samples: &[(u64, f64)]| {
        let mut series = series(plan);
        for piece in samples.chunks(pieces) {
            let (times, values): (Vec<u64>, Vec<f64>) = piece.iter().copied().unzip();
            series.samples(&times, &values).unwrap();
        }
        series
    };
    let mut all = part(earlier);
    all.merge(part(later)).unwrap();
    all
}

proptest! {
    #[test]
    fn columns_have_what_buckets_have(
        steps in vec((0..30_u64, -3..3_i32), 0..80),
        pieces in 1..20_usize,
        cut in 0..80_usize,
        function in prop::sample::select(FUNCTIONS.split(',').collect::<Vec<_>>()),
    ) {
        let mut at = 0;
        let samples: Vec<(u64, f64)> = steps
            .into_iter()
            .map(|(step, value)| {
                at += step;
                (at, f64::from(value) * 0.1)
            })
            .collect();
        for functions in [FUNCTIONS, function] {
            let flat = fed(&plan(functions, Order::OldestFirst), &samples, pieces, cut);
            prop_assert!(flat.flat.is_some());
            // The newest first are always computed as partials.
            let partials = fed(&plan(functions, Order::NewestFirst), &samples, pieces, cut);
            prop_assert!(partials.flat.is_none());
            let mut expected = partials.finish().unwrap();
            expected.reverse();
            prop_assert_eq!(flat.finish().unwrap(), expected);
        }
    }

    #[test]
    fn a_row_without_a_sample_changes_nothing_else(
        before in vec(30..60_u64, 0..9),
        after in vec(60..90_u64, 0..9),
    ) {
        let rows = |mut times: Vec<u64>| {
            times.sort_unstable();
            times
        };
        let fed = |plan: &Arc<Plan>| {
            let mut series = series(plan);
            for at in rows(before.clone()) {
                series.sample(at, at as f64).unwrap();
            }
            series.skip(60).unwrap();
            for at in rows(after.clone()) {
                series.sample(at, at as f64).unwrap();
            }
            series.finish().unwrap()
        };
        let mut expected = fed(&plan(FUNCTIONS, Order::NewestFirst));
        expected.reverse();
        prop_assert_eq!(fed(&plan(FUNCTIONS, Order::OldestFirst)), expected);
    }
}

#[tokio::test]
async fn a_stream_gives_pages_of_either_form_in_either_form() {
    let samples: Vec<(u64, f64)> = (0..40).map(|at| (30 + at * 3, at as f64)).collect();
    let page = |order| fed(&plan(FUNCTIONS, order), &samples, 7, 11).finish_page().unwrap();
    let columns = page(Order::OldestFirst);
    assert!(matches!(columns, BucketPage::Columns(_)));
    let mut buckets = columns.clone().into_buckets();
    let mut other = Bucket::clone(&buckets[0]);
    other.record = "s".into();
    buckets.push(other);
    let pages = || {
        let mut first = BucketPage::default();
        first.append(columns.clone());
        let second: BucketPage = buckets[buckets.len() - 1..].to_vec().into();
        BucketStream::new(stream::iter([first, BucketPage::default(), second].map(Ok)))
    };
    assert_eq!(pages().map(Result::unwrap).collect::<Vec<_>>().await, buckets);
    let mut one = pages();
    assert_eq!(one.next().await.unwrap().unwrap(), buckets[0]);
    assert_eq!(one.next_page().await.unwrap().unwrap(), buckets[1..buckets.len() - 1]);
    for stream in [pages(), BucketStream::from_buckets(buckets.clone())] {
        let mut stream = stream;
        let mut all = Vec::new();
        while let Some(columns) = stream.next_columns().await {
            let columns = columns.unwrap();
            assert_eq!(columns.counts().len(), columns.len());
            all.push(columns);
        }
        let names: Vec<&str> = all.iter().map(|columns| &**columns.record()).collect();
        assert_eq!(names, ["r", "s"]);
        let found: Vec<Bucket> = all.into_iter().flat_map(BucketColumns::into_buckets).collect();
        assert_eq!(found, buckets);
    }
}

#[test]
fn columns_of_one_record_are_put_together() {
    let samples: Vec<(u64, f64)> = (0..40).map(|at| (30 + at * 3, at as f64)).collect();
    let mut skipped = series(&plan(FUNCTIONS, Order::OldestFirst));
    skipped.skip(500).unwrap();
    let later = BucketColumns::from_buckets(skipped.finish().unwrap()).unwrap();
    let flat = fed(&plan(FUNCTIONS, Order::OldestFirst), &samples, 7, 0);
    let BucketPage::Columns(mut earlier) = flat.finish_page().unwrap() else { panic!() };
    let mut all = earlier.remove(0);
    let mut expected = all.clone().into_buckets();
    expected.extend(later.clone().into_buckets());
    all.append(later);
    assert_eq!(all.into_buckets(), expected);
}
