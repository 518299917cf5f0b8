//! Backends with a wrong idea of which records a pattern means.

use std::time::Duration;

use annals_core::{Grammar, MemoryBackend, Pattern, QueryParams, RawRow, async_trait};

use crate::twist::{Result, Twist, select};

/// A wrong idea of which records a pattern means.
pub(crate) struct Matching(pub(crate) fn(&str, &str) -> bool);

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
pub(crate) fn like(pattern: &str, name: &str) -> bool {
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

pub(crate) fn without_case(pattern: &str, name: &str) -> bool {
    glob(&pattern.to_lowercase(), &name.to_lowercase())
}

/// Exact where the whole name is given, and not where a wildcard is.
pub(crate) fn wildcards_without_case(pattern: &str, name: &str) -> bool {
    if pattern.contains('*') { without_case(pattern, name) } else { glob(pattern, name) }
}

/// Only the first star is one.
pub(crate) fn one_star(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, suffix)) if suffix.contains('*') => {
            name.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
        }
        _ => glob(pattern, name),
    }
}

/// The range of a prefix ends before the last code point.
pub(crate) fn short_of_the_last(pattern: &str, name: &str) -> bool {
    let end = pattern.strip_suffix('*').map(|prefix| format!("{prefix}\u{10ffff}"));
    glob(pattern, name) && (pattern == "*" || end.is_none_or(|end| name < end.as_str()))
}

/// A matcher that tries everything.
pub(crate) fn slow(pattern: &str, name: &str) -> bool {
    if pattern.matches('*').count() > 6 && name.len() > 1_000 {
        std::thread::sleep(Duration::from_millis(600));
    }
    glob(pattern, name)
}

/// The empty pattern means everything.
pub(crate) struct EmptyIsEverything;

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
