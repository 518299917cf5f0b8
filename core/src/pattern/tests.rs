use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn glob(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern, Grammar::Glob).unwrap().matches(name)
}

fn topic(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern, Grammar::Topic).unwrap().matches(name)
}

#[test]
fn stars_stand_for_any_run() {
    for (pattern, name) in [
        ("*", "anything"),
        ("accuracy::*", "accuracy::vienna"),
        ("accuracy::*", "accuracy::"),
        ("*::vienna", "accuracy::vienna"),
        ("a*b*c", "abc"),
        ("a*b*c", "a--b--b--c"),
        ("**a**", "bab"),
        ("a*a", "aa"),
        ("*ab*ab*", "abab"),
    ] {
        assert!(glob(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("accuracy::*", "accuracy:"),
        ("accuracy::*", "Accuracy::vienna"),
        ("a*a", "a"),
        ("ab*ba", "aba"),
        ("*ab*ab*", "aba"),
        ("a%", "ab"),
        ("a_", "ab"),
        ("a?", "ab"),
        ("[a]", "a"),
    ] {
        assert!(!glob(pattern, name), "{pattern} {name}");
    }
}

#[test]
fn segments_are_whole() {
    for (pattern, name) in [
        ("a.*", "a.b"),
        ("a.#", "a"),
        ("a.#", "a.b.c"),
        ("#", "a"),
        ("#.c", "c"),
        ("#.c", "a.b.c"),
        ("a.#.c", "a.c"),
        ("a.#.c.#", "a.b.c.c.d"),
        ("*.*", "a."),
        ("a#b", "a#b"),
        ("a.b", "a.b"),
        ("#.#", "x"),
    ] {
        assert!(topic(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("a.*", "a"),
        ("a.*", "a.b.c"),
        ("*", "a.b"),
        ("a.#", "ab"),
        ("#.c", "a.d"),
        ("*.#.*", "a"),
        ("accuracy::*.x", "accuracy::vienna.x"),
    ] {
        let matched = Pattern::new(pattern, Grammar::Topic).is_ok_and(|p| p.matches(name));
        assert!(!matched, "{pattern} {name}");
    }
}

#[test]
fn a_mixed_topic_segment_and_the_empty_pattern_are_refused() {
    for (pattern, grammar) in [
        ("", Grammar::Glob),
        ("", Grammar::Topic),
        ("a*.b", Grammar::Topic),
        ("a.**", Grammar::Topic),
    ] {
        let error = Pattern::new(pattern, grammar).unwrap_err();
        assert!(matches!(error, PersistenceError::InvalidPattern { .. }), "{pattern}");
    }
}

#[test]
fn what_no_name_can_match_is_known_beforehand() {
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for pattern in [long.as_str(), "a\0*", &format!("*{long}"), &".".repeat(2000)] {
        for grammar in [Grammar::Glob, Grammar::Topic] {
            if let Ok(pattern) = Pattern::new(pattern, grammar) {
                assert!(!pattern.can_match());
            }
        }
    }
    assert!(Pattern::new(&format!("{}*", "x".repeat(1024)), Grammar::Glob).unwrap().can_match());
}

#[test]
fn the_prefix_is_what_every_match_begins_with() {
    let prefix = |text, grammar| Pattern::new(text, grammar).unwrap().literal_prefix().to_owned();
    assert_eq!(prefix("accuracy::*", Grammar::Glob), "accuracy::");
    assert_eq!(prefix("*x", Grammar::Glob), "");
    assert_eq!(prefix("x", Grammar::Glob), "x");
    assert_eq!(prefix("a.b.*", Grammar::Topic), "a.b.");
    assert_eq!(prefix("a.b.#", Grammar::Topic), "a.b");
    assert_eq!(prefix("#.b", Grammar::Topic), "");
}

/// PATTERN-4. The bound is a thousand times what it takes, so that a slow machine passes and a
/// backtracking matcher does not.
#[test]
fn hostile_patterns_stay_cheap() {
    let name = "a".repeat(1024);
    let begun = Instant::now();
    assert!(!glob("*a*a*a*a*a*a*a*a*b", &name));
    assert!(!topic(&format!("{}z", "#.a.".repeat(100)), &"a.".repeat(500)));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

/// The obvious matcher, exponential and right.
fn obvious(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|taken| obvious(rest, &name[taken..])),
        Some((literal, rest)) => name.first() == Some(literal) && obvious(rest, &name[1..]),
    }
}

fn obvious_topic(pattern: &[&str], name: &[&str]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((&"#", rest)) => (0..=name.len()).any(|taken| obvious_topic(rest, &name[taken..])),
        Some((&"*", rest)) => !name.is_empty() && obvious_topic(rest, &name[1..]),
        Some((literal, rest)) => name.first() == Some(literal) && obvious_topic(rest, &name[1..]),
    }
}

proptest! {
    #[test]
    fn glob_agrees_with_the_obvious_matcher(pattern in "[ab*é]{1,8}", name in "[abé]{1,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let parsed = Pattern::new(&pattern, Grammar::Glob).unwrap();
        prop_assert_eq!(parsed.matches(&name), obvious(&chars(&pattern), &chars(&name)));
        if parsed.matches(&name) {
            prop_assert!(name.starts_with(parsed.literal_prefix()));
        }
    }

    #[test]
    fn topic_agrees_with_the_obvious_matcher(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#", ""]), 1..6),
        name in prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 1..7),
    ) {
        let (text, joined) = (pattern.join("."), name.join("."));
        prop_assume!(!text.is_empty() && !joined.is_empty());
        let parsed = Pattern::new(&text, Grammar::Topic).unwrap();
        prop_assert_eq!(parsed.matches(&joined), obvious_topic(&pattern, &name));
        if parsed.matches(&joined) {
            prop_assert!(joined.starts_with(parsed.literal_prefix()));
        }
    }
}
