//! Files that appear whole or not at all.

#[cfg(unix)]
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use annals_core::{BackendError, ErrorKind, PersistenceError, Result};
use parking_lot::Mutex;

/// What SQLite leaves beside a file.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What the reserve's name ends in.
pub(crate) const RESERVE: &str = "-reserve";

/// Refuses a name for a new history that SQLite or the reserve may use for a file beside another history: opening
/// the other history may remove such a file.
///
/// # Errors
/// [`ErrorKind::Config`].
pub fn check_new_name(engine: &'static str, place: &Path) -> Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let mut ends = COMPANIONS.into_iter().chain([RESERVE]);
    let Some(end) = ends.find(|end| name.ends_with(end)) else { return Ok(()) };
    let message = format!(
        "{}: names that end in {end} are those of files beside a history, which are removed with it; \
         choose another name",
        place.display()
    );
    Err(BackendError::new(engine, "open", ErrorKind::Config, message).into())
}

/// What the folders of unfinished files begin with.
const UNFINISHED: &str = ".annals-new-";

/// How often the removal of a folder is tried in which a thread still writes.
const REMOVALS: u32 = 100;

/// The folders of the files that this process is writing.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the copies that this process is writing, which fail then. For a program that ends without
/// waiting for them, at Ctrl-C say.
pub fn remove_unfinished_files() {
    for folder in FOLDERS.lock().drain(..) {
        // The thread that writes there may create another file meanwhile. A network file system may keep an
        // open one for good, hence a bound.
        let is_left = |_: &u32| fs::remove_dir_all(&folder).is_err();
        let _tries = (0..REMOVALS).take_while(is_left).count();
    }
}

/// A file that is written in a folder beside its place and put there when it is complete. If anything
/// fails, the folder is removed. If the process is killed, the next one that writes a file there does it.
#[derive(Debug)]
pub struct NewFile {
    engine: &'static str,
    place: PathBuf,
    unfinished: PathBuf,
    folder: PathBuf,
    /// Holds the folder's lock: the process lives.
    _lock: Lock,
}

impl NewFile {
    /// Makes the folder. There is no file yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file at `place` or [its name](check_new_name) is none for a history,
    /// or that of the system.
    pub fn new(engine: &'static str, place: &Path) -> Result<Self> {
        check_new_name(engine, place)?;
        if fs::symlink_metadata(place).is_ok() {
            return Err(exists(engine, place));
        }
        Self::beside(engine, place)
    }

    /// As [`new`](Self::new), whatever there is at `place`.
    ///
    /// # Errors
    /// That of the system.
    pub fn beside(engine: &'static str, place: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            let message = format!("{} cannot be made: {error}", place.display());
            let kind = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
                _ => ErrorKind::Permission,
            };
            BackendError::new(engine, "copy", kind, message).with_source(error)
        };
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput.into()).map_err(failed)?;
        let (folder, lock) = locked_folder(folder_of(place)).map_err(failed)?;
        remove_abandoned(folder_of(place));
        FOLDERS.lock().push(folder.clone());
        let unfinished = folder.join(name);
        Ok(Self { engine, place: place.to_owned(), unfinished, folder, _lock: lock })
    }

    /// Where to write it.
    pub fn path(&self) -> &Path {
        &self.unfinished
    }

    /// Puts the file in its place, durably. Logs of an earlier file there, which would be taken for its
    /// own, get the end `.old` (`.old2` if that is taken): they may have rows that the earlier file, moved
    /// elsewhere, lacks.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file by now, or that of the system.
    pub fn finish(self) -> Result<()> {
        let failed = |error| self.failed(error);
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
            // At once: SQLite's file is refused while it has two names.
            Ok(()) => fs::remove_file(&self.unfinished).map_err(failed)?,
        }
        File::open(folder_of(&self.place)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl NewFile {
    /// Puts the file in the place of the one that is there, durably, and gives it that one's owner and
    /// permissions. Nobody else may use that file.
    ///
    /// # Errors
    /// That of the system. The old file is still there.
    pub fn replace(self) -> Result<()> {
        let failed = |error| self.failed(error);
        let old = fs::metadata(&self.place).map_err(failed)?;
        give_to_owner(&self.unfinished, &old).map_err(failed)?;
        fs::set_permissions(&self.unfinished, old.permissions()).map_err(failed)?;
        File::open(&self.unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&self.unfinished, &self.place).map_err(failed)?;
        File::open(folder_of(&self.place)).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn failed(&self, error: io::Error) -> PersistenceError {
        let message = format!("{} cannot be put in place: {error}", self.place.display());
        let failed = BackendError::new(self.engine, "copy", ErrorKind::Io, message);
        failed.with_source(error).into()
    }
}

#[cfg(unix)]
fn give_to_owner(new: &Path, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let made = fs::metadata(new)?;
    match (made.uid(), made.gid()) == (old.uid(), old.gid()) {
        true => Ok(()),
        false => chown(new, Some(old.uid()), Some(old.gid())),
    }
}

#[cfg(not(unix))]
fn give_to_owner(_new: &Path, _old: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

impl Drop for NewFile {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
        FOLDERS.lock().retain(|folder| *folder != self.folder);
    }
}

fn folder_of(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A lock on a folder. It ends with the process, however that ends.
#[derive(Debug)]
struct Lock(#[cfg(unix)] File);

impl Lock {
    /// Takes the lock; `None` if another process has it.
    #[cfg(unix)]
    fn take(folder: &Path) -> io::Result<Option<Self>> {
        use rustix::fs::{FlockOperation, flock};
        let folder = File::open(folder)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            // Not every file system has locks. Nobody can tell whether the process lives then.
            _ => Ok(Some(Self(folder))),
        }
    }

    #[cfg(not(unix))]
    fn take(_folder: &Path) -> io::Result<Option<Self>> {
        Ok(Some(Self()))
    }

    /// Whether the folder is still the one at its path.
    #[cfg(unix)]
    fn is_of(&self, folder: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let there = fs::metadata(folder).map(|file| (file.dev(), file.ino()));
        let locked = self.0.metadata().map(|file| (file.dev(), file.ino()));
        matches!((there, locked), (Ok(there), Ok(locked)) if there == locked)
    }

    #[cfg(not(unix))]
    fn is_of(&self, folder: &Path) -> bool {
        folder.exists()
    }
}

/// Makes a folder of this process and locks it.
fn locked_folder(parent: &Path) -> io::Result<(PathBuf, Lock)> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    loop {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{UNFINISHED}{}-{call}", std::process::id()));
        match fs::create_dir(&folder) {
            // Of a killed process with the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        // Before it was locked, another process may have taken it for abandoned.
        match Lock::take(&folder) {
            Ok(Some(lock)) if lock.is_of(&folder) => return Ok((folder, lock)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a folder has a name that [`locked_folder`] gives: other folders are left alone.
#[cfg(unix)]
fn is_unfinished(name: &OsStr) -> bool {
    let numbers = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED)?.split_once('-'));
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    numbers.is_some_and(|(process, call)| is_number(process) && is_number(call))
}

/// Removes what killed processes have left unfinished, as far as that is possible.
#[cfg(unix)]
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if is_unfinished(&entry.file_name())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(Some(lock)) = Lock::take(&entry.path())
        {
            drop(fs::remove_dir_all(entry.path()));
            drop(lock);
        }
    }
}

/// Without locks, nobody can tell what is abandoned.
#[cfg(not(unix))]
fn remove_abandoned(_parent: &Path) {}

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

/// Renames a file that is there to a name that is free, unless it is empty: such a file is removed.
fn set_aside(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(file) if file.len() > 0 => {
            let (mut old, mut number) = (beside(path, ".old"), 1);
            while fs::symlink_metadata(&old).is_ok() {
                number += 1;
                old = beside(path, &format!(".old{number}"));
            }
            fs::rename(path, &old)?;
            let (log, old) = (path.display(), old.display());
            tracing::warn!("{log} belonged to an earlier file and is now {old}");
            Ok(())
        }
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
        // Both are being written.
        assert_eq!(names().len(), 3);
        new.finish().unwrap();
        assert_eq!(names().len(), 3);
        late.finish().unwrap_err();
        NewFile::new("test", &place).unwrap_err();
        assert_eq!(names(), ["copy.db", "copy.db-wal.old"]);
        assert_eq!(fs::read_to_string(&place).unwrap(), "whole");
        // What a killed process has left, and what only looks like it.
        fs::create_dir(folder.path().join(".annals-new-1-0")).unwrap();
        fs::write(folder.path().join(".annals-new-1-0/copy.db"), "half").unwrap();
        fs::write(folder.path().join(".annals-new-notes"), "a file").unwrap();
        fs::create_dir(folder.path().join(".annals-new-mine")).unwrap();
        drop(NewFile::new("test", &folder.path().join("other.db")).unwrap());
        let left = [".annals-new-mine", ".annals-new-notes", "copy.db", "copy.db-wal.old"];
        assert_eq!(names(), left);
        // Nor does a second log take the place of the first.
        fs::remove_file(&place).unwrap();
        fs::write(beside(&place, "-wal"), "another log").unwrap();
        let new = NewFile::new("test", &place).unwrap();
        fs::write(new.path(), "whole").unwrap();
        new.finish().unwrap();
        let old = |end| fs::read_to_string(beside(&place, end)).unwrap();
        assert_eq!(old("-wal.old"), "the log of another file");
        assert_eq!(old("-wal.old2"), "another log");
    }
}
