//! The statements for a history that Citus distributes, where they differ.

use super::Sql;

/// The newest rows of one record alone. What the join says of the record tells Citus nothing about the
/// rows' shard: it asks all of them unless the rows' own column is compared as well. With many records
/// that would only cost, since every shard has some.
pub(crate) struct OfOne {
    pub(crate) newest_first: String,
    pub(crate) newest_ascending: String,
}

/// Each of these goes to the shards as a whole, and only to those that hold the records asked for.
/// What comes back has to be put in order.
pub(super) fn apply(sql: &mut Sql) {
    let s = &sql.schema;
    // A join with `placements` stays on its shard; one with an array would not.
    let latest = |further: &str| {
        format!(
            "SELECT array_position($1::bigint[], p.record_id)::bigint AS place, \
                    h.stored_at, h.value, h.seq \
             FROM {s}.placements p CROSS JOIN LATERAL (\
               SELECT stored_at, seq, value FROM {s}.history \
               WHERE record_id = p.record_id {further} AND stored_at >= $2 AND stored_at <= $3 \
               ORDER BY stored_at DESC, seq DESC LIMIT $4::bigint) h \
             WHERE p.record_id = ANY ($1::bigint[])"
        )
    };
    let newest_first = |further| {
        let latest = latest(further);
        format!(
            "SELECT place, stored_at, value FROM ({latest}) AS l \
             ORDER BY place, stored_at DESC, seq DESC"
        )
    };
    let newest_ascending = |further| {
        let latest = latest(further);
        format!(
            "SELECT place, stored_at, value FROM ({latest}) AS l ORDER BY place, stored_at, seq"
        )
    };
    let one = "AND record_id = ANY ($1::bigint[])";
    sql.of_one =
        Some(OfOne { newest_first: newest_first(one), newest_ascending: newest_ascending(one) });
    sql.newest_first = newest_first("");
    sql.newest_ascending = newest_ascending("");
    sql.add_names = format!(
        "INSERT INTO {s}.records (name, placed) SELECT u.name, true \
         FROM unnest($1::text[]) AS u (name) \
         LEFT JOIN {s}.records r ON r.name = u.name COLLATE \"C\" WHERE r.name IS NULL \
         ORDER BY u.name COLLATE \"C\" ON CONFLICT (name) DO NOTHING"
    );
    sql.place_names = Some(format!(
        "INSERT INTO {s}.placements SELECT id FROM {s}.records WHERE name = ANY ($1::text[]) \
         ON CONFLICT DO NOTHING"
    ));
    sql.oldest_first = format!(
        "SELECT array_position($1::bigint[], record_id)::bigint AS place, stored_at, value \
         FROM {s}.history WHERE record_id = ANY ($1::bigint[]) \
         AND stored_at >= $2 AND stored_at <= $3 \
         ORDER BY place, stored_at, seq LIMIT $4::bigint"
    );
    sql.summaries = format!(
        "SELECT array_position($1::bigint[], record_id)::bigint, \
                count(*), min(stored_at), max(stored_at) \
         FROM {s}.history WHERE record_id = ANY ($1::bigint[]) GROUP BY record_id"
    );
    sql.keep_bounds = format!(
        "SELECT array_position($1::bigint[], p.record_id)::bigint, b.stored_at, b.seq \
         FROM {s}.placements p CROSS JOIN LATERAL (\
           SELECT stored_at, seq FROM {s}.history WHERE record_id = p.record_id \
           ORDER BY stored_at DESC, seq DESC OFFSET $2::bigint - 1 LIMIT 1) b \
         WHERE p.record_id = ANY ($1::bigint[])"
    );
    sql.expired_records = format!(
        "SELECT p.record_id FROM {s}.placements p WHERE p.record_id = ANY ($1::bigint[]) \
         AND EXISTS (SELECT FROM {s}.history h \
           WHERE h.record_id = p.record_id AND h.stored_at <= $2)"
    );
    sql.empty_records = format!(
        "SELECT p.record_id FROM {s}.placements p WHERE p.record_id = ANY ($1::bigint[]) \
         AND NOT EXISTS (SELECT FROM {s}.history h WHERE h.record_id = p.record_id)"
    );
    sql.unplace = Some(format!("DELETE FROM {s}.placements WHERE record_id = ANY ($1::bigint[])"));
}
