//! Sends many rows with a binary COPY.

use std::pin::pin;

use annals_core::Batch;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use tokio_postgres::{Client, CopyInSink};

/// Data is sent once it has this many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Sends the rows with their record ids, in a transaction that is known to have begun.
///
/// The driver names the statement, and closes it on the server before the commit is sent. Within a
/// transaction a pooler does not switch servers.
pub(super) async fn send(
    client: &Client,
    sql: &str,
    batches: &[&Batch],
    ids: &[i64],
) -> Result<(), tokio_postgres::Error> {
    let sink: CopyInSink<Bytes> = client.copy_in(sql).await?;
    let mut sink = pin!(sink);
    let mut chunk = BytesMut::with_capacity(2 * CHUNK_BYTES);
    chunk.put_slice(HEADER);
    let rows = batches.iter().flat_map(|batch| batch.rows());
    for (row, id) in rows.zip(ids) {
        chunk.put_i16(3);
        chunk.put_i32(8);
        chunk.put_i64(*id);
        chunk.put_i32(8);
        // `Batch::validate` and `Row` refuse times beyond i64.
        chunk.put_i64(row.stored_at.cast_signed());
        let value = row.value.as_str().as_bytes();
        // A value of 2 GiB exceeds the protocol's limit, and the server reports it.
        chunk.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        chunk.put_slice(value);
        if chunk.len() >= CHUNK_BYTES {
            sink.feed(chunk.split().freeze()).await?;
        }
    }
    chunk.put_i16(-1);
    sink.feed(chunk.freeze()).await?;
    sink.finish().await.map(drop)
}
