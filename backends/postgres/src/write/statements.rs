//! The statements of a transaction that stores.

use crate::sql::Sql;

/// The current generation of names.
pub(super) fn generation(sql: &Sql) -> String {
    format!("SELECT names_generation FROM {}.meta", sql.schema)
}

/// Raises the number of each writer. Always returns one row: whether the statement ran in our
/// transaction, and whose number was raised. "No number was raised" must not be mistaken for "stored
/// before" if it did not run.
pub(super) fn claim(sql: &Sql) -> String {
    let (s, ours) = (&sql.schema, sql.in_our_transaction());
    format!(
        "WITH claimed AS (\
           INSERT INTO {s}.writers AS w (writer, number) \
           SELECT u.writer, u.number \
           FROM unnest($1::bytea[], $2::bigint[]) AS u (writer, number) \
           WHERE {ours} ORDER BY u.writer \
           ON CONFLICT (writer) DO UPDATE \
           SET number = excluded.number, last_use = excluded.last_use \
           WHERE w.number < excluded.number RETURNING w.writer) \
         SELECT coalesce({ours}, false), ARRAY(SELECT writer FROM claimed)"
    )
}

/// Inserts nothing if the ids are of another generation of names.
pub(super) fn insert(sql: &Sql) -> String {
    let s = &sql.schema;
    format!(
        "INSERT INTO {s}.history (record_id, stored_at, value) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) \
         WHERE (SELECT names_generation FROM {s}.meta) = $4 AND {}",
        sql.in_our_transaction()
    )
}

pub(super) fn copy(sql: &Sql) -> String {
    format!("COPY {}.history (record_id, stored_at, value) FROM STDIN (FORMAT binary)", sql.schema)
}
