//! Reading a file whose end is missing, which redb refuses to open.
//!
//! Enters: the file, to which zeros are added in memory, up to the size that its header names. redb reads
//! it as it would read beside a program that writes: it verifies nothing that is not asked for, and fails
//! where it comes upon a page that is missing. Leaves: the rows that can be read.

use std::path::Path;

use annals_core::{RawRow, Result};
use annals_embedded::{Report, survey};
use redb::{ConcurrencyMode, Database, ReadableDatabase};

use crate::ENGINE;
use crate::error::failed;
use crate::read_only::ReadOnlyFile;
use crate::tables::RedbTables;

/// Surveys the file.
pub(crate) fn salvage(
    path: &Path,
    visit: &mut dyn FnMut(Vec<RawRow>) -> Result<()>,
) -> Result<Report> {
    let failed_to_read = |error| failed("salvage")(redb::Error::Io(error));
    let file = ReadOnlyFile::open(path).map_err(failed_to_read)?;
    let (len, whole) = file.fill_up().map_err(failed_to_read)?;
    let mut builder = Database::builder();
    builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
    let database = builder.open_read_only_with_backend(file).map_err(failed("salvage"))?;
    let tables = RedbTables(database.begin_read().map_err(failed("salvage"))?);
    let mut report = survey(ENGINE, &tables, Some(visit))?;
    if len < whole {
        report.add("the file", format!("it ends after {len} of {whole} bytes"), Some(0));
    }
    Ok(report)
}
