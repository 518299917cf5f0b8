//! The summary of a record, made while its rows go by: memory does not grow with their number.

use std::cmp::Ordering;

use annals::{PersistenceBackend, PersistenceError, QueryExt, QueryParams};
use futures_util::StreamExt;
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::results::{Numbers, Summary, ValueRow};

/// Reads one record within the window. `member` says where in a value the number is.
pub(super) async fn read(
    store: &dyn PersistenceBackend,
    record: &str,
    member: Option<&str>,
    params: QueryParams,
) -> Result<Summary, PersistenceError> {
    let mut rows = store.stream_typed::<Box<RawValue>>(record, params).await?;
    let mut summary = Summary { record: record.to_owned(), ..Summary::default() };
    let mut first = None;
    let mut tally = Tally::default();
    while let Some(row) = rows.next().await.transpose()? {
        // A server's pattern may mean other records too where a name looks like one.
        if *row.record != *record {
            continue;
        }
        summary.count += 1;
        match number(&row.value, member) {
            Some(number) => tally.add(number),
            None => summary.without_number += 1,
        }
        // The newest comes first.
        if summary.last.is_none() {
            summary.last = Some(ValueRow::new(record, &row.value, row.stored_at).0);
        }
        first = Some(row);
    }
    summary.first = first.map(|row| ValueRow::new(record, &row.value, row.stored_at).0);
    summary.unreadable = rows.skipped();
    summary.numbers = tally.finish();
    Ok(summary)
}

/// The number at `member`: a JSON pointer if it begins with a slash, otherwise a member's name.
fn number(value: &RawValue, member: Option<&str>) -> Option<Number> {
    let value: Value = serde_json::from_str(value.get()).ok()?;
    let found = match member {
        None | Some("") => Some(&value),
        Some(pointer) if pointer.starts_with('/') => value.pointer(pointer),
        Some(name) => value.get(name),
    };
    match found {
        Some(Value::Number(number)) => Some(number.clone()),
        _ => None,
    }
}

/// Least, greatest and sum. The sum is Neumaier's: what rounding loses is kept beside it, so that
/// the mean of millions of values is as good as that of ten.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    range: Option<(Number, Number)>,
    sum: f64,
    lost: f64,
}

impl Tally {
    fn add(&mut self, number: Number) {
        // Always there: numbers are not kept as text.
        let Some(value) = number.as_f64() else { return };
        self.count += 1;
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
        match &mut self.range {
            None => self.range = Some((number.clone(), number)),
            Some((_, max)) if compare(&number, max) == Ordering::Greater => *max = number,
            Some((min, _)) if compare(&number, min) == Ordering::Less => *min = number,
            Some(_) => {}
        }
    }

    fn finish(self) -> Option<Numbers> {
        let (min, max) = self.range?;
        let mean = (self.sum + self.lost) / self.count as f64;
        Some(Numbers { count: self.count, min, max, mean: Some(mean).filter(|m| m.is_finite()) })
    }
}

/// Whole numbers compare exactly, others as floats.
fn compare(a: &Number, b: &Number) -> Ordering {
    match (a.as_i128(), b.as_i128(), a.as_f64(), b.as_f64()) {
        (Some(a), Some(b), ..) => a.cmp(&b),
        (.., Some(a), Some(b)) => a.total_cmp(&b),
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: &[&str]) -> Numbers {
        let mut tally = Tally::default();
        for number in numbers {
            tally.add(serde_json::from_str(number).unwrap());
        }
        tally.finish().unwrap()
    }

    #[test]
    fn the_mean_keeps_what_rounding_loses() {
        let numbers = tally(&["1", "1e100", "1", "-1e100"]);
        assert_eq!(numbers.mean, Some(0.5));
        assert_eq!(tally(&["1e308", "1e308"]).mean, None);
        assert_eq!(
            (numbers.min.to_string(), numbers.max.to_string()),
            ("-1e+100".into(), "1e+100".into())
        );
    }

    #[test]
    fn whole_numbers_are_exact_beyond_what_floats_hold() {
        let numbers = tally(&["9007199254740993", "9007199254740992", "18446744073709551615"]);
        assert_eq!(numbers.min.as_u64(), Some(9_007_199_254_740_992));
        assert_eq!(numbers.max.as_u64(), Some(u64::MAX));
    }

    #[test]
    fn a_member_is_a_name_or_a_pointer() {
        let value: Box<RawValue> =
            serde_json::from_str(r#"{"a":1,"b":{"c":[2]},"/x":3,"s":"4"}"#).unwrap();
        let at = |member| number(&value, member).and_then(|number| number.as_u64());
        assert_eq!(at(Some("a")), Some(1));
        assert_eq!(at(Some("/b/c/0")), Some(2));
        assert_eq!(at(Some("/~1x")), Some(3));
        assert_eq!(at(Some("s")), None);
        assert_eq!(at(Some("b")), None);
        assert_eq!(at(None), None);
        let plain: Box<RawValue> = serde_json::from_str("7").unwrap();
        assert_eq!(number(&plain, None).and_then(|number| number.as_u64()), Some(7));
    }
}
