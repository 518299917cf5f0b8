//! Who is tested, and what is expected of each.

use std::sync::Arc;
use std::time::Duration;

use annals_conformance::Suite;
use annals_core::MemoryBackend;

use crate::journal::{Flaw, JournalHarness};
use crate::three_methods::{ClaimsAtomic, ThreeMethods};
use crate::twist::{Twist, Twisted};
use crate::wrong_aggregates::*;
use crate::wrong_erasures::*;
use crate::wrong_filters::*;
use crate::wrong_follow::*;
use crate::wrong_patterns::*;
use crate::wrong_reads::*;
use crate::wrong_writes::*;

/// A backend and what is expected of it.
pub(crate) struct Subject {
    pub(crate) suite: Suite,
    /// The clauses that must fail; no other may.
    pub(crate) breaks: &'static [&'static str],
    /// Clauses that fail or not, depending on a random number.
    pub(crate) perhaps: &'static [&'static str],
    /// Whether random sequences of calls must find it. They may not where it takes many rows, much
    /// time, several tasks, or a sequence that is not always tried.
    pub(crate) random_finds: bool,
    /// How many cases must run, rather than be skipped.
    pub(crate) runs: usize,
    /// A case that must be among those that fail.
    pub(crate) caught_by: Option<&'static str>,
}

impl Subject {
    fn new(suite: Suite, breaks: &'static [&'static str]) -> Self {
        let suite = suite.with_timeout(Duration::from_secs(60));
        let random_finds = !breaks.is_empty();
        Self { suite, breaks, perhaps: &[], random_finds, runs: 60, caught_by: None }
    }

    pub(crate) fn unseen_by_random(mut self) -> Self {
        self.random_finds = false;
        self
    }

    fn perhaps(mut self, clauses: &'static [&'static str]) -> Self {
        self.perhaps = clauses;
        self
    }

    /// What only this case finds, besides random calls perhaps.
    pub(crate) fn caught_by(mut self, case: &'static str) -> Self {
        self.caught_by = Some(case);
        self
    }

    fn running(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }
}

/// A wrong backend around the reference. Each store gets a twist of its own.
pub(crate) fn twisted<T: Twist>(
    name: &str,
    twist: impl Fn() -> T + Send + Sync + 'static,
    breaks: &'static [&'static str],
) -> Subject {
    let make = move || Twisted::new(MemoryBackend::new(), Arc::new(twist()));
    Subject::new(Suite::in_memory(name, make), breaks)
}

fn journal(name: &str, flaw: Flaw, breaks: &'static [&'static str]) -> Subject {
    let random_finds = matches!(flaw, Flaw::ForgetsBatchIds | Flaw::ReversesEqualsWhenOpened);
    let suite = Suite::new(JournalHarness(name.to_owned(), flaw));
    Subject { random_finds, ..Subject::new(suite, breaks) }
}

pub(crate) fn subjects() -> Vec<Subject> {
    let mut subjects = right();
    subjects.extend(wrong_reads());
    subjects.extend(wrong_aggregates());
    subjects.extend(wrong_filters());
    subjects.extend(wrong_follow());
    subjects.extend(wrong_writes());
    subjects.extend(wrong_erasures());
    subjects.extend(wrong_journals());
    subjects
}

fn right() -> Vec<Subject> {
    vec![
        Subject::new(Suite::in_memory("right_three_methods_alone", ThreeMethods::default), &[])
            .running(70),
        journal("right_journal", Flaw::None, &[]).running(95),
        twisted("right_reference_untwisted", || Values(Clone::clone), &[]).running(75),
    ]
}

fn wrong_follow() -> Vec<Subject> {
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

fn wrong_reads() -> Vec<Subject> {
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
        twisted("no_snapshot", || NoSnapshot, &["QUERY-3"]).unseen_by_random(),
        twisted(
            "snapshot_of_the_first_pages",
            || SnapshotOfTheFirstPages,
            &["QUERY-3", "CORRECT-1"],
        )
        .unseen_by_random()
        .caught_by("query_3_a_long_stream_sees_batches_whole_or_not_at_all"),
        twisted("streams_are_leaked", || LeaksStreams(0.into()), &["QUERY-4"]).unseen_by_random(),
        twisted("readers_lock_writers_out", ReadersLockWritersOut::default, &["QUERY-4"])
            .unseen_by_random(),
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
        twisted("case_is_folded", || Matching(without_case), &["NAME-3"]),
        twisted("wildcards_ignore_case", || Matching(wildcards_without_case), &["NAME-3"])
            .caught_by("name_3_patterns_fold_nothing_either"),
        twisted("like_pattern", || Matching(like), &["PATTERN-2"]),
        twisted("one_star_only", || Matching(one_star), &["PATTERN-1"]),
        twisted("prefix_short_of_the_last", || Matching(short_of_the_last), &["PATTERN-1"]),
        twisted("slow_matcher", || Matching(slow), &["PATTERN-4"]).unseen_by_random(),
        twisted("empty_pattern_is_everything", || EmptyIsEverything, &["PATTERN-3"])
            .unseen_by_random(),
        twisted("one_grammar_only", || OneGrammar, &["PATTERN-5"]),
    ]
}

fn wrong_aggregates() -> Vec<Subject> {
    vec![
        twisted("booleans_are_no_samples", || Rows(without_booleans), &["SAMPLE-1", "FILTER-4"]),
        twisted("null_is_zero", || Rows(null_is_zero), &["SAMPLE-1", "FUNCTION-1"]),
        twisted("origin_is_the_epoch", || Asks(from_the_epoch), &["BUCKET-1"]).unseen_by_random(),
        twisted("days_of_utc", || Asks(utc), &["BUCKET-2"]),
        twisted(
            "buckets_begin_with_a_row",
            || Answers(begin_with_a_row),
            &["BUCKET-3", "FUNCTION-1", "FUNCTION-5"],
        ),
        twisted(
            "buckets_are_clipped",
            || Answers(clipped),
            &[
                "BUCKET-2",
                "BUCKET-4",
                "FUNCTION-1",
                "FUNCTION-4",
                "FUNCTION-5",
                "FUNCTION-6",
                "FUNCTION-7",
                "FILL-1",
            ],
        ),
        twisted(
            "window_without_its_end",
            || Asks(without_the_end),
            &[
                "BUCKET-2",
                "BUCKET-3",
                "BUCKET-4",
                "FUNCTION-1",
                "FUNCTION-4",
                "FUNCTION-5",
                "FUNCTION-6",
                "FILL-1",
            ],
        ),
        twisted("a_wide_window_is_refused", || WideWindows, &["BUCKET-5"]).unseen_by_random(),
        twisted("newest_record_first", || Answers(last_record_first), &["BUCKET-6"]),
        twisted("a_query_for_each_record", || OneByOne, &["BUCKET-6"]).unseen_by_random(),
        twisted("last_of_equals_is_first", || Rows(equals_reversed), &["FUNCTION-1"]),
        twisted("sums_are_rounded", || Partials(rounded_sum), &["FUNCTION-2", "FILTER-4"])
            .unseen_by_random(),
        twisted("stddev_from_squares", || Partials(from_squares), &["FUNCTION-2", "FILTER-4"])
            .unseen_by_random(),
        twisted(
            "nothing_is_skipped",
            || Partials(nothing_skipped),
            &[
                "SAMPLE-1",
                "FUNCTION-1",
                "FUNCTION-2",
                "FUNCTION-3",
                "FILL-1",
                "GROUP-1",
                "FILTER-4",
            ],
        ),
        twisted("nearest_rank", || Partials(nearest_rank), &["FUNCTION-3", "FILTER-4"]),
        twisted("increase_within_the_bucket", || ForgetsBefore(increases), &["FUNCTION-4"])
            .unseen_by_random(),
        twisted("held_within_the_window", || ForgetsBefore(holds), &["FUNCTION-5", "FUNCTION-6"]),
        twisted("held_for_ever", || Asks(held_for_ever), &["FUNCTION-5", "FUNCTION-6"]),
        twisted("held_across_gaps", || Asks(across_gaps), &["FUNCTION-5", "FUNCTION-6"]),
        twisted("always_steps", || Asks(steps), &["FUNCTION-5"]),
        twisted("states_are_text", || Rows(states_are_text), &["FUNCTION-6"]).unseen_by_random(),
        twisted("empty_is_filled", || Answers(empty_is_filled), &["FUNCTION-7", "FILL-1"]),
        twisted(
            "filled_within_the_window",
            || ForgetsBefore(fills),
            &["FILL-1", "GROUP-1", "FILTER-4"],
        ),
        twisted(
            "never_filled",
            || Asks(never_filled),
            &["BUCKET-5", "FILL-1", "FUNCTION-7", "GROUP-1"],
        ),
        twisted("never_merged", || Asks(never_merged), &["GROUP-1"]),
    ]
}

fn wrong_erasures() -> Vec<Subject> {
    vec![
        twisted(
            "erases_short_of_the_end",
            || Erases(short_of_the_end),
            &["ERASE-1", "ERASE-2", "ERASE-5"],
        ),
        twisted("erases_whatever_the_filter", || Erases(whatever_the_filter), &["ERASE-1"]),
        twisted(
            "counts_records_instead",
            || CountsRecords,
            &["ERASE-1", "CORRECT-1", "ERASE-2", "ERASE-3", "ERASE-4", "ERASE-5"],
        ),
        twisted("erases_a_thousand_rows", || ErasesAThousand, &["ERASE-1"])
            .unseen_by_random()
            .caught_by("erase_1_counts_exactly_over_many_rows"),
        twisted("claims_no_erasure_and_erases", || ErasesUnclaimed, &["ERASE-1"])
            .unseen_by_random(),
        twisted("erases_record_by_record", || ErasesRecordByRecord, &["ERASE-2"])
            .unseen_by_random()
            .caught_by("erase_2_readers_see_no_part_of_it"),
        twisted("erases_what_comes_meanwhile", || ErasesLater, &["ERASE-3"])
            .unseen_by_random()
            .caught_by("erase_3_rows_that_are_stored_meanwhile_are_counted_or_stay"),
        twisted("forgets_ids_of_what_is_erased", ForgetsErasedIds::default, &["ERASE-4"]),
        twisted("lists_erased_records", ListsErasedRecords::default, &["ERASE-5", "ERASE-1"]),
        twisted("corrects_the_first_of_equals", || Corrects(the_first), &["CORRECT-1", "FOLLOW-8"])
            .unseen_by_random(),
        twisted(
            "corrects_by_adding_a_row",
            || Corrects(by_adding),
            &["CORRECT-1", "CORRECT-2", "FOLLOW-8"],
        ),
        twisted(
            "corrects_what_is_not_there",
            || Corrects(what_is_not_there),
            &["CORRECT-1", "FOLLOW-8"],
        ),
        twisted("erases_before_it_corrects", || ErasesBeforeItCorrects, &["CORRECT-2", "FOLLOW-8"])
            .unseen_by_random()
            .caught_by("correct_2_a_reader_sees_the_old_value_or_the_new_one"),
    ]
}

fn wrong_writes() -> Vec<Subject> {
    let unlimited = || {
        let memory = MemoryBackend::new().with_max_value_bytes(usize::MAX);
        struct Unlimited;
        #[annals_core::async_trait]
        impl Twist for Unlimited {
            async fn store(
                &self,
                inner: &MemoryBackend,
                record: &str,
                value: &annals_core::Value,
                at: u64,
            ) -> crate::twist::Result<()> {
                annals_core::PersistenceBackend::store(inner, record, value, at).await
            }
        }
        Twisted::new(memory, Arc::new(Unlimited))
    };
    vec![
        twisted("names_with_stars", || Takes(stars), &["NAME-2"]),
        twisted("names_with_nul", || Takes(nuls), &["NAME-2"]),
        twisted(
            "single_precision",
            || Values(single_precision),
            &["VALUE-1", "SAMPLE-1", "FUNCTION-1", "FUNCTION-2"],
        ),
        twisted("no_negative_zero", || Values(no_negative_zero), &["VALUE-1"]),
        twisted("no_nul_in_strings", || Values(no_nul), &["VALUE-1", "FUNCTION-6"]),
        twisted("signed_integers_only", || Values(signed_integers), &["VALUE-1", "FILTER-1"])
            // The identity of a history is a random number.
            .perhaps(&["RETAIN-1"]),
        twisted("too_deep_is_null", || Takes(deep_values), &["VALUE-2"]).unseen_by_random(),
        Subject::new(Suite::in_memory("no_size_limit", unlimited), &["VALUE-3"]).unseen_by_random(),
        twisted("refuses_the_next_too", RefusesTheNextToo::default, &["VALUE-3"])
            .unseen_by_random(),
        twisted("late_times_are_clamped", || Takes(late_times), &["TIME-1"]),
        twisted("half_a_batch", || HalfBatch, &["BATCH-1"]),
        twisted("commits_every_ten_rows", CommitsEveryTenRows::default, &["BATCH-1"])
            .unseen_by_random()
            .caught_by("batch_1_readers_see_no_part_of_a_large_batch"),
        Subject::new(
            Suite::in_memory("three_methods_claim_atomic", ClaimsAtomic::default),
            &["BATCH-1"],
        )
        .unseen_by_random()
        .caught_by("batch_1_readers_see_no_part_of_a_large_batch"),
        twisted("more_rows_than_parameters", || MoreRowsThanParameters, &["BATCH-1"])
            .unseen_by_random()
            .caught_by("batch_1_a_batch_has_tens_of_thousands_of_rows"),
        twisted("invalid_row_is_not_named", || UnnamedRow, &["BATCH-1"]),
        twisted(
            "backwards_batch",
            || BackwardsBatch,
            &[
                "BATCH-2",
                "TIME-3",
                "RECORD-3",
                "FUNCTION-1",
                "CORRECT-1",
                "FOLLOW-1",
                "FOLLOW-2",
                "FOLLOW-5",
                "FOLLOW-8",
            ],
        ),
        twisted("ids_are_ignored", || IgnoresIds, &["BATCH-3", "RETAIN-1", "DURABLE-4", "ERASE-4"]),
        twisted(
            "knows_the_last_batch_only",
            || KnowsTheLastBatchOnly,
            &["BATCH-3", "RETAIN-1", "ERASE-4"],
        )
        .unseen_by_random(),
        twisted(
            "remembers_a_thousand_writers",
            RemembersAThousandWriters::default,
            &["BATCH-3", "RETAIN-1", "DURABLE-4", "ERASE-4"],
        )
        .unseen_by_random()
        .caught_by("durable_4_many_writers_are_remembered"),
        twisted(
            "ids_are_noted_afterwards",
            NotesIdsAfterwards::default,
            &["BATCH-3", "RETAIN-1", "DURABLE-4", "ERASE-4"],
        )
        .unseen_by_random()
        .caught_by("durable_4_a_batch_sent_by_several_tasks_at_once_is_stored_once"),
        twisted("broken_by_dropping", BrokenByDropping::default, &["CONCURRENT-2"])
            .unseen_by_random(),
        twisted("stores_twice_under_load", StoresTwiceUnderLoad::default, &["CONCURRENT-1"])
            .unseen_by_random(),
        twisted("blocks_the_executor", || BlocksTheExecutor, &["CONCURRENT-3"]).unseen_by_random(),
        twisted("closes_half", ClosesHalf::default, &["CONCURRENT-5"]).unseen_by_random(),
        twisted("cleanup_is_inclusive", || InclusiveCleanup, &["CLEANUP-1", "ERASE-3", "FOLLOW-5"]),
        twisted("cleanup_counts_inexactly", || InexactCleanup, &["CLEANUP-1", "FOLLOW-5"]),
        twisted("cleanup_counts_its_last_step", || CountsTheLastStep, &["CLEANUP-1"])
            .unseen_by_random()
            .caught_by("cleanup_1_counts_exactly_over_many_rows"),
        twisted("plan_for_a_thousand_records", || PlanForAThousandRecords, &["CLEANUP-5"])
            .unseen_by_random()
            .caught_by("cleanup_5_a_plan_reaches_every_record_and_row"),
        twisted("rules_ignore_case", || Plans(rules_without_case), &["CLEANUP-5"])
            .caught_by("cleanup_5_rules_mind_case"),
        twisted("cleanup_holds_everybody_up", CleanupHoldsEverybodyUp::default, &["CLEANUP-2"])
            .unseen_by_random(),
        twisted("empty_records_are_listed", ListsEmptyRecords::default, &["CLEANUP-4", "ERASE-5"]),
        twisted("plan_keeps_nothing", || Plans(keeps_nothing), &["CLEANUP-5"]),
        twisted("plan_holds_nothing", || Plans(holds_nothing), &["CLEANUP-6", "RETAIN-1"])
            .unseen_by_random(),
        twisted("plan_backwards", || Plans(last_rule_first), &["CLEANUP-5"]).unseen_by_random(),
        twisted("every_plan_is_plain", || EveryPlanIsPlain, &["CLEANUP-5"]).unseen_by_random(),
    ]
}

fn wrong_journals() -> Vec<Subject> {
    vec![
        journal(
            "acknowledges_early",
            Flaw::AcknowledgesEarly,
            &["DURABLE-1", "DURABLE-2", "DURABLE-4"],
        ),
        journal(
            "writes_only_at_close",
            Flaw::WritesOnlyAtClose,
            &["DURABLE-1", "DURABLE-2", "DURABLE-4", "CONCURRENT-5"],
        ),
        journal("writes_batches_in_pieces", Flaw::WritesBatchesInPieces, &["BATCH-1", "DURABLE-4"])
            .caught_by("batch_1_a_large_batch_is_whole_or_absent_after_kill_9"),
        journal("notes_ids_first", Flaw::NotesIdsFirst, &["DURABLE-4"])
            .caught_by("durable_4_a_large_batch_sent_again_after_kill_9_is_stored_once"),
        journal("streams_a_copy", Flaw::StreamsACopy, &["QUERY-4", "BUCKET-6"])
            .caught_by("query_4_memory_does_not_grow_with_the_rows"),
        journal("streams_record_by_record", Flaw::StreamsRecordByRecord, &["QUERY-4", "BUCKET-6"])
            .caught_by("query_4_memory_does_not_grow_with_the_rows"),
        journal("claims_many_processes", Flaw::ClaimsManyProcesses, &["CONCURRENT-4", "FOLLOW-1"])
            .caught_by("concurrent_4_processes_see_what_others_store"),
        journal("forgets_who_waits", Flaw::ForgetsWhoWaits, &["CONCURRENT-5"]),
        journal(
            "reverses_equals_when_opened",
            Flaw::ReversesEqualsWhenOpened,
            &["TIME-3", "DURABLE-2", "RECORD-3"],
        ),
        journal("forgets_batch_ids", Flaw::ForgetsBatchIds, &["BATCH-3", "DURABLE-4"]),
        journal("ignores_failed_syncs", Flaw::IgnoresFailedSyncs, &["DURABLE-3"]),
        journal("never_shrinks", Flaw::NeverShrinks, &["CLEANUP-3"]),
        journal("damage_is_null", Flaw::ReadsDamageAsNull, &["VALUE-4", "FILTER-2"]),
        journal("opens_twice", Flaw::OpensTwice, &["CONCURRENT-4"]),
        journal("blocks_while_locked", Flaw::BlocksWhileLocked, &["CONCURRENT-3"]),
        journal("limit_is_exclusive", Flaw::LimitIsExclusive, &["VALUE-3"]),
    ]
}
