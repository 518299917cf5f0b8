//! Backends whose queries and listings are wrong.

use annals_core::{
    BackendError, ErrorKind, Grammar, MAX_TIMESTAMP, MemoryBackend, Order, PersistenceBackend,
    QueryParams, RawRow, RecordSummary, async_trait,
};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("exclusive_end", || ExclusiveEnd, &["RANGE-2", "ASOF-1", "RETAIN-1", "CORRECT-1"]),
        twisted(
            "exclusive_start",
            || ExclusiveStart,
            &["RANGE-2", "RESTORE-1", "RETAIN-1", "CORRECT-1"],
        ),
        twisted(
            "start_is_not_looked_at",
            || NoStart,
            &["RANGE-1", "RANGE-2", "RANGE-3", "LATEST-1", "RESTORE-1", "CORRECT-1"],
        ),
        twisted(
            "window_means_latest",
            || WindowMeansLatest,
            &["RANGE-1", "RANGE-2", "RANGE-3", "CORRECT-1"],
        ),
        twisted("crossed_bounds_are_swapped", || SwapsBounds, &["RANGE-3"]),
        twisted("great_bounds_are_refused", || RefusesGreatBounds, &["RANGE-3", "ASOF-1"]),
        twisted("limit_zero_is_everything", || ZeroIsEverything, &["LATEST-2"]),
        twisted("limit_for_the_whole_query", || GlobalLimit, &["LATEST-1", "ASOF-1"]),
        twisted("limit_before_window", || LimitBeforeWindow, &["LATEST-1", "ASOF-1", "THIN-4"]),
        twisted("limit_takes_the_oldest", || LimitTakesOldest, &["LATEST-1"]),
        twisted("full_scan", || FullScan, &["LATEST-3"]).unseen_by_random(),
        twisted("hidden_cap", || Cap, &["QUERY-2", "CORRECT-1", "ERASE-1"]).unseen_by_random(),
        twisted(
            "always_newest_first",
            || AlwaysNewestFirst,
            &["QUERY-1", "CORRECT-1", "ERASE-1", "ERASE-4"],
        ),
        twisted("listing_miscounts", || Miscounts, &["QUERY-5", "ERASE-5"]),
        twisted(
            "one_row_per_time",
            || OneRowPerTime,
            &["TIME-3", "RETAIN-1", "CORRECT-1", "FOLLOW-8"],
        ),
        twisted(
            "first_of_equals_first",
            || FirstOfEqualsFirst,
            &["TIME-3", "BATCH-2", "RECORD-3", "CORRECT-1", "FOLLOW-8"],
        ),
        twisted(
            "first_of_equals_is_latest",
            || FirstOfEqualsIsLatest,
            &["TIME-2", "RECORD-2", "ASOF-1"],
        ),
        twisted("order_of_a_locale", || LocaleOrder, &["NAME-3"]),
        twisted("one_grammar_only", || OneGrammar, &["PATTERN-5"]),
    ]
}

/// A wrong backend that only changes the parameters of a query.
macro_rules! wrong_params {
    ($($(#[$doc:meta])* $name:ident: |$params:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        struct $name;

        #[async_trait]
        impl Twist for $name {
            async fn select(&self, inner: &MemoryBackend, pattern: &str, mut $params: QueryParams) -> Result<Vec<RawRow>> {
                $body;
                select(inner, pattern, $params).await
            }
        }
    )*};
}

wrong_params! {
    /// `stored_at < end`.
    ExclusiveEnd: |params| match params.end_time {
        Some(0) => params.limit_per_record = Some(0),
        // Bounds beyond the last timestamp are none, here too.
        Some(end) if end <= MAX_TIMESTAMP => params.end_time = Some(end - 1),
        _ => {}
    };
    /// `stored_at > start`.
    ExclusiveStart: |params| match params.start_time {
        Some(MAX_TIMESTAMP) => params.limit_per_record = Some(0),
        Some(start) if start < MAX_TIMESTAMP => params.start_time = Some(start + 1),
        _ => {}
    };
    /// The start is never looked at.
    NoStart: |params| if params.start_time <= params.end_time || params.end_time.is_none() {
        params.start_time = None;
    };
    /// `LIMIT 0` for no limit.
    ZeroIsEverything: |params| if params.limit_per_record == Some(0) {
        params.limit_per_record = None;
    };
    /// `ORDER BY … DESC`, always.
    AlwaysNewestFirst: |params| params.order = Order::NewestFirst;
    /// `*` as in the first grammar.
    OneGrammar: |params| params.grammar = Grammar::Glob;
    /// A window without a limit returns the newest row of each record.
    WindowMeansLatest: |params| if params.start_time.or(params.end_time).is_some() {
        params.limit_per_record.get_or_insert(1);
    };
    /// Start and end are put in order first.
    SwapsBounds: |params| if params.start_time.is_some() && params.end_time.is_some()
        && params.start_time > params.end_time
    {
        std::mem::swap(&mut params.start_time, &mut params.end_time);
    };
}

/// A bound that does not fit the column is an error.
struct RefusesGreatBounds;

#[async_trait]
impl Twist for RefusesGreatBounds {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        if params.start_time.max(params.end_time).is_some_and(|bound| bound > MAX_TIMESTAMP) {
            let message = "out of range integral type conversion attempted";
            return Err(BackendError::new("wrong", "query", ErrorKind::Other, message).into());
        }
        select(inner, pattern, params).await
    }
}

/// A wrong backend that changes the rows that the reference finds.
macro_rules! wrong_rows {
    ($($(#[$doc:meta])* $name:ident: |$rows:ident, $params:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        struct $name;

        #[async_trait]
        impl Twist for $name {
            async fn select(&self, inner: &MemoryBackend, pattern: &str, $params: QueryParams) -> Result<Vec<RawRow>> {
                let mut $rows = select(inner, pattern, $params).await?;
                $body;
                Ok($rows)
            }
        }
    )*};
}

fn same_time(a: &RawRow, b: &RawRow) -> bool {
    a.record == b.record && a.stored_at == b.stored_at
}

wrong_rows! {
    /// One `LIMIT` for the whole query.
    GlobalLimit: |rows, params| rows.truncate(params.limit_per_record.unwrap_or(usize::MAX));
    /// A round number that somebody thought enough.
    Cap: |rows, params| rows.truncate(if params.limit_per_record.is_some() { usize::MAX } else { 10_000 });
    /// A key of record and time: the last to arrive replaces the others.
    OneRowPerTime: |rows, params| {
        if params.order == Order::OldestFirst { rows.reverse(); }
        rows.dedup_by(|a, b| same_time(a, b));
        if params.order == Order::OldestFirst { rows.reverse(); }
    };
    /// The first of equals to arrive comes first.
    FirstOfEqualsFirst: |rows, _params| {
        let runs: Vec<usize> = rows.chunk_by(same_time).map(<[_]>::len).collect();
        let mut rest = &mut rows[..];
        for run in runs {
            let (equals, others) = rest.split_at_mut(run);
            equals.reverse();
            rest = others;
        }
    };
    /// Records in the order of a locale that passes over case and punctuation.
    LocaleOrder: |rows, _params| rows.sort_by_key(|row| {
        row.record.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
    });
}

/// The newest N are taken first, and then those within the window.
struct LimitBeforeWindow;

#[async_trait]
impl Twist for LimitBeforeWindow {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        let newest = params.with_start_time(None).with_end_time(None);
        let window = params.with_limit_per_record(None);
        if params.limit_per_record.is_none() {
            return select(inner, pattern, params).await;
        }
        // Crossed and great bounds are the reference's matter.
        let mut inside = select(inner, pattern, window.with_limit_per_record(1)).await?;
        if inside.is_empty() {
            return Ok(inside);
        }
        inside = select(inner, pattern, newest).await?;
        let start = params.start_time.filter(|start| *start <= MAX_TIMESTAMP).unwrap_or(0);
        inside.retain(|row| (start..=params.end_time.unwrap_or(u64::MAX)).contains(&row.stored_at));
        Ok(inside)
    }
}

/// Oldest first with a limit returns the oldest.
struct LimitTakesOldest;

#[async_trait]
impl Twist for LimitTakesOldest {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        let few = params.limit_per_record.is_some_and(|limit| limit < 5);
        if params.order == Order::NewestFirst || !few {
            return select(inner, pattern, params).await;
        }
        let all = select(inner, pattern, params.with_limit_per_record(None)).await?;
        let limit = params.limit_per_record.unwrap_or(0);
        let records = all.chunk_by(|a, b| a.record == b.record);
        Ok(records.flat_map(|rows| rows.iter().take(limit).cloned()).collect())
    }
}

/// Reads the history to return the end of it.
struct FullScan;

#[async_trait]
impl Twist for FullScan {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        if params.limit_per_record.is_some() {
            select(inner, pattern, params.with_limit_per_record(None)).await?;
        }
        select(inner, pattern, params).await
    }
}

/// Counts one row too many.
struct Miscounts;

#[async_trait]
impl Twist for Miscounts {
    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        let mut records = inner.records(pattern, grammar).await?;
        records.iter_mut().for_each(|record| record.count += 1);
        Ok(records)
    }
}

/// The newest of equals is the first to arrive, to whoever asks for one row.
struct FirstOfEqualsIsLatest;

#[async_trait]
impl Twist for FirstOfEqualsIsLatest {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        let mut rows = select(inner, pattern, params).await?;
        if params.limit_per_record == Some(1) {
            for row in &mut rows {
                let at = QueryParams::range(row.stored_at, row.stored_at);
                if let Some(first) = select(inner, &row.record, at).await?.pop() {
                    *row = first;
                }
            }
        }
        Ok(rows)
    }
}
