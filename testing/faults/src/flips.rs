//! Damage of a file: after it, a store gives right rows or an error.

use std::collections::hash_map::RandomState;
use std::fs;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_core::{
    Batch, BatchId, Grammar, PersistenceBackend, QueryParams, RecordSummary, Result, Row,
    StoredValue,
};
use serde_json::json;

use crate::Dice;

/// The rows of a sound store.
#[derive(Debug, PartialEq)]
struct Content {
    rows: Vec<StoredValue>,
    records: Vec<RecordSummary>,
}

/// Damages copies of a store's file, as often as `ANNALS_TEST_FLIPS` says or `often` times, and reads
/// each: single bits anywhere, bits in the first bytes of a page, where its header is, zeroed pages, and
/// files that end early. `open` opens the store without anything that a user would not do.
///
/// # Panics
/// If a damaged store gives wrong rows, or stores rows that are not there afterwards.
pub async fn damage_is_an_error<O, F>(often: u64, page: usize, open: O)
where
    O: Fn(PathBuf) -> F,
    F: Future<Output = Result<Arc<dyn PersistenceBackend>>>,
{
    let often = std::env::var("ANNALS_TEST_FLIPS").map_or(often, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    let store = open(sound.clone()).await.unwrap();
    fill(&*store).await;
    let expected = content(&*store).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let bytes = fs::read(&sound).unwrap();
    let seed = seed();
    println!("seed {seed}: set ANNALS_TEST_SEED to repeat it");
    let mut dice = Dice::new(seed);
    let (mut right, mut errors) = (0, 0);
    for round in 0..often {
        let path = folder.path().join(format!("damaged-{round}"));
        let (damaged, what) = damage(&bytes, page, &mut dice);
        fs::write(&path, damaged).unwrap();
        match read_and_store(&path, &open, &expected, &what).await {
            Ok(()) => right += 1,
            Err(_) => errors += 1,
        }
        fs::remove_file(&path).unwrap();
    }
    println!("{often} times damaged: {right} times all rows, {errors} times an error");
    assert!(errors > 0 && right + errors == often);
}

/// The seed that is set, or a random one.
fn seed() -> u64 {
    let random = || RandomState::new().build_hasher().finish();
    std::env::var("ANNALS_TEST_SEED").map_or_else(|_| random(), |text| text.parse().unwrap())
}

async fn fill(store: &dyn PersistenceBackend) {
    for number in 1..=120 {
        let row = |at: u64| {
            let value = json!({ "n": number, "text": "x".repeat((at * number % 50) as usize) });
            Row::new(&format!("record::{}", at % 7), &value, number * 10 + at).unwrap()
        };
        let batch = Batch::new((0..12).map(row).collect::<Vec<_>>());
        store.store_batch(&batch.with_id(BatchId { writer: 9, number })).await.unwrap();
    }
    store.cleanup(100).await.unwrap();
    for at in 0..5 {
        store.store("record::late", &json!(at), at + 5_000).await.unwrap();
    }
}

async fn content(store: &dyn PersistenceBackend) -> Result<Content> {
    Ok(Content {
        rows: store.query("*", QueryParams::default()).await?,
        records: store.records("*", Grammar::Glob).await?,
    })
}

fn damage(bytes: &[u8], page: usize, dice: &mut Dice) -> (Vec<u8>, String) {
    let mut damaged = bytes.to_vec();
    let at = dice.below(bytes.len() as u64) as usize;
    let begin = at / page * page;
    let what = match dice.below(10) {
        0 => {
            damaged.truncate(at);
            format!("the file ends after {at} bytes")
        }
        1 => {
            let end = (begin + page).min(damaged.len());
            damaged[begin..end].fill(0);
            format!("page at {begin} is zero")
        }
        2..=5 => {
            let at = (begin + dice.below(16) as usize).min(damaged.len() - 1);
            flip(&mut damaged, at, dice)
        }
        _ => flip(&mut damaged, at, dice),
    };
    (damaged, what)
}

fn flip(bytes: &mut [u8], at: usize, dice: &mut Dice) -> String {
    let bit = dice.below(8);
    bytes[at] ^= 1 << bit;
    format!("bit {bit} of byte {at} is flipped")
}

async fn read_and_store<O, F>(path: &Path, open: &O, expected: &Content, what: &str) -> Result<()>
where
    O: Fn(PathBuf) -> F,
    F: Future<Output = Result<Arc<dyn PersistenceBackend>>>,
{
    let store = open(path.to_owned()).await?;
    let read = content(&*store).await;
    if let Ok(read) = &read {
        assert_eq!(read.rows.len(), expected.rows.len(), "{what}");
        assert!(read == expected, "{what}: other rows");
    }
    let stored = store.store("record::new", &json!("new"), 9_000).await;
    let closed = store.close().await;
    drop(store);
    read?;
    stored?;
    closed?;
    // What was acknowledged is there, or an error says that the file is damaged.
    let store = open(path.to_owned()).await?;
    let new = store.query("record::new", QueryParams::default()).await;
    let closed = store.close().await;
    assert_eq!(new?.len(), 1, "{what}: the new row");
    closed
}
