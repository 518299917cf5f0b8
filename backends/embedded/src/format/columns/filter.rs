//! A predicate enters, and what the columns tell of each row leaves: whether it satisfies the predicate.
//!
//! No text is printed. A scalar of a dictionary is tested once, numbers are compared as numbers, and a shape
//! without the member has one answer for all of its rows. Where statistics decide, no column is read.

use std::cmp::Ordering;
use std::ops::Range;

use annals_core::aggregate::{Found, Member};
use annals_core::{Comparison, Condition, Predicate, Scalar};

use super::FormatError;
use super::column::{Body, Column, Place};
use super::decode::{Columns, Packed};
use super::number::{self, MOST_EXACT};
use super::numbers::{HasColumns, find_in_shape};

/// Whether a row satisfies a predicate. The order is that of three-valued logic: `and` is the smallest of
/// its parts, `or` the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// It does not.
    No,
    /// Its text has to be tested.
    Unknown,
    /// It does.
    Yes,
}

impl From<bool> for Verdict {
    #[inline]
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl std::ops::Not for Verdict {
    type Output = Self;

    #[inline]
    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

/// The verdicts on the rows of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    rows: Vec<Verdict>,
    /// Whether columns were read. If not, what is unknown may be known by them.
    by_columns: bool,
}

impl Verdicts {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The verdicts on some rows; none if there are no such rows.
    pub fn of(&self, rows: Range<usize>) -> &[Verdict] {
        self.rows.get(rows).unwrap_or_default()
    }

    /// Whether any of these rows satisfies the predicate, or may.
    pub fn has_any(&self, rows: Range<usize>) -> bool {
        self.of(rows).iter().any(|verdict| *verdict != Verdict::No)
    }

    /// Whether reading columns would tell no more of these rows.
    pub fn is_final(&self, rows: Range<usize>) -> bool {
        self.by_columns || !self.of(rows).contains(&Verdict::Unknown)
    }
}

/// One verdict on the rows of a shape, or one on each.
enum Rows {
    All(Verdict),
    Each(Vec<Verdict>),
}

impl Rows {
    /// Combines two, where `one` rules the other out if all rows have it.
    fn combine(self, other: Self, choose: impl Fn(Verdict, Verdict) -> Verdict) -> Self {
        match (self, other) {
            (Self::All(one), Self::All(other)) => Self::All(choose(one, other)),
            (Self::All(one), Self::Each(mut all)) | (Self::Each(mut all), Self::All(one)) => {
                all.iter_mut().for_each(|other| *other = choose(one, *other));
                Self::Each(all)
            }
            (Self::Each(mut all), Self::Each(others)) => {
                all.iter_mut().zip(others).for_each(|(one, other)| *one = choose(*one, other));
                Self::Each(all)
            }
        }
    }
}

/// Finds the verdicts on rows of one shape. `compare` compares one of its scalars.
fn decide(
    pieces: &[Box<str>],
    predicate: &Predicate,
    compare: &mut dyn FnMut(usize, Comparison, &Scalar) -> Result<Rows, FormatError>,
) -> Result<Rows, FormatError> {
    let unknown = Rows::All(Verdict::Unknown);
    Ok(match predicate.condition() {
        Condition::Compare(member, comparison, scalar) => match find_in_shape(pieces, member) {
            None => unknown,
            Some(Found::Scalar(Scalar::Unsigned(number))) => {
                compare(number as usize, *comparison, scalar)?
            }
            Some(found) => Rows::All(comparison.holds(&found, scalar).into()),
        },
        Condition::Exists(member) => match find_in_shape(pieces, member) {
            None => unknown,
            Some(found) => Rows::All((found != Found::Absent).into()),
        },
        Condition::Not(inner) => match decide(pieces, inner, compare)? {
            Rows::All(one) => Rows::All(!one),
            Rows::Each(all) => Rows::Each(all.into_iter().map(|one| !one).collect()),
        },
        Condition::And(parts) => {
            let mut all = Rows::All(Verdict::Yes);
            for part in parts {
                if matches!(all, Rows::All(Verdict::No)) {
                    break;
                }
                all = all.combine(decide(pieces, part, compare)?, Verdict::min);
            }
            all
        }
        Condition::Or(parts) => {
            let mut all = Rows::All(Verdict::No);
            for part in parts {
                if matches!(all, Rows::All(Verdict::Yes)) {
                    break;
                }
                all = all.combine(decide(pieces, part, compare)?, Verdict::max);
            }
            all
        }
        _ => unknown,
    })
}

/// The verdicts on all rows, by their columns.
fn by_columns(block: &impl HasColumns, predicate: &Predicate) -> Result<Verdicts, FormatError> {
    let mut shapes = Vec::with_capacity(block.shapes());
    for shape in 0..block.shapes() {
        let rows = block.rows_of(shape);
        let mut compare = |scalar, comparison, with: &Scalar| {
            Ok(column(&*block.column(shape, scalar)?, rows, comparison, with))
        };
        shapes.push(match block.pieces(shape) {
            Some(pieces) => decide(pieces, predicate, &mut compare)?,
            None => Rows::All(Verdict::Unknown),
        });
    }
    let rows = match &mut shapes[..] {
        [Rows::All(one)] => vec![*one; block.rows_of(0)],
        [Rows::Each(all)] => std::mem::take(all),
        shapes => {
            let mut next = vec![0; shapes.len()];
            let shape_of = block.shape_of()?;
            let rows = shape_of.iter().map(|shape| {
                let shape = usize::from(*shape);
                next[shape] += 1;
                match &shapes[shape] {
                    Rows::All(one) => *one,
                    Rows::Each(all) => all[next[shape] - 1],
                }
            });
            rows.collect()
        }
    };
    Ok(Verdicts { rows, by_columns: true })
}

/// Compares the scalars of a column.
fn column(column: &Column, rows: usize, comparison: Comparison, with: &Scalar) -> Rows {
    let value = Member::value();
    let test = |scalar: &str| match value.find(scalar, matches!(with, Scalar::Text(_))) {
        Ok(found) => comparison.holds(&found, with).into(),
        Err(_) => Verdict::Unknown,
    };
    let entries: Vec<Verdict> = column.dictionary.iter().map(|entry| test(entry)).collect();
    if let ([entry], true) = (&entries[..], column.indices.is_empty()) {
        return Rows::All(*entry);
    }
    let body = body(&column.body, comparison, with, &test);
    if column.indices.is_empty() {
        return Rows::Each(body);
    }
    let of = |row| match column.place(row) {
        Place::Entry(entry) => entries[entry],
        Place::Body(at) => body[at],
    };
    Rows::Each((0..rows).map(of).collect())
}

fn body(
    body: &Body,
    comparison: Comparison,
    with: &Scalar,
    test: &dyn Fn(&str) -> Verdict,
) -> Vec<Verdict> {
    match body {
        Body::None => Vec::new(),
        Body::Decimals { mantissas, scale, .. } => {
            let values = mantissas.iter().map(|mantissa| number::divided(*mantissa, *scale));
            let mut all = numbers(values, comparison, with);
            // What an f64 does not hold may be written as an integer, which is compared exactly.
            for (at, mantissa) in mantissas.iter().enumerate() {
                if mantissa.unsigned_abs() > MOST_EXACT {
                    let mut text = Vec::new();
                    body.print(at, &mut text);
                    all[at] = std::str::from_utf8(&text).map_or(Verdict::Unknown, test);
                }
            }
            all
        }
        Body::Floats(floats) => numbers(floats.iter().copied(), comparison, with),
        Body::Text { ends, text, is_quoted } => {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let scalars = starts.zip(ends).map(|(start, end)| &text[start..*end]);
            match with {
                _ if !is_quoted => scalars.map(test).collect(),
                Scalar::Text(with) if !text.contains('\\') => {
                    let with = with.as_bytes();
                    let holds = |scalar: &str| comparison.accepts(scalar.as_bytes().cmp(with));
                    scalars.map(|scalar| holds(scalar).into()).collect()
                }
                Scalar::Text(_) => {
                    scalars.map(|scalar| test(&["\"", scalar, "\""].concat())).collect()
                }
                _ => vec![comparison.holds(&Found::Other, with).into(); ends.len()],
            }
        }
    }
}

/// Compares numbers that are exactly these.
fn numbers(
    values: impl Iterator<Item = f64>,
    comparison: Comparison,
    with: &Scalar,
) -> Vec<Verdict> {
    let Some(bound) = exact(with) else {
        let holds = |value| comparison.holds(&Found::Scalar(Scalar::Float(value)), with);
        return values.map(|value| holds(value).into()).collect();
    };
    // One loop for each, of which the compiler makes vectors.
    match comparison {
        Comparison::Equal => values.map(|value| (value == bound).into()).collect(),
        Comparison::NotEqual => values.map(|value| (value != bound).into()).collect(),
        Comparison::Less => values.map(|value| (value < bound).into()).collect(),
        Comparison::LessOrEqual => values.map(|value| (value <= bound).into()).collect(),
        Comparison::Greater => values.map(|value| (value > bound).into()).collect(),
        Comparison::GreaterOrEqual => values.map(|value| (value >= bound).into()).collect(),
    }
}

/// A number as the `f64` that it is exactly.
fn exact(scalar: &Scalar) -> Option<f64> {
    match *scalar {
        Scalar::Float(value) => Some(value),
        Scalar::Unsigned(value) if value <= MOST_EXACT => Some(value as f64),
        Scalar::Signed(value) if value.unsigned_abs() <= MOST_EXACT => Some(value as f64),
        _ => None,
    }
}

/// What the smallest and the greatest sample of a column tell of all of its rows. Without them, no row has a
/// sample. `true` and `false` are samples and no numbers, so only what lies outside is known.
fn by_extremes(extremes: Option<(f64, f64)>, comparison: Comparison, with: &Scalar) -> Verdict {
    let is_number = matches!(with, Scalar::Float(_) | Scalar::Unsigned(_) | Scalar::Signed(_));
    // Nearest numbers are the numbers themselves below this.
    let is_exact = |value: f64| value.abs() < MOST_EXACT as f64;
    let is_within = match extremes {
        _ if !is_number => return Verdict::Unknown,
        None => false,
        Some((min, max)) if is_exact(min) && is_exact(max) => {
            let order = |value| Scalar::Float(value).compare(with);
            let (below, above) = (order(min), order(max));
            let (Some(below), Some(above)) = (below, above) else { return Verdict::Unknown };
            match comparison {
                Comparison::Less => below == Ordering::Less,
                Comparison::LessOrEqual => below != Ordering::Greater,
                Comparison::Greater => above == Ordering::Greater,
                Comparison::GreaterOrEqual => above != Ordering::Less,
                Comparison::Equal | Comparison::NotEqual => {
                    below != Ordering::Greater && above != Ordering::Less
                }
            }
        }
        Some(_) => return Verdict::Unknown,
    };
    match (is_within, comparison) {
        (true, _) => Verdict::Unknown,
        (false, Comparison::NotEqual) => Verdict::Yes,
        (false, _) => Verdict::No,
    }
}

impl Packed<'_> {
    /// For each extent with statistics, what these tell of all of its rows.
    pub(super) fn verdicts_by_statistics(
        &self,
        predicate: &Predicate,
    ) -> Result<Vec<Verdict>, FormatError> {
        let verdicts = self.statistics.iter().map(|one| {
            let Some(shape) = self.shapes.get(one.shape).filter(|shape| shape.is_json) else {
                return Ok(Verdict::Unknown);
            };
            let mut compare = |scalar, comparison, with: &Scalar| {
                let extremes = one.extremes(scalar);
                let by = |extremes| by_extremes(extremes, comparison, with);
                Ok(Rows::All(extremes.map_or(Verdict::Unknown, by)))
            };
            match decide(&shape.pieces, predicate, &mut compare)? {
                Rows::All(one) => Ok(one),
                Rows::Each(_) => Ok(Verdict::Unknown),
            }
        });
        verdicts.collect()
    }

    /// The verdicts on the rows, by statistics alone if these are enough for the rows `asked`.
    pub(in super::super) fn verdicts(
        &self,
        predicate: &Predicate,
        asked: Range<usize>,
    ) -> Result<Verdicts, FormatError> {
        let mut verdicts = Verdicts { rows: vec![Verdict::Unknown; self.rows], by_columns: false };
        let of_extents = self.verdicts_by_statistics(predicate)?;
        for (one, verdict) in self.statistics.iter().zip(of_extents) {
            if let Some(rows) = self.rows_of_extent(one.extent) {
                verdicts.rows[rows].fill(verdict);
            }
        }
        match verdicts.is_final(asked) {
            true => Ok(verdicts),
            false => by_columns(self, predicate),
        }
    }
}

impl Columns {
    /// The verdicts on the rows.
    pub(in super::super) fn verdicts(
        &self,
        predicate: &Predicate,
    ) -> Result<Verdicts, FormatError> {
        by_columns(self, predicate)
    }
}
