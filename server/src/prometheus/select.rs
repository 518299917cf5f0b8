//! Which series a selector means: matchers enter, records and members leave.
//!
//! A series is a record and the member of its values that is a number. The members are bounded:
//! those that the matchers name (`member="percent"`, `member=~"percent|idle"`), otherwise those
//! that are numbers or booleans in the newest value of the record in the window.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::aggregate::Member;
use annals_core::{PersistenceBackend, QueryParams};
use futures::StreamExt;
use promql_parser::label::{MatchOp, Matcher};
use serde_json::Value;

use super::METRIC;
use super::problem::Problem;

/// The largest number of members that are found in one value.
const MAX_MEMBERS: usize = 100;
/// How deep members are looked for.
const MAX_DEPTH: usize = 4;

/// A selection of series.
#[derive(Debug, Clone)]
pub(super) struct Selector {
    /// The records to ask for; the matchers decide.
    pattern: String,
    /// Whether no series can match.
    is_empty: bool,
    record: Vec<Matcher>,
    member: Vec<Matcher>,
    /// The members that a matcher names.
    named: Option<BTreeSet<Arc<str>>>,
}

/// A record and its members.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: Arc<str>,
    pub(super) members: Vec<Arc<str>>,
}

/// What a selector has found.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// By record name.
    pub(super) found: Vec<Found>,
    /// How many records the pattern matched.
    pub(super) seen: usize,
}

impl Selector {
    /// The series that all matchers match.
    pub(super) fn new(name: Option<&str>, matchers: &[Matcher]) -> Self {
        let mut selector = Self { record: Vec::new(), member: Vec::new(), ..Self::all() };
        selector.is_empty = name.is_some_and(|name| name != METRIC);
        for matcher in matchers {
            match matcher.name.as_str() {
                "record" => selector.record.push(matcher.clone()),
                "member" => selector.member.push(matcher.clone()),
                "__name__" => selector.is_empty |= !matcher.is_match(METRIC),
                // A label that no series has is empty.
                _ => selector.is_empty |= !matcher.is_match(""),
            }
        }
        for matcher in &selector.record {
            let pattern = match &matcher.op {
                MatchOp::Equal if matcher.value.is_empty() || matcher.value.contains('*') => {
                    selector.is_empty = true;
                    continue;
                }
                MatchOp::Equal => matcher.value.clone(),
                MatchOp::Re(_) => literal_prefix(&matcher.value) + "*",
                MatchOp::NotEqual | MatchOp::NotRe(_) => continue,
            };
            if pattern.len() > selector.pattern.len() {
                selector.pattern = pattern;
            }
        }
        let named = selector.member.iter().find_map(|matcher| match &matcher.op {
            MatchOp::Equal => Some(BTreeSet::from([matcher.value.as_str().into()])),
            MatchOp::Re(_) => alternatives(&matcher.value),
            MatchOp::NotEqual | MatchOp::NotRe(_) => None,
        });
        selector.named = named.map(|named: BTreeSet<Arc<str>>| {
            named.into_iter().filter(|name| selector.matches_member(name)).collect()
        });
        selector
    }

    /// Every series.
    pub(super) fn all() -> Self {
        Self {
            pattern: "*".to_owned(),
            is_empty: false,
            record: Vec::new(),
            member: Vec::new(),
            named: None,
        }
    }

    /// The records to ask for.
    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    pub(super) fn matches_record(&self, name: &str) -> bool {
        !self.is_empty && self.record.iter().all(|matcher| matcher.is_match(name))
    }

    fn matches_member(&self, name: &str) -> bool {
        self.member.iter().all(|matcher| matcher.is_match(name))
    }

    /// The series whose records have rows from `from` to `to` (Unix milliseconds, inclusive). A
    /// member that is named need not be in the newest value, unless `listed` is set.
    pub(super) async fn find(
        &self,
        history: &dyn PersistenceBackend,
        (from, to): (u64, u64),
        max_series: usize,
        listed: bool,
    ) -> Result<Selection, Problem> {
        let mut selection = Selection::default();
        if self.is_empty || self.named.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(selection);
        }
        let newest = QueryParams::latest(1).with_start_time(from).with_end_time(to);
        let mut rows = history.query_stream(&self.pattern, newest).await?;
        let mut known: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut series = 0;
        while let Some(row) = rows.next().await.transpose()? {
            selection.seen += 1;
            if !self.matches_record(&row.record) {
                continue;
            }
            let is_there = |name: &&Arc<str>| !listed || has_sample(&row.json, name);
            let members = match &self.named {
                Some(named) => named.iter().filter(is_there).cloned().collect(),
                None => self.members_of(&row.json, &mut known),
            };
            series += members.len();
            if series > max_series {
                return Err(Problem::TooMuch(format!(
                    "the query selects more than {max_series} series: narrow it with \
                     record=\"…\", record=~\"…\" or member=\"…\""
                )));
            }
            if !members.is_empty() {
                selection.found.push(Found { record: row.record, members });
            }
        }
        Ok(selection)
    }

    /// The members of a value that match; each name is held once.
    fn members_of(&self, json: &str, known: &mut BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
        let Ok(value) = serde_json::from_str::<Value>(json) else { return Vec::new() };
        let mut names = Vec::new();
        numbers(&value, "", 0, &mut names);
        names.retain(|name| self.matches_member(name));
        names.sort_unstable();
        let intern = |name: String| match known.get(name.as_str()) {
            Some(known) => known.clone(),
            None => {
                let name: Arc<str> = name.into();
                known.insert(name.clone());
                name
            }
        };
        names.into_iter().map(intern).collect()
    }
}

fn has_sample(json: &str, member: &str) -> bool {
    Member::parse(member).is_ok_and(|member| matches!(member.read(json), Ok(Some(_))))
}

/// The places of numbers and booleans: the name of a top-level member, a JSON Pointer below.
fn numbers(value: &Value, path: &str, depth: usize, names: &mut Vec<String>) {
    if names.len() >= MAX_MEMBERS {
        return;
    }
    match value {
        Value::Number(_) | Value::Bool(_) => {
            let is_top = depth == 1 && path.len() > 1 && !path.contains('~');
            names.push(if is_top { path[1..].to_owned() } else { path.to_owned() });
        }
        Value::Object(members) if depth < MAX_DEPTH => {
            for (name, value) in members {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                numbers(value, &format!("{path}/{escaped}"), depth + 1, names);
            }
        }
        _ => {}
    }
}

/// What every text begins with that a regular expression matches, as far as it is plain to see.
fn literal_prefix(regex: &str) -> String {
    if regex.contains('|') {
        return String::new();
    }
    let is_plain = |letter: &char| !r"\.+*?()|[]{}^$".contains(*letter);
    let mut prefix: String = regex.chars().take_while(is_plain).collect();
    if matches!(regex[prefix.len()..].chars().next(), Some('*' | '?' | '{')) {
        // The last letter may be absent.
        prefix.pop();
    }
    prefix
}

/// The names that a regular expression lists: `a|b`, or a single one.
fn alternatives(regex: &str) -> Option<BTreeSet<Arc<str>>> {
    let is_plain = |letter: char| !r"\.+*?()[]{}^$".contains(letter);
    regex.chars().all(is_plain).then(|| regex.split('|').map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_only_what_every_match_begins_with() {
        for (regex, prefix) in [
            ("plant1::.*", "plant1::"),
            ("plant1", "plant1"),
            ("ab*", "a"),
            ("ab?c", "a"),
            ("ab{0,1}", "a"),
            ("ab+", "ab"),
            ("a|b", ""),
            ("(?i)a", ""),
            (r"a\.b", "a"),
            ("ä*", ""),
        ] {
            assert_eq!(literal_prefix(regex), prefix, "{regex}");
        }
    }

    #[test]
    fn members_are_numbers_and_booleans_as_the_library_names_them() {
        let value = r#"{"a":1,"b":true,"c":"x","d":{"e":2,"f":[3]},"g/h":4,"i~":5,"":6}"#;
        let mut known = BTreeSet::new();
        let members = Selector::all().members_of(value, &mut known);
        let mut members: Vec<&str> = members.iter().map(|name| &**name).collect();
        members.sort_unstable();
        assert_eq!(members, ["/", "/d/e", "/g~1h", "/i~0", "a", "b"]);
        for (member, sample) in members.iter().zip([6.0, 2.0, 4.0, 5.0, 1.0, 1.0]) {
            let member = Member::parse(member).unwrap();
            assert_eq!(member.read(value).unwrap(), Some(sample), "{member:?}");
        }
        assert_eq!(&*Selector::all().members_of("2.5", &mut known)[0], "");
        assert!(Selector::all().members_of("\"text\"", &mut known).is_empty());
    }
}
