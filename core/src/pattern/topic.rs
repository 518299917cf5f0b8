//! Dot-separated segments, `*` as exactly one of them and `#` as zero or more.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    segments: Vec<Segment>,
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
    Any,
}

impl Topic {
    /// `None` if a segment mixes `*` with other characters.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        for part in text.split('.') {
            match part {
                "*" => segments.push(Segment::One),
                // Two in a row mean what one means.
                "#" if segments.last() == Some(&Segment::Any) => {}
                "#" => segments.push(Segment::Any),
                mixed if mixed.contains('*') => return None,
                literal => segments.push(Segment::Literal(literal.to_owned())),
            }
        }
        let prefix = literal_prefix(&segments);
        Some(Self { segments, prefix })
    }

    pub(super) fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    pub(super) fn is_all(&self) -> bool {
        self.segments == [Segment::Any]
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The fewest bytes a matching name has.
    pub(super) fn shortest_name(&self) -> usize {
        let parts = self.segments.iter().filter(|segment| **segment != Segment::Any);
        let dots = parts.clone().count().saturating_sub(1);
        let literals = parts.map(|segment| match segment {
            Segment::Literal(text) => text.len(),
            Segment::One | Segment::Any => 0,
        });
        literals.sum::<usize>() + dots
    }

    /// Greedy with one point to come back to, the last `#`: a later `#` makes what an earlier one
    /// took irrelevant.
    pub(super) fn matches(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split('.').collect();
        let (mut part, mut segment) = (0, 0);
        let mut last_any: Option<(usize, usize)> = None;
        while part < parts.len() {
            let fits = match self.segments.get(segment) {
                Some(Segment::Any) => {
                    last_any = Some((segment, part));
                    segment += 1;
                    continue;
                }
                Some(Segment::One) => true,
                Some(Segment::Literal(text)) => text == parts[part],
                None => false,
            };
            if fits {
                part += 1;
                segment += 1;
            } else if let Some((any, taken_to)) = last_any {
                last_any = Some((any, taken_to + 1));
                part = taken_to + 1;
                segment = any + 1;
            } else {
                return false;
            }
        }
        self.segments[segment..].iter().all(|segment| *segment == Segment::Any)
    }
}

/// The literal segments in front of the first wildcard. The dot in front of a `*` belongs to
/// them; the one in front of a `#` does not, since `a.#` means `a` as well.
fn literal_prefix(segments: &[Segment]) -> String {
    let mut prefix = String::new();
    for (index, segment) in segments.iter().enumerate() {
        let dot = if index == 0 { "" } else { "." };
        match segment {
            Segment::Literal(text) => {
                prefix.push_str(dot);
                prefix.push_str(text);
            }
            Segment::One => {
                prefix.push_str(dot);
                break;
            }
            Segment::Any => break,
        }
    }
    prefix
}
