//! The file that holds the space.
//!
//! Its blocks are allocated, not written. It is locked while it is made, shrunk or enlarged, so that
//! processes that share a store do not undo each other's work.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, statvfs};

use crate::new_file::{RESERVE, beside};

/// The smallest reserve: what opening a file and a small removal take. A store for which less would be kept
/// has none.
const LEAST: u64 = 256 << 10;

/// The largest: a few of the largest runs.
const MOST: u64 = 32 << 20;

/// The largest for a small store, of which a removal may rewrite all.
const MOST_OF_ALL: u64 = 4 << 20;

/// The reserve is a quarter of the store's file, or as large as a small store.
const PARTS: u64 = 4;

/// The reserve is created or enlarged only while the disk has this many times its size free.
const AMPLE: u64 = PARTS;

/// The unit in which the system counts what a file takes.
const BLOCK: u64 = 512;

/// What it begins with. A file that begins otherwise is somebody else's.
pub(super) const MARK: &[u8] =
    b"annals keeps this space back, to remove rows when the disk is full. \
                                 This file may be deleted.\n";

/// A reserve that is locked.
#[derive(Debug)]
pub(super) struct ReserveFile {
    file: File,
    place: Place,
}

#[derive(Debug)]
struct Place {
    reserve: PathBuf,
    store: Metadata,
}

impl Place {
    fn of(store: &Path) -> io::Result<Self> {
        // SQLite's log lies beside the file to which a link leads, too.
        let store = fs::canonicalize(store)?;
        Ok(Self { reserve: beside(&store, RESERVE), store: fs::metadata(&store)? })
    }

    fn wanted(&self) -> u64 {
        // A redb file has holes.
        let taken = self.store.len().min(self.store.blocks() * BLOCK);
        if taken < LEAST * PARTS { 0 } else { taken.min(MOST_OF_ALL).max(taken / PARTS).min(MOST) }
    }

    fn free(&self) -> io::Result<u64> {
        let system = statvfs(self.reserve.parent().unwrap_or(Path::new(".")))?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn is_ample(&self) -> io::Result<bool> {
        Ok(self.free()? >= self.wanted() * AMPLE)
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        // A link in place of the reserve must not lead to another file.
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        options
    }

    /// Makes an empty file for those who may write to the store.
    fn create(&self) -> io::Result<()> {
        let file = Self::options().create_new(true).mode(0o600).open(&self.reserve)?;
        let (made, store) = (file.metadata()?, &self.store);
        let given = match (made.uid(), made.gid()) == (store.uid(), store.gid()) {
            true => Ok(()),
            false => fchown(&file, Some(store.uid()), Some(store.gid())),
        };
        // No read permission for users who may not write: an open file can be locked.
        let writers = store.permissions().mode() & 0o222;
        given
            .and_then(|()| file.set_permissions(Permissions::from_mode(writers | writers << 1)))
            .inspect_err(|_| drop(fs::remove_file(&self.reserve)))
    }

    /// Removes it, unless another process works with the space.
    fn remove(&self) -> io::Result<()> {
        if fs::symlink_metadata(&self.reserve).is_err() {
            return Ok(());
        }
        let file = self.open()?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            locked => locked.map_err(io::Error::from).and_then(|()| fs::remove_file(&self.reserve)),
        }
    }

    /// Opens it, if it is a reserve.
    fn open(&self) -> io::Result<File> {
        let mut file = Self::options().open(&self.reserve)?;
        let found = file.metadata()?;
        let mut begin = [0; MARK.len()];
        let is_ours = found.is_file()
            && (found.nlink(), found.uid()) == (1, self.store.uid())
            && (found.len() == 0 || (file.read_exact(&mut begin).is_ok() && begin == *MARK));
        match is_ours {
            true => Ok(file),
            false => Err(io::Error::other(format!("{} is no reserve", self.reserve.display()))),
        }
    }
}

/// Makes the reserve if there is ample space, fits its size to that of the store, and removes that of a store
/// that has become small.
pub(super) fn keep(store: &Path) -> io::Result<()> {
    let place = Place::of(store)?;
    let wanted = place.wanted();
    if wanted == 0 {
        return place.remove();
    }
    match fs::symlink_metadata(&place.reserve) {
        // Not for a few bytes more.
        Ok(file) if (wanted - wanted / PARTS..=2 * wanted).contains(&file.len()) => return Ok(()),
        Ok(_) => {}
        Err(_) if place.is_ample()? => place.create()?,
        Err(_) => return Ok(()),
    }
    let mut file = place.open()?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Another process works with the space.
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        locked => locked?,
    }
    let len = file.metadata()?.len();
    if len > wanted {
        return file.set_len(wanted);
    }
    if len == 0 {
        file.write_all(MARK)?;
    }
    if place.is_ample()? {
        fallocate(&file, FallocateFlags::empty(), 0, wanted)?;
    } else if len <= MARK.len() as u64 {
        // A process was killed while it worked with the space.
        ReserveFile { file, place }.take_back(false);
    }
    Ok(())
}

pub(super) fn free(store: &Path) -> Option<u64> {
    Place::of(store).and_then(|place| place.free()).ok()
}

pub(super) fn is_short(store: &Path) -> bool {
    let enough = |place: &Place| Ok(place.free()? >= place.wanted().max(LEAST));
    Place::of(store).and_then(|place| enough(&place)).is_ok_and(|is_enough| !is_enough)
}

/// Locks the reserve and frees its space; `None` if there is none.
pub(super) fn release(store: &Path) -> Option<ReserveFile> {
    let place = Place::of(store).ok()?;
    let file = place.open().ok()?;
    // Another process that works with it takes its turn first.
    flock(&file, FlockOperation::LockExclusive).ok()?;
    let mark = MARK.len() as u64;
    if file.metadata().ok()?.len() <= mark {
        return None;
    }
    file.set_len(mark).ok()?;
    Some(ReserveFile { file, place })
}

impl ReserveFile {
    /// Takes back what is free, or most of it: the rest is for the next rows.
    pub(super) fn take_back(self, leaves_some: bool) {
        let Self { file, place } = self;
        let free = place.free().unwrap_or_default();
        let left = if leaves_some { free / PARTS } else { 0 };
        let mut len = place.wanted().min(free - left);
        // A quota may allow less than the file system.
        while len > MARK.len() as u64 && fallocate(&file, FallocateFlags::empty(), 0, len).is_err()
        {
            len /= 2;
        }
    }
}
