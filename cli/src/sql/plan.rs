//! What a `SELECT` wants of the history, as one query of a backend.
//!
//! A query may find more than is wanted, never less: SQLite looks at every row again.

use annals::{Grammar, MAX_TIMESTAMP, Order, Pattern, QueryParams, RecordName};
use rusqlite::types::ValueRef;
use rusqlite::vtab::IndexConstraintOp as Op;

/// The columns' numbers.
pub(super) const RECORD_NAME: i32 = 0;
pub(super) const VALUE_JSON: i32 = 1;
pub(super) const STORED_AT: i32 = 2;

/// A comparison that narrows a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    NameIs,
    NameLike,
    NameGlob,
    At,
    After,
    NotBefore,
    Before,
    NotAfter,
}

impl Filter {
    const ALL: [(char, Self); 8] = [
        ('n', Self::NameIs),
        ('l', Self::NameLike),
        ('g', Self::NameGlob),
        ('=', Self::At),
        ('>', Self::After),
        ('f', Self::NotBefore),
        ('<', Self::Before),
        ('t', Self::NotAfter),
    ];

    /// The filter for a comparison of a column, if there is one.
    pub(super) fn of(column: i32, op: &Op) -> Option<Self> {
        Some(match (column, op) {
            (RECORD_NAME, Op::SQLITE_INDEX_CONSTRAINT_EQ) => Self::NameIs,
            (RECORD_NAME, Op::SQLITE_INDEX_CONSTRAINT_LIKE) => Self::NameLike,
            (RECORD_NAME, Op::SQLITE_INDEX_CONSTRAINT_GLOB) => Self::NameGlob,
            (STORED_AT, Op::SQLITE_INDEX_CONSTRAINT_EQ) => Self::At,
            (STORED_AT, Op::SQLITE_INDEX_CONSTRAINT_GT) => Self::After,
            (STORED_AT, Op::SQLITE_INDEX_CONSTRAINT_GE) => Self::NotBefore,
            (STORED_AT, Op::SQLITE_INDEX_CONSTRAINT_LT) => Self::Before,
            (STORED_AT, Op::SQLITE_INDEX_CONSTRAINT_LE) => Self::NotAfter,
            _ => return None,
        })
    }

    /// Roughly the factor by which the filter reduces the rows.
    fn selectivity(self) -> f64 {
        match self {
            Self::NameIs | Self::At => 1_000.0,
            Self::NameLike | Self::NameGlob => 10.0,
            _ => 3.0,
        }
    }
}

/// How the table is read: the filters with known values, and the order of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) filters: Vec<Filter>,
    pub(super) order: Order,
}

impl Plan {
    /// The plan as text, which SQLite keeps between planning and reading.
    pub(super) fn to_text(&self) -> String {
        let order = if self.order == Order::OldestFirst { 'o' } else { 'd' };
        let letter = |filter: &Filter| Filter::ALL.iter().find(|(_, other)| other == filter);
        let filters = self.filters.iter().filter_map(letter).map(|(letter, _)| *letter);
        std::iter::once(order).chain(filters).collect()
    }

    pub(super) fn from_text(text: &str) -> Self {
        let filter = |letter| Filter::ALL.iter().find(|(other, _)| *other == letter);
        let order = if text.starts_with('o') { Order::OldestFirst } else { Order::NewestFirst };
        let filters = text.chars().skip(1).filter_map(filter).map(|(_, filter)| *filter);
        Self { filters: filters.collect(), order }
    }

    /// Roughly the number of rows that are read.
    pub(super) fn rows(&self) -> f64 {
        let fewer: f64 = self.filters.iter().map(|filter| filter.selectivity()).product();
        (1e7 / fewer).max(1.0)
    }

    /// Chooses the order of the rows and returns whether it satisfies `terms`, each a column and
    /// whether it is descending.
    pub(super) fn resolve_order(&mut self, terms: &[(i32, bool)]) -> bool {
        let one_record = self.filters.contains(&Filter::NameIs);
        let terms: Vec<_> =
            terms.iter().filter(|(column, _)| !(one_record && *column == RECORD_NAME)).collect();
        let by_time = match terms[..] {
            [] => None,
            [(STORED_AT, down)] if one_record => Some(*down),
            [(RECORD_NAME, false)] => None,
            [(RECORD_NAME, false), (STORED_AT, down)] => Some(*down),
            _ => return false,
        };
        if by_time == Some(false) {
            self.order = Order::OldestFirst;
        }
        true
    }

    /// The query for the values of the filters; `None` if nothing can match.
    pub(super) fn query<'v>(
        &self,
        values: impl Iterator<Item = ValueRef<'v>>,
    ) -> Option<(String, QueryParams)> {
        let mut pattern = Pattern::new("*", Grammar::Glob).ok()?;
        let mut exact = false;
        let (mut from, mut to) = (0, MAX_TIMESTAMP as i64);
        for (filter, value) in self.filters.iter().zip(values) {
            // Nothing compares with NULL.
            if value == ValueRef::Null {
                return None;
            }
            match filter {
                Filter::NameIs | Filter::NameLike | Filter::NameGlob => {
                    // SQLite itself compares a value that is not text.
                    let Ok(text) = value.as_str() else { continue };
                    if *filter == Filter::NameIs {
                        RecordName::new(text).ok()?;
                        exact = true;
                        pattern = Pattern::new(text, Grammar::Glob).ok()?;
                    } else if !exact {
                        let other = Pattern::new(&glob(*filter, text), Grammar::Glob).ok()?;
                        if other.literal_prefix().len() >= pattern.literal_prefix().len() {
                            pattern = other;
                        }
                    }
                }
                _ => {
                    let Some((floor, ceiling)) = whole(value) else { continue };
                    match filter {
                        Filter::At => (from, to) = (from.max(floor), to.min(ceiling)),
                        // One more would be exact; SQLite itself excludes it.
                        Filter::After | Filter::NotBefore => from = from.max(floor),
                        _ => to = to.min(ceiling),
                    }
                }
            }
        }
        let (from, to) = (u64::try_from(from).ok()?, u64::try_from(to).ok()?);
        let params = QueryParams::range(from, to).with_order(self.order);
        (from <= to).then(|| (pattern.as_str().to_owned(), params))
    }
}

/// A pattern that matches at least what `text` matches as a pattern of `LIKE` or `GLOB`.
fn glob(filter: Filter, text: &str) -> String {
    let wild: &[char] = if filter == Filter::NameLike { &['%', '_'] } else { &['*', '?'] };
    // A character set may match anything, and so may the text after it.
    let end = if filter == Filter::NameGlob { text.find('[') } else { None };
    let mut pattern = text[..end.unwrap_or(text.len())].replace(wild, "*");
    if end.is_some() {
        pattern.push('*');
    }
    pattern
}

/// The integers around a number; `None` for other values, which SQLite may still convert to one.
fn whole(value: ValueRef<'_>) -> Option<(i64, i64)> {
    match value {
        ValueRef::Integer(number) => Some((number, number)),
        // The cast saturates.
        ValueRef::Real(number) => Some((number.floor() as i64, number.ceil() as i64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Filter::*;
    use super::*;

    fn query(filters: &[(Filter, ValueRef<'_>)]) -> Option<(String, u64, u64)> {
        let plan = Plan {
            filters: filters.iter().map(|(filter, _)| *filter).collect(),
            order: Order::NewestFirst,
        };
        let (pattern, params) = plan.query(filters.iter().map(|(_, value)| *value))?;
        Some((pattern, params.start_time?, params.end_time?))
    }

    fn pattern(filter: Filter, text: &str) -> Option<String> {
        query(&[(filter, ValueRef::Text(text.as_bytes()))]).map(|(pattern, ..)| pattern)
    }

    fn window(filters: &[(Filter, f64)]) -> Option<(u64, u64)> {
        let real: Vec<_> =
            filters.iter().map(|(f, number)| (*f, ValueRef::Real(*number))).collect();
        query(&real).map(|(_, from, to)| (from, to))
    }

    #[test]
    fn names_become_patterns_that_match_no_less() {
        for (filter, text, expected) in [
            (NameIs, "a%b", Some("a%b")),
            (NameIs, "", None),
            (NameIs, "a*", None),
            (NameLike, "host::%", Some("host::*")),
            (NameLike, "%a_b%", Some("*a*b*")),
            (NameLike, "a?[b]", Some("a?[b]")),
            (NameLike, "", None),
            (NameGlob, "host::*", Some("host::*")),
            (NameGlob, "a?b*", Some("a*b*")),
            (NameGlob, "a[b]c", Some("a*")),
            (NameGlob, "a%_", Some("a%_")),
        ] {
            assert_eq!(pattern(filter, text).as_deref(), expected, "{filter:?} {text}");
        }
    }

    #[test]
    fn of_several_names_the_narrowest_counts() {
        let text = |text: &'static str| ValueRef::Text(text.as_bytes());
        let found = |filters: &[_]| query(filters).unwrap().0;
        assert_eq!(found(&[(NameLike, text("a%")), (NameIs, text("b"))]), "b");
        assert_eq!(found(&[(NameIs, text("b")), (NameLike, text("abc%"))]), "b");
        assert_eq!(found(&[(NameLike, text("a%")), (NameGlob, text("abc*"))]), "abc*");
        assert_eq!(found(&[(NameLike, text("abc%")), (NameGlob, text("*"))]), "abc*");
        // SQLite compares numbers and blobs with names in its own way.
        assert_eq!(found(&[(NameIs, ValueRef::Integer(5))]), "*");
        assert_eq!(found(&[(NameIs, ValueRef::Blob(b"b"))]), "*");
    }

    #[test]
    fn times_become_a_window_that_leaves_nothing_out() {
        let most = MAX_TIMESTAMP;
        for (filters, expected) in [
            (&[][..], Some((0, most))),
            (&[(At, 5.0)], Some((5, 5))),
            (&[(At, 5.5)], Some((5, 6))),
            (&[(After, 5.5), (Before, 9.5)], Some((5, 10))),
            (&[(NotBefore, -3.0), (NotAfter, 9.0)], Some((0, 9))),
            (&[(NotBefore, 7.0), (After, 3.0), (NotAfter, 9.0), (Before, 99.0)], Some((7, 9))),
            (&[(NotAfter, -1.0)], None),
            (&[(NotBefore, 9.0), (Before, 5.0)], None),
            (&[(NotBefore, 1e30)], Some((most, most))),
            (&[(NotAfter, f64::INFINITY)], Some((0, most))),
        ] {
            assert_eq!(window(filters), expected, "{filters:?}");
        }
        let integer = |filter, number| query(&[(filter, ValueRef::Integer(number))]);
        assert_eq!(integer(NotAfter, i64::MIN), None);
        assert_eq!(integer(NotBefore, i64::MAX), Some(("*".to_owned(), most, most)));
        assert_eq!(query(&[(After, ValueRef::Text(b"5"))]), Some(("*".to_owned(), 0, most)));
        for filter in [NameIs, NameLike, At, Before] {
            assert_eq!(query(&[(filter, ValueRef::Null)]), None);
        }
    }

    #[test]
    fn a_plan_survives_as_text() {
        let plan = Plan {
            filters: Filter::ALL.iter().map(|(_, filter)| *filter).collect(),
            order: Order::OldestFirst,
        };
        assert_eq!(Plan::from_text(&plan.to_text()), plan);
        let empty = Plan { filters: Vec::new(), order: Order::NewestFirst };
        assert_eq!(Plan::from_text(&empty.to_text()), empty);
    }

    #[test]
    fn the_order_is_resolved_where_rows_come_in_it_anyway() {
        let resolved = |filters: &[Filter], terms: &[(i32, bool)]| {
            let mut plan = Plan { filters: filters.to_vec(), order: Order::NewestFirst };
            plan.resolve_order(terms).then_some(plan.order)
        };
        let (newest, oldest) = (Some(Order::NewestFirst), Some(Order::OldestFirst));
        assert_eq!(resolved(&[], &[(RECORD_NAME, false)]), newest);
        assert_eq!(resolved(&[], &[(RECORD_NAME, false), (STORED_AT, true)]), newest);
        assert_eq!(resolved(&[], &[(RECORD_NAME, false), (STORED_AT, false)]), oldest);
        assert_eq!(resolved(&[NameIs], &[(STORED_AT, false)]), oldest);
        assert_eq!(resolved(&[NameIs], &[(RECORD_NAME, true), (STORED_AT, true)]), newest);
        for terms in [
            &[(RECORD_NAME, true)][..],
            &[(STORED_AT, true)],
            &[(VALUE_JSON, false)],
            &[(STORED_AT, true), (RECORD_NAME, false)],
            &[(RECORD_NAME, false), (STORED_AT, true), (VALUE_JSON, false)],
        ] {
            assert_eq!(resolved(&[NameLike], terms), None, "{terms:?}");
        }
    }
}
