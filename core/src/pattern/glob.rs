//! `*` as any run of characters.

/// The literal pieces between the stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    prefix: String,
    /// Non-empty pieces that stand between two stars.
    middle: Vec<String>,
    suffix: String,
}

impl Glob {
    /// Splits a pattern that has at least one star.
    pub(super) fn new(text: &str) -> Self {
        let (prefix, rest) = text.split_once('*').unwrap_or((text, ""));
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle =
            middle.split('*').filter(|piece| !piece.is_empty()).map(String::from).collect();
        Self { prefix: prefix.to_owned(), middle, suffix: suffix.to_owned() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn is_all(&self) -> bool {
        self.literal_bytes() == 0
    }

    pub(super) fn literal_bytes(&self) -> usize {
        self.prefix.len() + self.middle.iter().map(String::len).sum::<usize>() + self.suffix.len()
    }

    /// Takes each middle piece at its leftmost place. With stars as the only wildcard that is
    /// never worse than a later place, so nothing has to be tried twice.
    pub(super) fn matches(&self, name: &str) -> bool {
        let Some(mut rest) = name.strip_prefix(&*self.prefix) else { return false };
        match rest.strip_suffix(&*self.suffix) {
            Some(between) => rest = between,
            None => return false,
        }
        for piece in &self.middle {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}
