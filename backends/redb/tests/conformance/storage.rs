//! A redb storage whose syncs fail on demand, file by file.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

static FAILING: LazyLock<Mutex<HashMap<String, &'static AtomicBool>>> =
    LazyLock::new(Mutex::default);

/// The switch of one file.
pub(crate) fn switch(path: &str) -> &'static AtomicBool {
    let mut failing = FAILING.lock().unwrap();
    failing.entry(path.to_owned()).or_insert_with(|| Box::leak(Box::default()))
}

/// redb's own file storage, with a switch.
#[derive(Debug)]
pub(crate) struct FailingStorage {
    file: FileBackend,
    fails: &'static AtomicBool,
}

impl FailingStorage {
    pub(crate) fn open(path: &str) -> Result<Self, DatabaseError> {
        let file: File =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file: FileBackend::new(file)?, fails: switch(path) })
    }
}

type Done<T> = Result<T, BackendError>;

impl StorageBackend for FailingStorage {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("a sync that was told to fail"));
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Done<bool> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Done<bool> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Done<()> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Done<()> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Done<()> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Done<bool> {
        self.file.query_lock_range(start, end)
    }
}
