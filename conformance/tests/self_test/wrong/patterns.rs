//! Backends with a wrong idea of which records a pattern means.

use std::time::Duration;

use annals_core::{Grammar, MemoryBackend, Pattern, QueryParams, RawRow, async_trait};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("case_is_folded", || Matching(without_case), &["NAME-3"]),
        twisted("wildcards_ignore_case", || Matching(wildcards_without_case), &["NAME-3"])
            .caught_by("name_3_patterns_fold_nothing_either"),
        twisted("like_pattern", || Matching(like), &["PATTERN-2"]),
        twisted("one_star_only", || Matching(one_star), &["PATTERN-1"]),
        twisted("prefix_short_of_the_last", || Matching(short_of_the_last), &["PATTERN-1"]),
        twisted("slow_matcher", || Matching(slow), &["PATTERN-4"]).unseen_by_random(),
        twisted("empty_pattern_is_everything", || EmptyIsEverything, &["PATTERN-3"])
            .unseen_by_random(),
    ]
}

/// A wrong idea of which records a pattern means.
struct Matching(fn(&str, &str) -> bool);

#[async_trait]
impl Twist for Matching {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        Pattern::new(pattern, params.grammar)?;
        if params.grammar == Grammar::Topic || pattern == "*" {
            return select(inner, pattern, params).await;
        }
        let mut rows = select(inner, "*", params).await?;
        rows.retain(|row| (self.0)(pattern, &row.record));
        Ok(rows)
    }
}

fn glob(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern, Grammar::Glob).is_ok_and(|pattern| pattern.matches(name))
}

/// `LIKE`, without an escape for what is special in it.
fn like(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            (['*' | '%', others @ ..], _) => (0..=name.len()).any(|i| rest(others, &name[i..])),
            (['_', others @ ..], [_, name @ ..]) => rest(others, name),
            ([a, others @ ..], [b, name @ ..]) => a == b && rest(others, name),
            _ => false,
        }
    }
    if !pattern.contains(['%', '_']) {
        return glob(pattern, name);
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    rest(&pattern, &name)
}

fn without_case(pattern: &str, name: &str) -> bool {
    glob(&pattern.to_lowercase(), &name.to_lowercase())
}

/// Exact where the whole name is given, and not where a wildcard is.
fn wildcards_without_case(pattern: &str, name: &str) -> bool {
    if pattern.contains('*') { without_case(pattern, name) } else { glob(pattern, name) }
}

/// Only the first star is one.
fn one_star(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, suffix)) if suffix.contains('*') => {
            name.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
        }
        _ => glob(pattern, name),
    }
}

/// The range of a prefix ends before the last code point.
fn short_of_the_last(pattern: &str, name: &str) -> bool {
    let end = pattern.strip_suffix('*').map(|prefix| format!("{prefix}\u{10ffff}"));
    glob(pattern, name) && (pattern == "*" || end.is_none_or(|end| name < end.as_str()))
}

/// A matcher that tries everything.
fn slow(pattern: &str, name: &str) -> bool {
    if pattern.matches('*').count() > 6 && name.len() > 1_000 {
        std::thread::sleep(Duration::from_millis(600));
    }
    glob(pattern, name)
}

/// The empty pattern means everything.
struct EmptyIsEverything;

#[async_trait]
impl Twist for EmptyIsEverything {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        let params = match pattern {
            "" => params.with_grammar(Grammar::Glob),
            _ => params,
        };
        select(inner, if pattern.is_empty() { "*" } else { pattern }, params).await
    }
}
