//! Stores on a disk that is full: a small file system in memory, on which no byte is free.
//!
//! A store is filled until it says that the disk is full, and what is left is taken by another file. Then
//! the store must open, answer, and lose what is removed from it, counted exactly, without anybody freeing
//! space; and it must take rows again, at the latest when some space is there.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use annals_core::{
    Batch, CleanupPlan, CleanupRule, Erasure, ErrorKind, Grammar, Order, Outcome, Pattern,
    PersistenceBackend, PersistenceError, QueryParams, Result, Row,
};
use annals_embedded::{Tuning, beside};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::child::{Child, tell};
use crate::dice::Dice;
use crate::small_disk::{DiskTrial, disk_trials};

/// A kind of store.
#[derive(Clone, Copy)]
pub struct FileEngine {
    /// The name of its file.
    pub file: &'static str,
    /// Opens a store at a path.
    pub open: fn(&str, Tuning) -> Result<Arc<dyn PersistenceBackend>>,
    /// Whether rows always find room where others were removed. A file that has holes may need some of the
    /// disk's.
    pub has_room_again: bool,
}

/// A store that filled the disk it lies on. Its process was killed then.
pub struct FilledStore<'a> {
    /// Where the disk is mounted.
    pub folder: &'a Path,
    /// The name of its file.
    pub file: &'static str,
    /// The times at which it has rows begin with 0 and end before this one.
    pub end: u64,
}

impl FilledStore<'_> {
    /// Its records, in order.
    pub const RECORDS: [&'static str; 2] = RECORDS;
    /// How many rows each record has at each time.
    pub const ROWS: u64 = ROWS / 2;

    /// Takes every byte of the disk that is free.
    ///
    /// # Panics
    /// When the system fails.
    pub fn fill_disk(&self) {
        take_the_rest(self.folder).unwrap();
    }

    /// Gives some of the disk back, unless rows find room where others were removed.
    ///
    /// # Panics
    /// When the system fails.
    pub fn make_room(&self) {
        make_room(self.folder).unwrap();
    }
}

/// What became of the program that filled the store.
const ENDS: [&str; 3] = ["killed", "closed", "running"];

/// The sizes at which work is due, each with a disk to go with it.
const SIZES: [(&str, &str); 2] = [("small", "16m"), ("usual", "32m")];

const RECORDS: [&str; 2] = ["gone", "kept"];
const ROWS: u64 = 32;

/// Smaller stores have no reserve.
const LEAST_WITH_RESERVE: u64 = 1 << 20;

/// Tests of an engine on a full disk. They hold DURABLE-5 of the contract for stores with a reserve.
pub fn full_disk_trials(engine: FileEngine) -> ExitCode {
    let trials = ENDS.into_iter().flat_map(|end| {
        SIZES.into_iter().map(move |(size, disk)| DiskTrial {
            name: format!("durable_5_a_store_that_was_{end}_on_a_full_disk_is_cleaned_up_{size}"),
            size: disk,
            test: Box::new(move |folder| scenario(engine, folder, size, end)),
        })
    });
    disk_trials(trials.collect(), |task| act(&[engine], task))
}

/// Tests of a program on stores that filled their disks, one for each engine.
pub fn filled_store_trials(
    name: &str,
    engines: &[FileEngine],
    test: fn(&FilledStore<'_>),
) -> ExitCode {
    let trials = engines.iter().map(|&engine| {
        let FileEngine { file, .. } = engine;
        let (size, disk) = SIZES[1];
        DiskTrial {
            name: format!("{name}_{}", file.replace('.', "_")),
            size: disk,
            test: Box::new(move |folder| {
                keep_room(folder, engine)?;
                let end = filled(engine, folder, size, "killed")?;
                test(&FilledStore { folder, file, end });
                Ok(())
            }),
        }
    });
    disk_trials(trials.collect(), |task| act(engines, task))
}

/// What the child that fills a store does.
fn act(engines: &[FileEngine], task: &[&str]) -> Result<(), String> {
    let &["fill", file, path, size, end] = task else {
        return Err(format!("there is no task {task:?}"));
    };
    let engine = engines.iter().find(|engine| engine.file == file).ok_or("no such engine")?;
    let runtime = runtime();
    let store = (engine.open)(path, tuning(size)).map_err(|error| error.to_string())?;
    tell(&format!("stored {}", runtime.block_on(fill(&*store, path, size))?));
    if end == "closed" {
        // What has no room stays in the log or the head.
        runtime.block_on(store.close()).map_err(|error| format!("closing: {error}"))?;
        return Ok(());
    }
    loop {
        thread::park();
    }
}

/// Lets a process fill a store, and takes what is left of the disk. Returns how many batches there are.
fn filled(engine: FileEngine, folder: &Path, size: &str, end: &str) -> Result<u64, String> {
    let io = |error: std::io::Error| error.to_string();
    let path = folder.join(engine.file).display().to_string();
    let mut child = Child::start(&["fill", engine.file, &path, size, end]).map_err(io)?;
    let line = child.line().ok_or("the program that fills the store ended")?;
    let stored = line.strip_prefix("stored ").ok_or(line.clone())?;
    let stored: u64 = stored.parse().map_err(|_| line.clone())?;
    if end == "closed" && !child.wait().map_err(io)? {
        return Err(child.kill().join(", "));
    }
    take_the_rest(folder).map_err(io)?;
    drop(child);
    take_the_rest(folder).map_err(io)?;
    Ok(stored)
}

fn tuning(size: &str) -> Tuning {
    match size {
        "small" => Tuning {
            flush_bytes: 128 << 10,
            tier_bytes: [16 << 10, 128 << 10, 1 << 20],
            ..Tuning::default()
        },
        _ => Tuning::default(),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn batch(number: u64) -> Batch {
    let mut dice = Dice::new(number);
    let mut text =
        || -> String { (0..300).map(|_| char::from(b'0' + dice.below(64) as u8)).collect() };
    let row = |at: u64| Row::new(RECORDS[at as usize % 2], &json!([number, text()]), number);
    Batch::new((0..ROWS).map(row).collect::<Result<Vec<Row>>>().unwrap())
}

fn is_full(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Full)
}

/// Stores batches until there is no space. Returns how many. A small store gets the time to make its reserve,
/// which it could not on a disk that is nearly full.
async fn fill(store: &dyn PersistenceBackend, path: &str, size: &str) -> Result<u64, String> {
    let reserve = beside(Path::new(path), "-reserve");
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    for number in 0.. {
        if size == "small" && len(Path::new(path)) >= LEAST_WITH_RESERVE && !reserve.exists() {
            thread::sleep(Duration::from_millis(50));
        }
        match store.store_batch(&batch(number)).await {
            Ok(()) => {}
            Err(error) if is_full(&error) && error.outcome() == Outcome::NotApplied => {
                return match reserve.exists() {
                    true => Ok(number),
                    false => Err("the disk is full, and the store has no reserve".to_owned()),
                };
            }
            Err(error) => return Err(format!("storing: {error}")),
        }
    }
    unreachable!("a disk has an end")
}

/// Takes every byte that is free.
fn take_the_rest(folder: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(folder.join("ballast"))?;
    while (&file).write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    Ok(())
}

/// Keeps some of the disk for a store whose removed rows may leave holes.
fn keep_room(folder: &Path, engine: FileEngine) -> Result<(), String> {
    let room = if engine.has_room_again { 0 } else { 1 << 20 };
    std::fs::write(folder.join("room"), vec![1; room]).map_err(|error| error.to_string())
}

fn make_room(folder: &Path) -> Result<(), String> {
    std::fs::remove_file(folder.join("room")).map_err(|error| error.to_string())
}

fn scenario(engine: FileEngine, folder: &Path, size: &str, end: &str) -> Result<(), String> {
    let path = folder.join(engine.file).display().to_string();
    let open = || (engine.open)(&path, tuning(size)).map_err(|error| format!("opening: {error}"));
    let runtime = runtime();
    keep_room(folder, engine)?;
    let (store, stored) = if end == "running" {
        let store = open()?;
        let stored = runtime.block_on(fill(&*store, &path, size))?;
        take_the_rest(folder).map_err(|error| error.to_string())?;
        (store, stored)
    } else {
        let stored = filled(engine, folder, size, end)?;
        (open()?, stored)
    };
    if File::create(folder.join("more")).and_then(|mut file| file.write_all(&[1; 4096])).is_ok()
        && end == "running"
    {
        return Err("the disk is not full".to_owned());
    }
    runtime.block_on(async {
        check(&*store, |_, number| number < stored).await?;
        // Every run of the last third has rows that stay.
        let third = stored / 3;
        let removed =
            store.cleanup(third).await.map_err(|error| format!("cleaning up: {error}"))?;
        expect("a cleanup removed", removed, third * ROWS)?;
        check(&*store, |_, number| (third..stored).contains(&number)).await?;
        let gone = Pattern::new(RECORDS[0], Grammar::Glob).map_err(|error| error.to_string())?;
        let plan = CleanupPlan::new(vec![CleanupRule::new(gone.clone(), 2 * third)]);
        let removed = store.cleanup_plan(&plan).await;
        let removed = removed.map_err(|error| format!("cleaning up a record: {error}"))?;
        expect("a cleanup of a record removed", removed, third * ROWS / 2)?;
        let left = |record: &str, number| {
            number >= third && number < stored && (record == RECORDS[1] || number >= 2 * third)
        };
        check(&*store, left).await?;
        let erasure = Erasure::new(gone).with_start_time(2 * third).with_end_time(2 * third);
        let erased = store.erase(&erasure).await.map_err(|error| format!("erasing: {error}"))?;
        expect("an erase removed", erased, ROWS / 2)?;
        make_room(folder)?;
        for number in stored..stored + 20 {
            let stored = store.store_batch(&batch(number)).await;
            stored.map_err(|error| format!("storing batch {number} again: {error}"))?;
        }
        let left = |record: &str, number| {
            let is_kept = record == RECORDS[1] || number > 2 * third;
            number >= third && number < stored + 20 && is_kept
        };
        check(&*store, left).await?;
        store.close().await.map_err(|error| format!("closing: {error}"))?;
        drop(store);
        let store = open()?;
        check(&*store, left).await?;
        store.close().await.map_err(|error| format!("closing again: {error}"))
    })
}

fn expect(what: &str, found: u64, expected: u64) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what} {found} rows instead of {expected}")),
    }
}

/// Checks that exactly those rows are there whose record and number are `left`.
async fn check(
    store: &dyn PersistenceBackend,
    left: impl Fn(&str, u64) -> bool,
) -> Result<(), String> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let rows = store.query("*", params).await.map_err(|error| format!("asking: {error}"))?;
    let last = rows.iter().map(|row| row.stored_at).max().unwrap_or(0);
    let mut expected = Vec::new();
    for record in RECORDS {
        for number in (0..=last + 40).filter(|number| left(record, *number)) {
            expected.extend((0..ROWS / 2).map(|_| (record, number)));
        }
    }
    let found = rows.iter().map(|row| (row.record_name.as_str(), row.stored_at));
    match found.eq(expected.iter().copied()) {
        true => Ok(()),
        false => Err(format!("{} rows are there, not the {} expected", rows.len(), expected.len())),
    }
}
