//! A redb storage on media that fail on demand, one for each file.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use annals_test_faults::{Failure, Medium};
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend, StorageError};

/// redb's own file storage on a medium.
#[derive(Debug)]
pub(crate) struct Storage {
    file: FileBackend,
    path: String,
    medium: Arc<Medium>,
}

impl Storage {
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let medium = Medium::under(path);
        medium.open(path).map_err(planned)?;
        let file: File =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = FileBackend::new(file).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(error)) => error,
            other => io::Error::other(other),
        })?;
        Ok(Self { file, path: path.to_owned(), medium })
    }
}

fn planned(failure: Failure) -> io::Error {
    match failure {
        Failure::Full => io::ErrorKind::StorageFull.into(),
        Failure::Broken => io::Error::other("a planned failure"),
    }
}

type Done<T> = Result<T, BackendError>;

impl StorageBackend for Storage {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.medium.resize(&self.path, len).map_err(planned)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.medium.sync(&self.path).map_err(planned)?;
        if self.medium.is_modelled() { Ok(()) } else { self.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        match self.medium.write(&self.path, offset, data) {
            Ok(()) => self.file.write(offset, data),
            Err((failure, written)) => {
                self.file.write(offset, &data[..written])?;
                Err(planned(failure))
            }
        }
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
