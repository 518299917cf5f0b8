//! Partitions and chunks, as a sweep sees them.

use annals_core::Result;

use crate::net::Session;

/// A partition or chunk.
pub(crate) struct Part {
    /// With its schema, as an identifier.
    pub(crate) name: String,
    /// The first time that it can hold.
    pub(crate) first: i64,
    /// The last time that it can hold.
    pub(crate) last: i64,
}

/// The rows of a table. This is the one statement of a sweep that scans.
pub(crate) async fn count(session: &Session, table: &str) -> Result<u64> {
    session.execute("SET LOCAL enable_seqscan = on").await?;
    let row = session.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?;
    Ok(row.get::<_, i64>(0).cast_unsigned())
}

pub(crate) async fn has_rows(session: &Session, table: &str) -> Result<bool> {
    let row = session.query_one(&format!("SELECT EXISTS (SELECT FROM {table})"), &[]).await?;
    Ok(row.get(0))
}
