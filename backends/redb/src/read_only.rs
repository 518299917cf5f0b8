//! A file that is read and never changed.
//!
//! redb marks a file that it opens and repairs one that was not closed. Enters: the file, opened for
//! reading. What redb writes is kept in memory above it and goes when the file is closed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;

use parking_lot::RwLock;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Changes are kept in pieces of this size.
const PIECE: usize = 4096;

/// Of redb's header: magic bytes, and where its sizes begin: of a page, of a region's header in pages, of a
/// region in pages, the number of whole regions, and the pages of the last.
const MAGIC: &[u8] = b"redb\x1a\n\xa9\r\n";
const PAGE_SIZE: usize = 12;
const HEADER: usize = PAGE_SIZE + 5 * 4;

#[derive(Debug)]
pub(crate) struct ReadOnlyFile {
    file: FileBackend,
    changes: RwLock<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// How much of the file is still there; what follows it was added, and is 0 unless written.
    kept: u64,
    pieces: HashMap<u64, Box<[u8; PIECE]>>,
}

impl ReadOnlyFile {
    /// Opens a file, which has to be there.
    ///
    /// # Errors
    /// The system's; one of the kind `NotFound` for an empty file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        if len == 0 {
            let message = format!("{} is empty", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let file = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        let changes = RwLock::new(Changes { len, kept: len, pieces: HashMap::new() });
        Ok(Self { file, changes })
    }

    /// Adds zeros where the file is shorter than its header says. Returns its size and the one it should
    /// have, which is 0 if the header is none.
    pub(crate) fn fill_up(&self) -> io::Result<(u64, u64)> {
        let changes = &mut *self.changes.write();
        let mut header = [0; HEADER];
        self.file.read(0, &mut header)?;
        let (numbers, _) = header[PAGE_SIZE..].as_chunks::<4>();
        let [page, header_pages, most_pages, regions, pages] =
            std::array::from_fn(|at| u64::from(u32::from_le_bytes(numbers[at])));
        let last_region = if pages > 0 { header_pages + pages } else { 0 };
        let all = 1 + regions * (header_pages + most_pages) + last_region;
        let whole = if header.starts_with(MAGIC) { page.saturating_mul(all) } else { 0 };
        let len = changes.len;
        changes.len = len.max(whole);
        Ok((len, whole))
    }

    /// Reads a part of one piece of the file, as it is below the changes.
    fn read_below(&self, kept: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = (kept.saturating_sub(offset) as usize).min(out.len());
        let (from_file, added) = out.split_at_mut(there);
        added.fill(0);
        if from_file.is_empty() { Ok(()) } else { self.file.read(offset, from_file) }
    }
}

/// The pieces of a range: each one's number, where the range begins in it, and how long its part is.
fn pieces(mut offset: u64, mut len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let begin = (offset % PIECE as u64) as usize;
        let part = len.min(PIECE - begin);
        let piece = (part > 0).then_some((offset / PIECE as u64, begin, part));
        offset += part as u64;
        len -= part;
        piece
    })
}

impl StorageBackend for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.read().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes.read();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > changes.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if changes.pieces.is_empty() {
            return self.read_below(changes.kept, offset, out);
        }
        let mut rest = out;
        for (number, begin, part) in pieces(offset, rest.len()) {
            let (out, after) = rest.split_at_mut(part);
            match changes.pieces.get(&number) {
                Some(piece) => out.copy_from_slice(&piece[begin..begin + part]),
                None => {
                    let at = number * PIECE as u64 + begin as u64;
                    self.read_below(changes.kept, at, out)?;
                }
            }
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let changes = &mut *self.changes.write();
        if len < changes.len {
            changes.kept = changes.kept.min(len);
            let end = len.div_ceil(PIECE as u64);
            changes.pieces.retain(|number, _| *number < end);
            if let Some(last) = changes.pieces.get_mut(&(len / PIECE as u64)) {
                last[(len % PIECE as u64) as usize..].fill(0);
            }
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let changes = &mut *self.changes.write();
        let mut rest = data;
        for (number, begin, part) in pieces(offset, data.len()) {
            let (data, after) = rest.split_at(part);
            let piece = match changes.pieces.entry(number) {
                std::collections::hash_map::Entry::Occupied(piece) => piece.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let mut piece = Box::new([0; PIECE]);
                    if part < PIECE {
                        self.read_below(changes.kept, number * PIECE as u64, &mut piece[..])?;
                    }
                    place.insert(piece)
                }
            };
            piece[begin..begin + part].copy_from_slice(data);
            rest = after;
        }
        changes.len = changes.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    // Shared locks where redb, which believes to write, wants its own: several may read one file.

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
