//! Replicas as processes of the program, in front of a real server.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic")]

mod load;
mod replica;
mod settings;
mod survive;
mod sweep;

use settings::{
    a_replica_starts_before_its_database, a_server_for_others_needs_tokens_or_a_word,
    an_invalid_setting_is_named_and_exits_with_2, rows_left_behind_set_the_exit_code,
    the_password_may_come_from_a_file,
};
use survive::nothing_acknowledged_is_lost_or_doubled;
use sweep::one_replica_sweeps_at_a_time;

annals_test_postgres::server_tests! {
    async nothing_acknowledged_is_lost_or_doubled,
    async one_replica_sweeps_at_a_time,
    async a_replica_starts_before_its_database,
    async the_password_may_come_from_a_file,
    async rows_left_behind_set_the_exit_code,
    sync an_invalid_setting_is_named_and_exits_with_2,
    sync a_server_for_others_needs_tokens_or_a_word,
}
