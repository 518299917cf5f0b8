//! Finds samples on the server: a member becomes an SQL expression.
//!
//! The server raises an error for values that it cannot take apart: text that is no longer JSON, a
//! `\u0000` or half of a surrogate pair anywhere in the value, a number that underflows. The caller then
//! reads these rows itself.

use annals_core::aggregate::Member;

use crate::sql::literal;

/// How samples are found in the column `value`.
pub(super) struct Extract {
    /// The JSON text of the member.
    text: String,
    /// Keeps the planner from merging subqueries, which would compute the text several times. Not
    /// where that would keep Citus from sending the query to its shards.
    fence: &'static str,
}

impl Extract {
    /// `None` if PostgreSQL cannot name the member.
    pub(super) fn new(member: &Member, fenced: bool) -> Option<Self> {
        let mut text = "value::json".to_owned();
        for name in member.names() {
            if name.contains('\0') {
                return None;
            }
            // Step by step: of members with the same name the last one counts at each level. `->`
            // with a text looks into objects only, `#>` with digits into arrays as well.
            let digits = name.bytes().all(|byte| byte.is_ascii_digit());
            let is_index = digits && (name == "0" || !name.starts_with('0'));
            let name = literal(name);
            text = match member.is_pointer() && is_index {
                true => format!("({text} #> ARRAY[{name}::text])"),
                false => format!("({text} -> {name}::text)"),
            };
        }
        let text = match member.names().len() {
            0 => format!("btrim(({text})::text, E' \\t\\n\\r')"),
            _ => format!("{text}::text"),
        };
        Some(Self { text, fence: if fenced { " OFFSET 0" } else { "" } })
    }

    /// Lets the planner merge subqueries, where few rows are read and their order counts.
    pub(super) fn unfenced(&self) -> Self {
        Self { text: self.text.clone(), fence: "" }
    }

    /// Selects these columns and `sample`, which is NULL where there is none, of a FROM clause with a
    /// column `value`. A number is its nearest double, `true` is 1 and `false` is 0.
    pub(super) fn samples(&self, columns: &str, from: &str) -> String {
        let Self { text, fence } = self;
        // The first character tells the type: a digit, `-`, `t` or `f`.
        format!(
            "SELECT {columns}, CASE WHEN ascii(t) BETWEEN 45 AND 57 THEN t::float8 \
               WHEN ascii(t) = 116 THEN 1 WHEN ascii(t) = 102 THEN 0 END AS sample \
             FROM (SELECT {columns}, {text} AS t FROM {from}{fence}) AS texts{fence}"
        )
    }
}
