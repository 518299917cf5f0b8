//! Columns and members that no option names. Among them may be the times that somebody forgot to
//! name: every row would get the time of the import.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::shown;
use super::time::looks_like_a_time;

/// So many rows are looked at, and so many columns or members.
const ROWS: usize = 100;
const NAMES: usize = 200;
/// So deep in an object.
const DEPTH: usize = 3;

/// What was seen of the first rows.
#[derive(Debug, Default)]
pub(super) struct Unused {
    rows: usize,
    seen: Vec<Seen>,
}

/// The texts of a column or member.
#[derive(Debug)]
struct Seen {
    name: String,
    /// Whether all of them look like times.
    times: bool,
}

impl Unused {
    /// Whether enough rows were seen.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= ROWS
    }

    /// The next row.
    pub(super) fn next_row(&mut self) {
        self.rows += 1;
    }

    /// Sees a text of a row.
    pub(super) fn see(&mut self, name: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let times = looks_like_a_time(text, has_word_of_time(name));
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.name == name) {
            seen.times &= times;
        } else if self.seen.len() < NAMES {
            self.seen.push(Seen { name: name.to_owned(), times });
        }
    }

    /// Sees the strings and numbers of an object, except below the members that `used` names.
    pub(super) fn see_object(&mut self, object: &str, used: &[&[String]]) {
        each_member(object, &mut String::new(), &mut Vec::new(), &mut |pointer, steps, raw| {
            let is_used = used.iter().any(|used| !used.is_empty() && steps.starts_with(used));
            match (raw.as_bytes().first(), is_used) {
                (Some(b'"'), false) => {
                    let text = serde_json::from_str::<String>(raw).unwrap_or_default();
                    self.see(pointer, &text);
                }
                (Some(b'0'..=b'9'), false) => self.see(pointer, raw),
                _ => {}
            }
        });
    }

    /// The name of the column or member that seems to hold the times.
    pub(super) fn times(&self) -> Option<&str> {
        let called = |seen: &&Seen| NAMES_OF_TIMES.contains(&last_step(&seen.name).as_str());
        let both = self.seen.iter().find(|seen| seen.times && called(seen));
        let found = both
            .or_else(|| self.seen.iter().find(|seen| seen.times))
            .or_else(|| self.seen.iter().find(called));
        found.map(|seen| seen.name.as_str())
    }
}

/// The members of an object as pointers, for messages.
pub(super) fn pointers(object: &str) -> String {
    const SHOWN: usize = 12;
    let mut pointers = Vec::new();
    each_member(object, &mut String::new(), &mut Vec::new(), &mut |pointer, _, _| {
        pointers.push(shown(pointer));
    });
    let more = if pointers.len() > SHOWN { ", …" } else { "" };
    pointers.truncate(SHOWN);
    format!("{}{more}", pointers.join(", "))
}

/// Passes on each member that is no object, with its pointer and the steps of the pointer.
fn each_member(
    object: &str,
    pointer: &mut String,
    steps: &mut Vec<String>,
    each: &mut dyn FnMut(&str, &[String], &str),
) {
    #[derive(Deserialize)]
    struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);
    let Ok(Members(members)) = serde_json::from_str(object) else { return };
    for (name, raw) in members {
        let before = pointer.len();
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        steps.push(name.into_owned());
        match raw.get().starts_with('{') && steps.len() < DEPTH {
            true => each_member(raw.get(), pointer, steps, each),
            false => each(pointer, steps, raw.get()),
        }
        steps.pop();
        pointer.truncate(before);
    }
}

/// What columns and members of times are called, in small letters; the likeliest first.
pub(super) const NAMES_OF_TIMES: [&str; 18] = [
    "stored_at",
    "time",
    "timestamp",
    "datetime",
    "date_time",
    "date",
    "ts",
    "_time",
    "last_changed",
    "last_updated",
    "last_updated_ts",
    "last_changed_ts",
    "created_at",
    "received_at",
    "zeit",
    "datum",
    "zeitpunkt",
    "zeitstempel",
];

/// The last step of a pointer, or the name of a column, in small letters.
fn last_step(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_lowercase()
}

/// Whether a number of seconds under this name is a time: it might count anything else.
fn has_word_of_time(name: &str) -> bool {
    let name = last_step(name);
    let words = ["time", "date", "epoch", "unix", "zeit", "datum"];
    words.iter().any(|word| name.contains(word)) || NAMES_OF_TIMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &[&[(&str, &str)]]) -> Option<String> {
        let mut unused = Unused::default();
        for row in rows {
            row.iter().for_each(|(name, text)| unused.see(name, text));
        }
        unused.times().map(str::to_owned)
    }

    #[test]
    fn a_column_that_holds_times_is_found() {
        for (name, text) in [
            ("last_changed", "2026-05-17T08:30:00Z"),
            ("x", "2026-05-17 08:30"),
            ("x", "17.05.2026 10:30"),
            ("x", "05/17/2026 08:30 AM"),
            ("x", "1779006600000"),
            ("at_epoch", "1779006600.5"),
            ("ts", "1779006600"),
            ("Time", "yesterday"),
        ] {
            assert_eq!(found(&[&[("unit", "C"), (name, text)]]).as_deref(), Some(name), "{text}");
        }
        for (name, text) in
            [("counter", "1779006600"), ("x", "21.5"), ("uptime", "86400"), ("time", "")]
        {
            assert_eq!(found(&[&[(name, text)]]), None, "{name} {text}");
        }
        let mixed: [&[(&str, &str)]; 2] = [&[("x", "2026-05-17")], &[("x", "on")]];
        assert_eq!(found(&mixed), None);
    }

    #[test]
    fn a_member_that_holds_times_is_found_wherever_it_stands() {
        let object = r#"{"v":1,"labels":{"at":"2026-05-17"},"meta":{"a/b":{"ts":1779006600}}}"#;
        let find = |used: &[&[String]]| {
            let mut unused = Unused::default();
            unused.see_object(object, used);
            unused.times().map(str::to_owned)
        };
        let labels = ["labels".to_owned()];
        assert_eq!(find(&[&labels]).as_deref(), Some("/meta/a~1b/ts"));
        assert_eq!(pointers(object), "/labels/at, /meta/a~1b/ts, /v");
    }
}
