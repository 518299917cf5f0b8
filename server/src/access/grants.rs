//! Which records a right is for.

use annals_core::{Grammar, Pattern};

/// The records of one right: the union of what its patterns match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope(Vec<Pattern>);

/// All rights of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    pub(crate) read: Scope,
    pub(crate) write: Scope,
    pub(crate) erase: Scope,
    pub(crate) admin: bool,
}

impl Grants {
    pub(crate) fn all() -> Self {
        let all = || Scope(vec![Pattern::all()]);
        Self { read: all(), write: all(), erase: all(), admin: true }
    }
}

impl Scope {
    pub(super) fn add(&mut self, pattern: Pattern) {
        self.0.push(pattern);
    }

    /// Whether there is no such right.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Whether the record is in it.
    pub(crate) fn allows(&self, record: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(record))
    }

    /// Whether everything that `pattern` can match is certainly in it.
    pub(crate) fn covers(&self, pattern: &Pattern) -> bool {
        if !pattern.can_match() {
            return true;
        }
        if let Some(record) = pattern.exact() {
            return self.allows(record);
        }
        self.0.iter().any(|granted| covers(granted, pattern))
    }
}

/// Every name that `pattern` matches begins with its literal prefix, so that it is enough if all
/// names with this prefix are granted.
fn covers(granted: &Pattern, pattern: &Pattern) -> bool {
    if granted.is_all() || granted == pattern {
        return true;
    }
    let text = granted.as_str();
    let all_below = match granted.grammar() {
        Grammar::Glob => text.strip_suffix('*').filter(|prefix| !prefix.contains('*')),
        _ => text
            .strip_suffix('#')
            .filter(|prefix| prefix.ends_with('.') && !prefix.contains(['*', '#'])),
    };
    all_below.is_some_and(|prefix| pattern.literal_prefix().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(granted: &str, of: Grammar, pattern: &str, grammar: Grammar) -> bool {
        let mut scope = Scope::default();
        scope.add(Pattern::new(granted, of).unwrap());
        scope.covers(&Pattern::new(pattern, grammar).unwrap())
    }

    #[test]
    fn what_is_certainly_inside_is_covered_and_nothing_else() {
        use Grammar::{Glob, Topic};
        for (granted, of, pattern, grammar) in [
            ("*", Glob, "anything*", Glob),
            ("#", Topic, "a.*", Topic),
            ("plant1::*", Glob, "plant1::*", Glob),
            ("plant1::*", Glob, "plant1::line*::speed", Glob),
            ("plant1::*", Glob, "plant1::a", Topic),
            ("plant.#", Topic, "plant.a.*", Topic),
            ("plant.#", Topic, "plant.a*", Glob),
            ("plant.*", Topic, "plant.a", Glob),
        ] {
            assert!(covered(granted, of, pattern, grammar), "{granted} {pattern}");
        }
        for (granted, of, pattern, grammar) in [
            ("plant1::*", Glob, "*", Glob),
            ("plant1::*", Glob, "plant1*", Glob),
            ("plant1::*", Glob, "plant2::*", Glob),
            ("plant1::*::a", Glob, "plant1::*", Glob),
            ("plant1::x", Glob, "plant1::*", Glob),
            ("plant.#", Topic, "plant*", Glob),
            ("plant.*", Topic, "plant.#", Topic),
            ("plant.*", Topic, "plant.a.b", Topic),
            ("plant#", Topic, "plant.a", Topic),
        ] {
            assert!(!covered(granted, of, pattern, grammar), "{granted} {pattern}");
        }
    }
}
