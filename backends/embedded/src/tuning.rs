//! When the head is folded, and when runs are merged.

use annals_core::PersistenceError;

use crate::engine::Run;
use crate::format::Layout;

/// The sizes at which work is due. Not a setting of users: tests make them tiny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// The head is folded once it has so many rows…
    pub fold_rows: usize,
    /// … or so many bytes of text…
    pub fold_bytes: usize,
    /// … or so many blocks.
    pub fold_blocks: usize,
    /// Runs below these numbers of rows are of class 0, 1, 2; greater ones are final.
    pub class_rows: [u64; 3],
    /// The same in bytes; the greater class counts.
    pub class_bytes: [u64; 3],
    /// So many runs of a class are merged into one.
    pub merged_runs: usize,
    /// A run with fewer rows is not worth splitting.
    pub split_rows: u64,
    /// How runs are laid out.
    pub layout: Layout,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            fold_rows: 1 << 16,
            fold_bytes: 4 << 20,
            fold_blocks: 1 << 13,
            class_rows: [8 << 10, 64 << 10, 512 << 10],
            class_bytes: [512 << 10, 4 << 20, 32 << 20],
            merged_runs: 8,
            split_rows: 16 << 10,
            layout: Layout::default(),
        }
    }
}

/// How much there is in the head, or in a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeadSize {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) blocks: usize,
}

impl HeadSize {
    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.blocks += other.blocks;
    }
}

/// The writer waits for the folding once the head is so many times as large as one to be folded.
const HEAD_BOUND: usize = 4;

impl Tuning {
    /// Whether the head is to be folded.
    pub(crate) fn fold_is_due(&self, head: HeadSize) -> bool {
        head.rows >= self.fold_rows
            || head.bytes >= self.fold_bytes
            || head.blocks >= self.fold_blocks
    }

    /// Whether the head may not grow any more.
    pub(crate) fn head_is_full(&self, head: HeadSize) -> bool {
        head.rows >= self.fold_rows.saturating_mul(HEAD_BOUND)
            || head.bytes >= self.fold_bytes.saturating_mul(HEAD_BOUND)
            || head.blocks >= self.fold_blocks.saturating_mul(HEAD_BOUND)
    }

    fn class(&self, run: &Run) -> usize {
        let below = |bounds: &[u64; 3], size| bounds.iter().filter(|bound| size >= **bound).count();
        below(&self.class_rows, run.rows).max(below(&self.class_bytes, run.bytes))
    }

    /// Which runs are to be merged into one, if any: neighbours, the newest of all. `runs` are in
    /// order.
    pub(crate) fn due_merge<'a>(&self, runs: &'a [Run]) -> Option<&'a [Run]> {
        let [.., most_rows] = self.class_rows;
        let [.., most_bytes] = self.class_bytes;
        for class in 0..self.class_rows.len() {
            let begin = runs.iter().rposition(|run| self.class(run) > class).map_or(0, |at| at + 1);
            let mut due = &runs[begin..];
            if parts_counted_once(due) < self.merged_runs {
                continue;
            }
            // What comes of it is final at the latest when it has twice the size of what must be.
            while due.len() > 2
                && (sum(due, |run| run.rows) > 2 * most_rows
                    || sum(due, |run| run.bytes) > 2 * most_bytes)
            {
                due = &due[1..];
            }
            return Some(due);
        }
        None
    }
}

fn sum(runs: &[Run], of: impl Fn(&Run) -> u64) -> u64 {
    runs.iter().map(of).fold(0, u64::saturating_add)
}

/// The two parts of a split run count as one: otherwise every merge would make half of the next.
fn parts_counted_once(runs: &[Run]) -> usize {
    runs.chunk_by(|a, b| a.order.head == b.order.head).count()
}

/// For a place where an error cannot be told: says it in the log.
pub(crate) fn log_failure(engine: &'static str, what: &'static str, error: &PersistenceError) {
    tracing::error!(engine, %error, "{what} failed; it is tried again");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunOrder;

    fn runs(rows: &[u64]) -> Vec<Run> {
        let run = |(at, rows): (u64, &u64)| Run {
            id: at,
            order: RunOrder { head: at, part: 0 },
            rows: *rows,
            first: 0,
            last: 0,
            bytes: *rows,
        };
        (1..).zip(rows).map(run).collect()
    }

    fn tuning() -> Tuning {
        Tuning {
            class_rows: [10, 100, 1_000],
            class_bytes: [u64::MAX / 4; 3],
            merged_runs: 3,
            ..Tuning::default()
        }
    }

    fn due(rows: &[u64]) -> usize {
        tuning().due_merge(&runs(rows)).map_or(0, <[Run]>::len)
    }

    #[test]
    fn enough_small_neighbours_are_merged_and_the_newest_are_among_them() {
        assert_eq!(due(&[]), 0);
        assert_eq!(due(&[5, 5]), 0);
        assert_eq!(due(&[5, 5, 5]), 3);
        assert_eq!(due(&[50, 5, 5]), 3);
        assert_eq!(due(&[500, 50, 5, 5, 5]), 3);
        assert_eq!(due(&[5, 5, 5, 2_000, 5]), 0);
        assert_eq!(due(&[2_000, 900, 900, 900]), 2);
        assert_eq!(due(&[2_000; 9]), 0);
    }

    #[test]
    fn the_parts_of_a_split_run_count_as_one() {
        let mut parts = runs(&[50, 5, 50, 5]);
        for (at, run) in (2_u64..).zip(&mut parts) {
            run.order = RunOrder { head: at / 2, part: (at % 2) as u8 };
        }
        assert_eq!(tuning().due_merge(&parts), None);
        parts.extend(runs(&[0, 0, 0, 0, 7]).pop());
        assert_eq!(tuning().due_merge(&parts).map(<[Run]>::len), Some(5));
    }
}
