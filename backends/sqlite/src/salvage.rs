//! Reading a file whose end is missing, which SQLite refuses to open.
//!
//! Enters: the file. It is copied and filled up with zeros to the size that its header names. SQLite then
//! opens it, and fails only where it comes upon a page that is missing. Leaves: the rows that can be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use annals_core::{BackendError, ErrorKind, RawRow, Result};
use annals_embedded::{NewFile, Report, beside, survey};

use crate::ENGINE;
use crate::config::SqliteConfig;
use crate::open::open_reader;

/// The header of a file: magic bytes, the size of a page, …, the number of pages.
const HEADER: u64 = 32;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Surveys a copy of the file.
pub(crate) fn salvage(
    path: &Path,
    visit: &mut dyn FnMut(Vec<RawRow>) -> Result<()>,
) -> Result<Report> {
    let failed = |error: io::Error| {
        let message = format!("{} cannot be read: {error}", path.display());
        BackendError::new(ENGINE, "salvage", ErrorKind::Io, message).with_source(error)
    };
    let (len, whole) =
        (fs::metadata(path).map_err(failed)?.len(), whole_len(path).map_err(failed)?);
    let copy = NewFile::beside(ENGINE, &std::env::temp_dir().join("salvage.db"))?;
    copy_with_log(path, copy.path())?;
    if len < whole {
        let file = OpenOptions::new().write(true).open(copy.path()).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
    }
    let tables = open_reader(&SqliteConfig::new(copy.path()).with_read_only(true))?;
    let mut report = survey(ENGINE, &tables, Some(visit))?;
    if len < whole {
        report.add("the file", format!("it ends after {len} of {whole} bytes"), Some(0));
    }
    Ok(report)
}

/// Copies a file that may be damaged, with its log.
pub(crate) fn copy_with_log(source: &Path, copy: &Path) -> Result<()> {
    let failed = |path: PathBuf| {
        move |error: io::Error| {
            let message = format!("{} cannot be copied: {error}", path.display());
            BackendError::new(ENGINE, "copy", ErrorKind::Io, message).with_source(error)
        }
    };
    fs::copy(source, copy).map_err(failed(source.to_owned()))?;
    let log = beside(source, "-wal");
    if log.exists() {
        fs::copy(&log, beside(copy, "-wal")).map_err(failed(log))?;
    }
    Ok(())
}

/// The size that the header names, 0 if it is none.
fn whole_len(path: &Path) -> io::Result<u64> {
    let mut header = Vec::new();
    File::open(path)?.take(HEADER).read_to_end(&mut header)?;
    if header.len() < HEADER as usize {
        return Ok(0);
    }
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    Ok(if header.starts_with(MAGIC) { page * u64::from(pages) } else { 0 })
}
