//! A row in annals' own form: an object with `record`, `value` and `stored_at`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{line_mistake, name, no_name, no_time, rows_within, time_text};
use crate::import::entry::Entry;

/// No other members are allowed: a misspelt `storedAt` would silently become the time of the import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    stored_at: Option<&'a RawValue>,
}

pub(super) fn entry(text: &str) -> Result<Entry<'_>, String> {
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let name = said.split('`').nth(1).unwrap_or_default().escape_debug();
        if said.starts_with("unknown field") {
            let rows = rows_within(text);
            format!(
                "it has the member {name}\na row has record, value and stored_at, and \
                 --record-pointer, --value-pointer and --time-pointer find them in any other \
                 object{rows}"
            )
        } else if said.starts_with("duplicate field") {
            format!("it has the member {name} twice")
        } else {
            line_mistake(text)
        }
    })?;
    let needed = |name: &str| {
        format!("it has no member {name}\n--{name}-pointer says where it stands, if elsewhere")
    };
    // serde reads null into an Option as an absent member.
    let value = match members.value {
        Some(value) => value.get(),
        None if null_member(text, "value") => "null",
        None => return Err(needed("value")),
    };
    let record = match members.record {
        Some(record) => name(record)?,
        None if null_member(text, "record") => return Err(no_name("null")),
        None => return Err(needed("record")),
    };
    let time = match members.stored_at {
        Some(time) => Some(time_text(time)?),
        None if null_member(text, "stored_at") => return Err(no_time("null")),
        None => None,
    };
    Ok(Entry { record, value: Cow::Borrowed(value), time })
}

fn null_member(text: &str, name: &str) -> bool {
    let members: BTreeMap<Cow<'_, str>, IgnoredAny> =
        serde_json::from_str(text).unwrap_or_default();
    members.contains_key(name)
}
