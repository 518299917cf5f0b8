//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use annals_core::{BackendError, ErrorKind, PersistenceError, Result};

/// What SQLite leaves beside a file.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file that is written beside its place and put there when it is complete. Until then it has another
/// name, under which it is removed if anything fails.
#[derive(Debug)]
pub struct NewFile {
    engine: &'static str,
    place: PathBuf,
    unfinished: PathBuf,
}

impl NewFile {
    /// Nothing is created yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file at `place`.
    pub fn new(engine: &'static str, place: &Path) -> Result<Self> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        if fs::symlink_metadata(place).is_ok() {
            return Err(exists(engine, place));
        }
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let unfinished = beside(place, &format!(".new-{}-{call}", std::process::id()));
        Ok(Self { engine, place: place.to_owned(), unfinished })
    }

    /// Where to write it.
    pub fn path(&self) -> &Path {
        &self.unfinished
    }

    /// Puts the file in its place, durably. Logs of an earlier file there, which would be taken for its
    /// own, get the end `.old`: they may have rows that the earlier file, moved elsewhere, lacks.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file by now, or that of the system.
    pub fn finish(self) -> Result<()> {
        let failed = |error: io::Error| {
            let message = format!("{} cannot be put in place: {error}", self.place.display());
            PersistenceError::from(
                BackendError::new(self.engine, "copy", ErrorKind::Io, message).with_source(error),
            )
        };
        File::open(&self.unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
        for companion in COMPANIONS {
            set_aside(&beside(&self.place, companion)).map_err(failed)?;
        }
        match fs::hard_link(&self.unfinished, &self.place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists(self.engine, &self.place));
            }
            // Not every file system supports links.
            Err(_) => fs::rename(&self.unfinished, &self.place).map_err(failed)?,
            Ok(()) => {}
        }
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already, if it was renamed.
        drop(remove(&self.unfinished));
        for companion in COMPANIONS {
            drop(remove(&beside(&self.unfinished, companion)));
        }
    }
}

/// A path with something behind its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames a file that is there, unless it is empty: such a file is removed.
fn set_aside(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(file) if file.len() > 0 => fs::rename(path, beside(path, ".old")),
        _ => remove(path),
    }
}

fn exists(engine: &'static str, place: &Path) -> PersistenceError {
    let message = format!("{} exists and is not overwritten; name another file", place.display());
    BackendError::new(engine, "copy", ErrorKind::Config, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("copy.db");
        let names = || {
            let mut names: Vec<_> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort_unstable();
            names
        };
        let abandoned = NewFile::new("test", &place).unwrap();
        fs::write(abandoned.path(), "half").unwrap();
        fs::write(beside(abandoned.path(), "-wal"), "log").unwrap();
        drop(abandoned);
        assert!(names().is_empty());
        fs::write(beside(&place, "-wal"), "the log of another file").unwrap();
        let new = NewFile::new("test", &place).unwrap();
        fs::write(new.path(), "whole").unwrap();
        let late = NewFile::new("test", &place).unwrap();
        fs::write(late.path(), "late").unwrap();
        new.finish().unwrap();
        assert_eq!(names().len(), 3);
        late.finish().unwrap_err();
        NewFile::new("test", &place).unwrap_err();
        assert_eq!(names(), ["copy.db", "copy.db-wal.old"]);
        assert_eq!(fs::read_to_string(&place).unwrap(), "whole");
    }
}
