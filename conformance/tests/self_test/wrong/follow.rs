//! Backends whose followers are wrong.

use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{
    Cursor, Erasure, FollowFrom, FollowPage, FollowParams, Grammar, MemoryBackend, Pattern,
    PersistenceBackend, PersistenceError, QueryParams, RawRow, Row, async_trait,
};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    let subjects = [
        twisted("followers_miss_late_rows", || MissesLateRows, &["FOLLOW-1"])
            .caught_by("follow_1_late_rows_arrive"),
        twisted("a_cursor_repeats_a_row", || RepeatsARow, &["FOLLOW-4", "FOLLOW-8"])
            .caught_by("follow_4_a_cursor_goes_on_behind_its_row"),
        twisted("the_newest_rows_come_twice", || NewestRowsComeTwice, &["FOLLOW-3"])
            .caught_by("follow_3_the_newest_rows_come_first"),
        twisted(
            "followers_get_the_last_of_equals_first",
            || LastOfEqualsFirst,
            &["FOLLOW-1", "FOLLOW-2", "FOLLOW-4", "FOLLOW-8"],
        )
        .caught_by("follow_2_rows_of_a_record_come_in_order"),
        twisted("closing_leaves_followers_waiting", || WaitsForEver, &["FOLLOW-6"])
            .caught_by("follow_6_closing_ends_it"),
        twisted("any_cursor_is_taken", || TakesAnyCursor, &["FOLLOW-4"])
            .caught_by("follow_4_what_is_no_cursor_is_refused"),
        twisted("cursors_of_others_are_taken", || TakesCursorsOfOthers, &["FOLLOW-9"])
            .caught_by("follow_9_a_cursor_of_another_history_is_refused"),
        twisted("now_is_the_beginning", || NowIsTheBeginning, &["FOLLOW-3"])
            .caught_by("follow_3_from_now_nothing_old_comes"),
        twisted("corrected_rows_arrive", CorrectedRowsArrive::default, &["FOLLOW-8"])
            .caught_by("follow_8_a_follower_at_its_end_gets_no_row_again"),
        twisted("erasing_moves_places", ErasingMovesPlaces::default, &["FOLLOW-8"])
            .caught_by("follow_8_erase_and_correct_leave_every_place"),
    ];
    subjects.into_iter().map(Subject::unseen_by_random).collect()
}

/// A wrong backend that follows in its own way.
macro_rules! wrong_follow {
    ($($(#[$doc:meta])* $name:ident: |$inner:ident, $pattern:ident, $params:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        struct $name;

        #[async_trait]
        impl Twist for $name {
            async fn follow(
                &self,
                $inner: &MemoryBackend,
                $pattern: &str,
                $params: &FollowParams,
            ) -> Result<FollowPage> {
                $body
            }
        }
    )*};
}

wrong_follow! {
    /// Goes by time, as if rows arrived in order of it.
    MissesLateRows: |inner, pattern, params| {
        let mut page = inner.follow_page(pattern, params).await?;
        let newest = select(inner, pattern, QueryParams::latest(1)).await?;
        page.rows.retain(|row| {
            let of_record = newest.iter().find(|other| other.record == row.record);
            of_record.is_none_or(|newest| row.stored_at + 1_000_000 > newest.stored_at)
        });
        Ok(page)
    };
    /// The cursor within a page is that of the row before.
    RepeatsARow: |inner, pattern, params| {
        let page = inner.follow_page(pattern, params).await?;
        let cursors: Vec<Option<Cursor>> =
            (0..page.rows.len()).map(|rows| page.cursor_after(rows.saturating_sub(1).max(1))).collect();
        let FollowPage { rows, cursor, caught_up, .. } = page;
        let page = FollowPage::new(rows, cursor, caught_up);
        Ok(page.with_row_cursors(move |rows| cursors.get(rows).cloned().flatten()))
    };
    /// What follows the newest rows begins with the history.
    NewestRowsComeTwice: |inner, pattern, params| {
        let mut page = inner.follow_page(pattern, params).await?;
        if matches!(params.from, FollowFrom::Latest(_)) {
            page.cursor = inner.follow_page(pattern, &params.clone().with_from(FollowFrom::Time(0)).with_page_rows(1)).await?.cursor;
        }
        Ok(page)
    };
    /// Sorts a page by time and not by arrival.
    LastOfEqualsFirst: |inner, pattern, params| {
        let mut page = inner.follow_page(pattern, params).await?;
        if !matches!(params.from, FollowFrom::Latest(_)) {
            page.rows.reverse();
            page.rows.sort_by_key(|row| row.stored_at);
        }
        Ok(page)
    };
    /// Nobody wakes those who wait when the store is closed.
    WaitsForEver: |inner, pattern, params| match inner.follow_page(pattern, params).await {
        Err(PersistenceError::BackendShutdown) => pending().await,
        page => page,
    };
    /// A cursor that it cannot read means the beginning.
    TakesAnyCursor: |inner, pattern, params| match inner.follow_page(pattern, params).await {
        Err(PersistenceError::InvalidCursor { .. }) => {
            inner.follow_page(pattern, &params.clone().with_from(FollowFrom::Time(0)).with_wait(false)).await
        }
        page => page,
    };
    /// A cursor of another store means its end.
    TakesCursorsOfOthers: |inner, pattern, params| match inner.follow_page(pattern, params).await {
        Err(PersistenceError::AnotherHistory { .. }) => {
            inner.follow_page(pattern, &params.clone().with_from(FollowFrom::Now).with_wait(false)).await
        }
        page => page,
    };
    /// Begins with what is there.
    NowIsTheBeginning: |inner, pattern, params| match params.from {
        FollowFrom::Now => inner.follow_page(pattern, &params.clone().with_from(FollowFrom::Time(0))).await,
        _ => inner.follow_page(pattern, params).await,
    };
}

/// A corrected row counts as one that arrives.
#[derive(Default)]
struct CorrectedRowsArrive(Mutex<Vec<RawRow>>);

#[async_trait]
impl Twist for CorrectedRowsArrive {
    async fn correct(&self, inner: &MemoryBackend, row: &Row) -> Result<bool> {
        let corrected = inner.correct(row).await?;
        if corrected {
            let json = row.value.as_str().into();
            let row = RawRow::new(row.record.as_str().into(), json, row.stored_at);
            self.0.lock().unwrap().push(row);
        }
        Ok(corrected)
    }

    async fn follow(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage> {
        let mut page = inner.follow_page(pattern, params).await?;
        if matches!(params.from, FollowFrom::Cursor(_)) {
            let matching = Pattern::new(pattern, params.grammar)?;
            let corrected = std::mem::take(&mut *self.0.lock().unwrap());
            let corrected = corrected.into_iter().filter(|row| matching.matches(&row.record));
            page.rows.splice(0..0, corrected);
        }
        Ok(page)
    }
}

/// Counts rows from the front, so that those that are erased move every place.
#[derive(Default)]
struct ErasingMovesPlaces(AtomicBool);

#[async_trait]
impl Twist for ErasingMovesPlaces {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let erased = inner.erase(erasure).await?;
        let some_are_left = !inner.records("*", Grammar::Glob).await?.is_empty();
        self.0.fetch_or(erased > 0 && some_are_left, Ordering::Relaxed);
        Ok(erased)
    }

    async fn follow(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage> {
        let mut page = inner.follow_page(pattern, params).await?;
        let is_resumed = matches!(params.from, FollowFrom::Cursor(_));
        if is_resumed && !page.rows.is_empty() && self.0.load(Ordering::Relaxed) {
            page.rows.remove(0);
        }
        Ok(page)
    }
}
