//! The sizes at which work is due or divided.

use crate::format::{Block, Form, Layout};
use crate::ids::Run;

/// The sizes at which work is due. Not an option for users: tests make them tiny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// The head is flushed when it has this many rows,
    pub flush_rows: usize,
    /// this many bytes of text,
    pub flush_bytes: usize,
    /// or this many blocks.
    pub flush_blocks: usize,
    /// Runs with fewer rows than these are of tier 0, 1, 2. Larger runs are final.
    pub tier_rows: [u64; 3],
    /// The same in bytes of text; the higher tier counts.
    pub tier_bytes: [u64; 3],
    /// This many runs of a tier are merged into one.
    pub merged_runs: usize,
    /// Runs with fewer rows are not split.
    pub split_rows: u64,
    /// How runs are divided into blocks.
    pub layout: Layout,
    /// A step of an aggregate has about this many rows: some tens of milliseconds, after which other
    /// reads have their turn.
    pub step_rows: usize,
    /// A step with fewer rows is not divided between two threads.
    pub divided_rows: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            flush_rows: 1 << 16,
            flush_bytes: 4 << 20,
            flush_blocks: 1 << 13,
            tier_rows: [8 << 10, 64 << 10, 512 << 10],
            tier_bytes: [512 << 10, 4 << 20, 32 << 20],
            merged_runs: 8,
            split_rows: 16 << 10,
            layout: Layout::default(),
            step_rows: 1 << 17,
            divided_rows: 1 << 14,
        }
    }
}

/// The size of the head, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeadSize {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) blocks: usize,
}

impl HeadSize {
    /// The size of one block.
    pub(crate) fn of(block: &Block) -> Self {
        Self { rows: block.len(), bytes: block.text_bytes(), blocks: 1 }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.blocks += other.blocks;
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.rows -= other.rows;
        self.bytes -= other.bytes;
        self.blocks -= other.blocks;
    }

    fn reaches(self, tuning: &Tuning, times: usize) -> bool {
        self.rows >= tuning.flush_rows.saturating_mul(times)
            || self.bytes >= tuning.flush_bytes.saturating_mul(times)
            || self.blocks >= tuning.flush_blocks.saturating_mul(times)
    }
}

/// The writer waits for a flush when the head is this many times as large as one that is due.
const HEAD_BOUND: usize = 4;

impl Tuning {
    /// Whether the head should be flushed.
    pub(crate) fn flush_is_due(&self, head: HeadSize) -> bool {
        head.reaches(self, 1)
    }

    /// Whether the head must not grow any more.
    pub(crate) fn head_is_full(&self, head: HeadSize) -> bool {
        head.reaches(self, HEAD_BOUND)
    }

    /// Whether a run is not merged any more.
    pub(crate) fn is_final(&self, run: &Run) -> bool {
        self.tier(run) == self.tier_rows.len()
    }

    /// How many of the first of these runs are merged into one that has at most twice the size at which runs are
    /// final: one at least.
    pub(crate) fn mergeable<'a>(&self, runs: impl Iterator<Item = &'a Run>) -> usize {
        let ([.., most_rows], [.., most_bytes]) = (self.tier_rows, self.tier_bytes);
        let (mut rows, mut bytes, mut count) = (0u64, 0u64, 0);
        for run in runs {
            (rows, bytes) = (rows.saturating_add(run.rows), bytes.saturating_add(run.bytes));
            if count > 0 && (rows > 2 * most_rows || bytes > 2 * most_bytes) {
                break;
            }
            count += 1;
        }
        count
    }

    fn tier(&self, run: &Run) -> usize {
        let reached =
            |bounds: &[u64; 3], size| bounds.iter().filter(|bound| size >= **bound).count();
        reached(&self.tier_rows, run.rows).max(reached(&self.tier_bytes, run.bytes))
    }

    /// How the rows of some runs are written when they become one. Rows come to rest in runs that are final.
    pub(crate) fn form(&self, runs: &[Run]) -> Form {
        let (rows, bytes) = (sum(runs, |run| run.rows), sum(runs, |run| run.bytes));
        let ([.., most_rows], [.., most_bytes]) = (self.tier_rows, self.tier_bytes);
        Form { split: rows >= self.split_rows, rest: rows >= most_rows || bytes >= most_bytes }
    }

    /// Which runs should be merged into one, if any: neighbours, including the newest run. `runs` are
    /// in order.
    pub(crate) fn due_merge<'a>(&self, runs: &'a [Run]) -> Option<&'a [Run]> {
        let [.., most_rows] = self.tier_rows;
        let [.., most_bytes] = self.tier_bytes;
        for tier in 0..self.tier_rows.len() {
            let begin = runs.iter().rposition(|run| self.tier(run) > tier).map_or(0, |at| at + 1);
            let mut due = &runs[begin..];
            if parts_counted_once(due) < self.merged_runs {
                continue;
            }
            // The result has at most twice the size at which runs are final.
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

/// The two parts of a split run count as one. Otherwise every merge would produce half of the next.
fn parts_counted_once(runs: &[Run]) -> usize {
    runs.chunk_by(|a, b| a.order.head == b.order.head).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunOrder;

    fn runs(rows: &[u64]) -> Vec<Run> {
        let run = |(at, rows): (u64, &u64)| Run {
            id: at,
            order: RunOrder { head: at, part: 0 },
            rows: *rows,
            first: 0,
            last: 0,
            bytes: *rows,
            sealed: true,
        };
        (1..).zip(rows).map(run).collect()
    }

    fn tuning() -> Tuning {
        Tuning {
            tier_rows: [10, 100, 1_000],
            tier_bytes: [u64::MAX / 4; 3],
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
