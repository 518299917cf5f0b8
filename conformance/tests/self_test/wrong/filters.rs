//! Backends whose filters are wrong.

use annals_core::predicate::by_rows;
use annals_core::{
    Aggregate, Bucket, Comparison, Condition, MemoryBackend, PersistenceBackend, Predicate,
    QueryParams, RowStream, Scalar, Value, async_trait,
};
use serde_json::json;

use super::aggregates::{Answers, Asks};
use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("filters_compare_doubles", || FiltersBy(as_doubles), &["FILTER-1"])
            .unseen_by_random()
            .caught_by("filter_1_numbers_are_compared_by_value_exactly"),
        twisted("filters_compare_texts", || FiltersBy(as_texts), &["FILTER-1"])
            .caught_by("filter_1_types_do_not_mix"),
        twisted("filters_ignore_case", || FiltersBy(without_string_case), &["FILTER-1"])
            .unseen_by_random()
            .caught_by("filter_1_strings_are_compared_byte_by_byte"),
        twisted("what_is_absent_is_unequal", || RewritesFilters(absent_is_unequal), &["FILTER-2"])
            .unseen_by_random(),
        twisted("or_binds_before_and", || RewritesFilters(or_is_and), &["FILTER-2", "FILTER-1"]),
        twisted("a_limit_before_the_filter", || LimitsFirst, &["FILTER-3"]).unseen_by_random(),
        twisted("a_filter_sees_one_page", || FiltersOnePage, &["FILTER-3"])
            .unseen_by_random()
            .caught_by("filter_3_a_rare_row_is_found_among_many"),
        twisted("aggregates_ignore_the_filter", || Asks(of_every_row), &["FILTER-4"]),
        twisted("filtered_rows_are_skipped", || Answers(skips_filtered), &["FILTER-4"]),
    ]
}

/// Tests other values than those that are stored, with another predicate.
struct FiltersBy(Changes);

#[async_trait]
impl Twist for FiltersBy {
    async fn select_where(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        let Self((value, scalar)) = self;
        let other = rewritten(predicate, &|member, comparison, literal| {
            Predicate::compare(member, comparison, scalar(literal)).ok()
        });
        let limit = params.limit_per_record.unwrap_or(usize::MAX);
        let all = params.with_limit_per_record(None);
        let mut rows = select(inner, pattern, all).await?;
        rows.retain(|row| {
            let stored: Value = serde_json::from_str(&row.json).unwrap();
            other.test(&deep(&stored, *value).to_string()).unwrap()
        });
        // The newest of each record.
        let newest_first = params.order == annals_core::Order::NewestFirst;
        let all = rows.clone();
        let mut place = 0;
        rows.retain(|row| {
            let same = |other: &&annals_core::RawRow| other.record == row.record;
            let newer = match newest_first {
                true => all[..place].iter().filter(same).count(),
                false => all[place + 1..].iter().filter(same).count(),
            };
            place += 1;
            newer < limit
        });
        Ok(RowStream::from_rows(rows))
    }
}

fn deep(value: &Value, change: fn(&Value) -> Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| deep(item, change)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, member)| (key.clone(), deep(member, change))).collect()
        }
        other => change(other),
    }
}

/// What becomes of values, and of the scalars they are compared with.
type Changes = (fn(&Value) -> Value, fn(&Scalar) -> Scalar);

/// Every number is a double.
#[allow(non_upper_case_globals, reason = "it stands among functions")]
const as_doubles: Changes = (
    |value| value.as_f64().map_or(value.clone(), |number| json!(number)),
    |scalar| match scalar {
        Scalar::Bool(_) => scalar.clone(),
        other => other.sample().map_or(other.clone(), Scalar::from),
    },
);

/// Everything is text.
#[allow(non_upper_case_globals, reason = "it stands among functions")]
const as_texts: Changes = (
    |value| json!(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    |scalar| match scalar {
        Scalar::Text(_) => scalar.clone(),
        other => Scalar::from(other.to_string()),
    },
);

#[allow(non_upper_case_globals, reason = "it stands among functions")]
const without_string_case: Changes = (
    |value| value.as_str().map_or(value.clone(), |text| json!(text.to_lowercase())),
    |scalar| match scalar {
        Scalar::Text(text) => Scalar::from(text.to_lowercase()),
        other => other.clone(),
    },
);

type Rewrite<'a> = &'a dyn Fn(&str, Comparison, &Scalar) -> Option<Predicate>;

/// The predicate with its comparisons rewritten.
fn rewritten(predicate: &Predicate, rewrite: Rewrite<'_>) -> Predicate {
    let parts = |parts: &[Predicate]| -> Vec<Predicate> {
        parts.iter().map(|part| rewritten(part, rewrite)).collect()
    };
    let other = match predicate.condition() {
        Condition::Compare(member, comparison, scalar) => {
            rewrite(member.as_str(), *comparison, scalar)
        }
        Condition::Not(inner) => Some(!rewritten(inner, rewrite)),
        Condition::And(all) => parts(all).into_iter().reduce(Predicate::and),
        Condition::Or(all) => parts(all).into_iter().reduce(Predicate::or),
        _ => None,
    };
    other.unwrap_or_else(|| predicate.clone())
}

/// Asks with another filter.
struct RewritesFilters(fn(&Predicate) -> Predicate);

#[async_trait]
impl Twist for RewritesFilters {
    async fn select_where(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        inner.query_where(pattern, params, &(self.0)(predicate)).await
    }
}

/// As in languages where nothing is equal to what is not there.
fn absent_is_unequal(predicate: &Predicate) -> Predicate {
    rewritten(predicate, &|member, comparison, scalar| match comparison {
        Comparison::NotEqual => {
            Predicate::compare(member, Comparison::Equal, scalar.clone()).ok().map(|equal| !equal)
        }
        _ => None,
    })
}

/// Alternatives of which all must hold.
fn or_is_and(predicate: &Predicate) -> Predicate {
    match predicate.condition() {
        Condition::Or(parts) => {
            parts.iter().cloned().reduce(Predicate::and).unwrap_or_else(|| predicate.clone())
        }
        Condition::Not(inner) => !or_is_and(inner),
        _ => predicate.clone(),
    }
}

/// The newest N rows, of those that satisfy it.
struct LimitsFirst;

#[async_trait]
impl Twist for LimitsFirst {
    async fn select_where(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        let mut rows = select(inner, pattern, params).await?;
        rows.retain(|row| predicate.test(&row.json).unwrap_or(false));
        Ok(RowStream::from_rows(rows))
    }
}

/// Looks for rows in the first thousand only.
struct FiltersOnePage;

#[async_trait]
impl Twist for FiltersOnePage {
    async fn select_where(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        const PAGE: usize = 1_000;
        if select(inner, pattern, params.with_limit_per_record(None)).await?.len() <= PAGE {
            return by_rows(inner, pattern, params, predicate).await;
        }
        let mut rows = select(inner, pattern, params.with_limit_per_record(PAGE)).await?;
        rows.retain(|row| predicate.test(&row.json).unwrap_or(false));
        Ok(RowStream::from_rows(rows))
    }
}

/// The question without its filter.
fn of_every_row(asked: Aggregate) -> Aggregate {
    match (asked.predicate(), Predicate::exists("")) {
        (Some(_), Ok(every)) => asked.with_where(every),
        _ => asked,
    }
}

/// Rows that do not satisfy the filter have no sample.
fn skips_filtered(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
    if asked.predicate().is_some() {
        for bucket in buckets {
            bucket.skipped += 1;
        }
    }
}
