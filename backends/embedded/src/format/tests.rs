//! Random rows, random damage, and a sorted `Vec` as the model of a run.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::ids::RecordId;

type Row = (RecordId, u64, String);

/// Small numbers, so that runs have many blocks and are split.
const TINY: Layout = Layout {
    block_rows: 5,
    block_text: 40,
    fresh_rows: 2,
    fresh_from: 4,
    rest_rows: 20,
    rest_text: 160,
    rest_percent: usize::MAX,
    statistics_rows: 3,
};

/// Names sort otherwise than ids do.
fn rank(record: RecordId) -> u32 {
    record.wrapping_mul(2_654_435_761) >> 3
}

fn json() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[0-9]{0,6}",
        2 => "\"[aé\u{1f980}]{0,4}\"",
        // More than a block.
        1 => Just(format!("\"{}\"", "x".repeat(50))),
    ]
}

/// Few records and few times, so that there are equals.
fn rows(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Row>> {
    vec((1u32..6, 0u64..20, json()), count)
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    vec((any::<u32>(), any::<u64>(), json()), 0..200)
}

fn block(rows: &[Row]) -> Block {
    let mut block = Block::new();
    rows.iter().for_each(|(record, time, json)| block.push(*record, *time, json));
    block
}

/// The model: a stable sort by name and time.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|(record, time, _)| (rank(*record), *time));
    rows
}

/// All rows of a run, after a look at everything its index says of them.
fn read(run: &NewRun) -> Vec<Row> {
    let index = RunIndex::decode(&run.index.encode().unwrap()).unwrap();
    assert_eq!(index, run.index);
    assert_eq!(index.blocks() as usize, run.blocks.len());
    let mut rows: Vec<Row> = Vec::new();
    for (number, block) in (0..).zip(&run.blocks) {
        let block = Block::decode(block).unwrap();
        let Layout { block_rows, block_text, rest_rows, rest_text, .. } = TINY;
        let (most_rows, most_text) =
            if index.is_at_rest() { (rest_rows, rest_text) } else { (block_rows, block_text) };
        assert!(!block.is_empty() && block.len() <= most_rows);
        assert!(block.len() == 1 || block.text_bytes() <= most_text);
        let start = rows.len() as u32;
        assert_eq!(index.block_rows(number), start..start + block.len() as u32);
        assert!(index.block_rows(number).all(|row| index.block_of(row) == number));
        rows.extend(block.iter().map(|(record, time, json)| (record, time, json.to_owned())));
    }
    assert_eq!(run.text_bytes, rows.iter().map(|row| row.2.len() as u64).sum::<u64>());
    assert_eq!(index.rows() as usize, rows.len());
    assert_eq!(run.arrivals.len(), rows.len());
    assert_eq!(index.first(), rows.iter().map(|row| row.1).min().unwrap_or_default());
    assert_eq!(index.last(), rows.iter().map(|row| row.1).max().unwrap_or_default());
    let mut end = 0;
    for extent in index.iter() {
        assert_eq!(index.find(extent.record), Some(extent));
        assert_eq!(extent.first_row, end);
        end += extent.rows;
        let rows = &rows[extent.first_row as usize..end as usize];
        assert!(rows.iter().all(|row| row.0 == extent.record));
        assert_eq!((extent.first, extent.last), (rows[0].1, rows[rows.len() - 1].1));
    }
    assert_eq!(index.find(RecordId::MAX), None);
    rows
}

fn flush_split(rows: &[Row], split: bool) -> NewRuns {
    let blocks: Vec<Block> = rows.chunks(7).map(block).collect();
    flush(&blocks, &rank, &TINY, split).unwrap()
}

fn flush_rows(rows: &[Row]) -> NewRun {
    flush_split(rows, false).main.unwrap_or_default()
}

/// Merges runs, of which `dropped` says how many rows of each record go.
fn merge_runs(
    runs: &[NewRun],
    dropped: &[BTreeMap<RecordId, u32>],
    form: Form,
) -> Result<NewRuns, FormatError> {
    let look_up =
        |at: usize| move |record: RecordId| dropped[at].get(&record).copied().unwrap_or_default();
    let look_ups: Vec<_> = (0..runs.len()).map(look_up).collect();
    let sources: Vec<MergeInput<'_>> = runs
        .iter()
        .zip(&look_ups)
        .map(|(run, dropped)| MergeInput { index: &run.index, arrivals: &Arrivals::At(0), dropped })
        .collect();
    let mut fetch = |source: usize, block: u32| Block::decode(&runs[source].blocks[block as usize]);
    merge(&sources, &mut fetch, &rank, &TINY, form)
}

fn rows_of(run: &Option<NewRun>) -> Vec<Row> {
    run.as_ref().map(read).unwrap_or_default()
}

/// What lies in both parts: all but the newest rows of each record, and those.
fn parts(rows: Vec<Row>, split: bool) -> (Vec<Row>, Vec<Row>) {
    let records = rows.chunk_by(|a, b| a.0 == b.0).count();
    if !split || rows.len() < records * TINY.fresh_from as usize {
        return (rows, Vec::new());
    }
    let (mut main, mut fresh) = (Vec::new(), Vec::new());
    for record in rows.chunk_by(|a, b| a.0 == b.0) {
        let place = record.len().saturating_sub(TINY.fresh_rows as usize);
        main.extend_from_slice(&record[..place]);
        fresh.extend_from_slice(&record[place..]);
    }
    (main, fresh)
}

proptest! {
    #[test]
    fn a_block_comes_back(rows in any_rows()) {
        let rows = block(&rows);
        prop_assert_eq!(Block::decode(&rows.encode().unwrap()).unwrap(), rows);
    }

    #[test]
    fn a_damaged_block_is_refused(rows in any_rows(), at: Index, bit in 0u8..8, end: Index) {
        let rows = block(&rows);
        let block = rows.encode().unwrap();
        prop_assert!(Block::decode(&block[..end.index(block.len())]).is_err());
        let mut flipped = block.clone();
        flipped[at.index(block.len())] ^= 1 << bit;
        // Some bits of a frame's header are of no consequence.
        prop_assert!(Block::decode(&flipped).is_ok_and(|read| read == rows)
            || Block::decode(&flipped).is_err());
    }

    /// What has a right checksum and no meaning.
    #[test]
    fn content_without_meaning_is_never_a_panic(content in vec(any::<u8>(), 0..300)) {
        let frame = frame::compress(|out| out.extend_from_slice(&content)).unwrap();
        if let Ok(rows) = Block::decode(&frame) {
            prop_assert!(rows.iter().len() <= content.len());
            prop_assert_eq!(rows.iter().map(|row| row.2.len()).sum::<usize>(), rows.text_bytes());
        }
        if let Ok(index) = RunIndex::decode(&frame) {
            prop_assert!(index.iter().all(|extent| index.find(extent.record) == Some(extent)));
        }
        // Nor are bytes that were never compressed.
        prop_assert!(Block::decode(&content).is_err() && RunIndex::decode(&content).is_err());
    }

    #[test]
    fn changed_content_is_never_a_panic(rows in rows(1..60), at: Index, byte: u8) {
        let index = flush_rows(&rows).index.encode().unwrap();
        for frame in [block(&rows).encode().unwrap(), index] {
            let mut content = frame::decompress(&frame, |content| Ok(content.to_vec())).unwrap();
            let at = at.index(content.len());
            content[at] = byte;
            let frame = frame::compress(|out| out.extend_from_slice(&content)).unwrap();
            if let Ok(rows) = Block::decode(&frame) {
                prop_assert_eq!(rows.iter().map(|row| row.2.len()).sum::<usize>(), rows.text_bytes());
            }
            if let Ok(index) = RunIndex::decode(&frame) {
                prop_assert!(index.iter().all(|extent| extent.rows > 0));
            }
        }
    }

    #[test]
    fn a_flush_sorts_and_keeps_the_order_of_arrival(rows in rows(0..150), split: bool) {
        let flushed = flush_split(&rows, split);
        let (main, fresh) = parts(sorted(rows), split);
        prop_assert_eq!(rows_of(&flushed.main), main);
        prop_assert_eq!(rows_of(&flushed.fresh), fresh);
    }

    #[test]
    fn a_merge_is_as_good_as_one_flush(
        pieces in vec(rows(0..60), 1..6),
        dropped in vec((1u32..6, 0u32..9), 0..12),
        split: bool,
        rest: bool,
    ) {
        let runs: Vec<NewRun> = pieces.iter().map(|rows| flush_rows(rows)).collect();
        let mut left_out = vec![BTreeMap::new(); runs.len()];
        for (at, (record, rows)) in dropped.into_iter().enumerate() {
            left_out[at % runs.len()].insert(record, rows);
        }
        let mut kept = Vec::new();
        for (run, left_out) in runs.iter().zip(&left_out) {
            for record in read(run).chunk_by(|a, b| a.0 == b.0) {
                let dropped = left_out.get(&record[0].0).copied().unwrap_or_default() as usize;
                kept.extend_from_slice(&record[dropped.min(record.len())..]);
            }
        }
        let merged = merge_runs(&runs, &left_out, Form { split, rest }).unwrap();
        let (main, fresh) = parts(sorted(kept), split);
        prop_assert!(merged.main.as_ref().is_none_or(|run| run.index.is_at_rest() == rest));
        prop_assert!(merged.fresh.as_ref().is_none_or(|run| !run.index.is_at_rest()));
        prop_assert_eq!(rows_of(&merged.main), main);
        prop_assert_eq!(rows_of(&merged.fresh), fresh);
        let runs = [&merged.main, &merged.fresh];
        prop_assert!(runs.into_iter().flatten().all(|run| !run.index.is_empty()));
    }

    /// Each value says under which number it arrived.
    #[test]
    fn rows_keep_their_arrivals(rows in vec((1u32..6, 0u64..20), 0..120), split: bool) {
        let mut runs = Vec::new();
        let mut number = 100;
        for rows in rows.chunks(40) {
            let first = number;
            let mut blocks = Vec::new();
            for rows in rows.chunks(3) {
                let mut block = Block::new();
                rows.iter().for_each(|(record, at)| block.push(*record, *at, &number.to_string()));
                blocks.push(block);
                number += 1;
            }
            let flushed = flush(&blocks, &rank, &TINY, split).unwrap();
            let flushed = flushed.numbered(|position| first + position as u64);
            runs.extend([flushed.main, flushed.fresh].into_iter().flatten());
        }
        let arrivals: Vec<Arrivals> =
            runs.iter().map(|run| Arrivals::Each(run.arrivals.clone())).collect();
        let sources: Vec<MergeInput<'_>> = runs
            .iter()
            .zip(&arrivals)
            .map(|(run, arrivals)| MergeInput { index: &run.index, arrivals, dropped: &|_| 1 })
            .collect();
        let mut fetch = |run: usize, block: u32| Block::decode(&runs[run].blocks[block as usize]);
        let form = Form { split, ..Form::default() };
        let merged = merge::<FormatError>(&sources, &mut fetch, &rank, &TINY, form).unwrap();
        let merged = [merged.main, merged.fresh];
        for run in runs.iter().chain(merged.iter().flatten()) {
            let values: Vec<String> = read(run).into_iter().map(|row| row.2).collect();
            let numbers: Vec<String> = run.arrivals.iter().map(u64::to_string).collect();
            prop_assert_eq!(values, numbers);
        }
    }

    /// Both parts of a split run are sources like any other.
    #[test]
    fn a_split_run_merges_back(old in rows(40..80), new in rows(0..40)) {
        let split = merge_runs(&[flush_rows(&old)], &[BTreeMap::new()], Form { split: true, rest: true });
        let split = split.unwrap();
        let mut runs: Vec<NewRun> = [split.main, split.fresh].into_iter().flatten().collect();
        prop_assert!(runs.len() == 2);
        runs.push(flush_rows(&new));
        let merged = merge_runs(&runs, &vec![BTreeMap::new(); 3], Form::default()).unwrap();
        prop_assert_eq!(rows_of(&merged.main), sorted([old, new].concat()));
        prop_assert!(merged.fresh.is_none());
    }
}

#[test]
fn a_merge_of_nothing_is_nothing() {
    assert_eq!(merge_runs(&[], &[], Form { split: true, rest: true }).unwrap(), NewRuns::default());
    let run = flush_rows(&[(1, 2, "3".to_owned())]);
    let all = [BTreeMap::from([(1, u32::MAX)])];
    assert_eq!(merge_runs(&[run], &all, Form::default()).unwrap(), NewRuns::default());
}

#[test]
fn a_merge_reads_only_the_blocks_that_it_needs() {
    let rows: Vec<Row> = (0..50).map(|time| (1, time, "0".to_owned())).collect();
    let run = flush_rows(&rows);
    let sources = [MergeInput { index: &run.index, arrivals: &Arrivals::At(0), dropped: &|_| 42 }];
    let mut read = Vec::new();
    let mut fetch = |_: usize, block: u32| {
        read.push(block);
        Block::decode(&run.blocks[block as usize])
    };
    let merged = merge(&sources, &mut fetch, &rank, &TINY, Form::default()).unwrap();
    assert_eq!(rows_of(&merged.main), rows[42..]);
    assert_eq!(read, [8, 9]);
}

#[test]
fn a_merge_ends_with_the_first_error() {
    let run = flush_rows(&[(1, 1, "1".to_owned())]);
    let sources = [MergeInput { index: &run.index, arrivals: &Arrivals::At(0), dropped: &|_| 0 }];
    let stopped = || FormatError::Damaged("on purpose");
    let merged = merge(&sources, &mut |_, _| Err(stopped()), &rank, &TINY, Form::default());
    assert_eq!(merged.unwrap_err(), stopped());
}

/// Sound blocks of one run under the index of another one.
#[test]
fn blocks_that_are_not_the_directorys_are_damaged() {
    let row = |record, time| (record, time, "0".to_owned());
    let run = flush_rows(&[row(1, 5), row(1, 9)]);
    for others in [
        vec![row(1, 5)],
        vec![row(1, 5), row(2, 9)],
        vec![row(1, 4), row(1, 9)],
        vec![row(1, 5), row(1, 10)],
    ] {
        let other = NewRun { blocks: flush_rows(&others).blocks, ..run.clone() };
        let merged = merge_runs(&[other], &[BTreeMap::new()], Form::default());
        assert!(matches!(merged, Err(FormatError::Damaged(_))), "{others:?}");
    }
}

/// A rank that contradicts the one a run was sorted by would break the order of everything after.
#[test]
fn a_run_in_another_order_is_damaged() {
    let run = flush_rows(&[(1, 1, "0".to_owned()), (2, 1, "0".to_owned())]);
    let sources = [MergeInput { index: &run.index, arrivals: &Arrivals::At(0), dropped: &|_| 0 }];
    let mut fetch = |_: usize, block: u32| Block::decode(&run.blocks[block as usize]);
    let reversed = |record| u32::MAX - rank(record);
    let merged = merge(&sources, &mut fetch, &reversed, &TINY, Form::default());
    assert!(matches!(merged, Err(FormatError::Damaged(_))), "{merged:?}");
}

#[test]
fn a_record_that_comes_twice_is_refused() {
    let mut run = RunBuilder::new(&TINY, false);
    for record in [1, 2, 1] {
        run.push(1, record, 5, "0").unwrap();
    }
    assert!(matches!(run.finish(), Err(FormatError::Damaged(_))));
}
