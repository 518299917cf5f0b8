use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use tempfile::TempDir;

use super::*;
use crate::new_file::beside;

/// The reserve of a store of this size, and the smallest one there is.
const LEAST: u64 = 1 << 20;

/// A folder with a store of this size, and where its reserve is.
fn store(len: u64) -> (TempDir, Reserve, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    resize(&path, len);
    let reserve = Reserve::beside(&path);
    (folder, reserve, beside(&path, "-reserve"))
}

/// Gives a file this size, without holes.
fn resize(path: &Path, len: u64) {
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.set_len(len).unwrap();
    if len > 0 {
        fallocate(&file, FallocateFlags::empty(), 0, len).unwrap();
    }
}

fn len(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().len()
}

fn failure(kind: ErrorKind) -> PersistenceError {
    BackendError::new("test", "cleanup", kind, "planned").into()
}

#[test]
fn it_has_blocks_and_the_permissions_of_the_store_and_follows_its_size() {
    let (folder, reserve, place) = store(8 << 20);
    let path = folder.path().join("history.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    reserve.keep();
    let made = fs::metadata(&place).unwrap();
    // Who may only read the store has no business with it.
    assert_eq!((made.len(), made.mode() & 0o777), (4 << 20, 0o600));
    assert!(made.blocks() * 512 >= 4 << 20, "{made:?}");
    for (store, reserve_is) in [(18 << 20, 4 << 20), (24 << 20, 6 << 20), (1 << 20, LEAST)] {
        resize(&path, store);
        reserve.keep();
        assert_eq!(len(&place), reserve_is, "{store}");
    }
    assert!(fs::read(&place).unwrap().starts_with(b"annals keeps this space back"));
    // A store that is small now has none, unless somebody works with it.
    resize(&path, LEAST - 1);
    let others = File::open(&place).unwrap();
    flock(&others, FlockOperation::LockExclusive).unwrap();
    reserve.keep();
    assert_eq!(len(&place), LEAST);
    drop(others);
    reserve.keep();
    assert!(!place.exists());
}

#[test]
fn it_is_lent_to_work_that_had_no_space_and_taken_back() {
    let (_folder, reserve, place) = store(1 << 20);
    reserve.keep();
    let mut seen = Vec::new();
    let done = reserve.lend(|| {
        seen.push((reserve.is_lent(), len(&place) >= LEAST));
        if seen.len() == 1 { Err(failure(ErrorKind::Full)) } else { Ok(7) }
    });
    assert_eq!(done.unwrap(), 7);
    assert_eq!(seen, [(false, true), (true, false)]);
    assert_eq!((reserve.is_lent(), len(&place)), (false, LEAST));
}

#[test]
fn work_that_has_another_reason_or_may_have_been_done_is_not_repeated() {
    let (_folder, reserve, place) = store(1 << 20);
    let unknown =
        BackendError::new("test", "erase", ErrorKind::Full, "").with_outcome(Outcome::Unknown);
    for error in [failure(ErrorKind::Io), unknown.into(), failure(ErrorKind::Full)] {
        // There is none yet in the first round.
        let mut calls = 0;
        reserve
            .lend(|| -> Result<()> {
                calls += 1;
                Err(error.clone())
            })
            .unwrap_err();
        assert_eq!(calls, 1, "{error}");
    }
    assert!(!place.exists());
}

#[test]
fn what_a_killed_process_had_freed_is_taken_back() {
    let (_folder, reserve, place) = store(1 << 20);
    reserve.keep();
    let kept = fs::read(&place).unwrap();
    let line = kept.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    File::options().write(true).open(&place).unwrap().set_len(line as u64).unwrap();
    reserve.keep();
    assert_eq!(len(&place), LEAST);
}

#[test]
fn another_process_that_works_with_the_space_keeps_it() {
    let (folder, reserve, place) = store(1 << 20);
    reserve.keep();
    let other = File::options().read(true).write(true).open(&place).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    resize(&folder.path().join("history.db"), 4 << 20);
    reserve.keep();
    assert_eq!(len(&place), LEAST);
}

#[test]
fn files_of_others_in_its_place_are_left_alone() {
    let (folder, reserve, place) = store(4 << 20);
    let notes = folder.path().join("notes");
    fs::write(&notes, "not a reserve").unwrap();
    let full = || reserve.lend(|| -> Result<()> { Err(failure(ErrorKind::Full)) }).unwrap_err();
    fs::copy(&notes, &place).unwrap();
    reserve.keep();
    full();
    assert_eq!(fs::read_to_string(&place).unwrap(), "not a reserve");
    fs::remove_file(&place).unwrap();
    symlink(&notes, &place).unwrap();
    reserve.keep();
    full();
    assert_eq!(fs::read_to_string(&notes).unwrap(), "not a reserve");
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    reserve.keep();
    full();
    fs::remove_dir(&place).unwrap();
    // A second name of a file that begins like one.
    reserve.keep();
    fs::hard_link(&place, folder.path().join("link")).unwrap();
    let before = len(&place);
    full();
    assert_eq!(len(&place), before);
}

#[test]
fn a_small_store_and_a_missing_one_have_none() {
    let (_folder, reserve, place) = store((1 << 20) - 4096);
    reserve.keep();
    assert!(!place.exists());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    Reserve::beside(&path).keep();
    Reserve::none().keep();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
