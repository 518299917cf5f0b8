//! Journals with a flaw, which shows when they are opened again, killed, locked or damaged.

use crate::journal::{Flaw, journal};
use crate::subject::Subject;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        journal("blocks_while_locked", Flaw::BlocksWhileLocked, &["CONCURRENT-3"]),
        journal("claims_many_processes", Flaw::ClaimsManyProcesses, &["CONCURRENT-4", "FOLLOW-1"])
            .caught_by("concurrent_4_processes_see_what_others_store"),
        journal("never_shrinks", Flaw::NeverShrinks, &["CLEANUP-3"]),
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
        journal("forgets_who_waits", Flaw::ForgetsWhoWaits, &["CONCURRENT-5"]),
        journal(
            "reverses_equals_when_opened",
            Flaw::ReversesEqualsWhenOpened,
            &["TIME-3", "DURABLE-2", "RECORD-3"],
        ),
        journal("forgets_batch_ids", Flaw::ForgetsBatchIds, &["BATCH-3", "DURABLE-4"]),
        journal("ignores_failed_syncs", Flaw::IgnoresFailedSyncs, &["DURABLE-3"]),
        journal("keeps_what_it_refuses", Flaw::KeepsWhatItRefuses, &["DURABLE-5"]),
        journal("damage_is_null", Flaw::ReadsDamageAsNull, &["VALUE-4", "FILTER-2"]),
        journal("opens_twice", Flaw::OpensTwice, &["CONCURRENT-4"]),
        journal("limit_is_exclusive", Flaw::LimitIsExclusive, &["VALUE-3"]),
    ]
}
