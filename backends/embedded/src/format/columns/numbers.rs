//! The numbers of one member, read from its column.

use std::borrow::Cow;
use std::ops::Range;

use annals_core::aggregate::{Member, Partial};

use super::column::{Body, Column, Place};
use super::decode::{Columns, Packed};
use super::number::to_f64;
use super::{FormatError, MOST_TEXT};

/// What a row has at the place of the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sample,
    NoSample,
    /// The text is not JSON.
    Unreadable,
}

/// The samples of one member in the rows of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    times: Vec<u64>,
    /// 0 where there is no sample.
    values: Vec<f64>,
    /// Empty if each row has a sample.
    kinds: Vec<Kind>,
    /// The texts that are not JSON, with their rows.
    unreadable: Vec<(usize, Box<str>)>,
}

/// Adjacent rows of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stretch<'a> {
    /// The times and the values of samples.
    Samples(&'a [u64], &'a [f64]),
    /// The times of rows without a sample.
    NoSamples(&'a [u64]),
    /// The time and the text of a row that is not JSON.
    Unreadable(u64, &'a str),
}

/// What has columns, read or not.
pub(super) trait HasColumns {
    fn shapes(&self) -> usize;
    /// The text between the scalars of a shape; `None` if it is for rows that are kept as a whole.
    fn pieces(&self, shape: usize) -> Option<&[Box<str>]>;
    fn rows_of(&self, shape: usize) -> usize;
    fn column(&self, shape: usize, scalar: usize) -> Result<Cow<'_, Column>, FormatError>;
    fn shape_of(&self) -> Result<Cow<'_, [u16]>, FormatError>;
}

impl HasColumns for Packed<'_> {
    fn shapes(&self) -> usize {
        self.shapes.len()
    }

    fn pieces(&self, shape: usize) -> Option<&[Box<str>]> {
        let shape = &self.shapes[shape];
        shape.is_json.then_some(&shape.pieces)
    }

    fn rows_of(&self, shape: usize) -> usize {
        self.shapes[shape].rows
    }

    fn column(&self, shape: usize, scalar: usize) -> Result<Cow<'_, Column>, FormatError> {
        Ok(Cow::Owned(self.shapes[shape].columns[scalar].decode(MOST_TEXT)?))
    }

    fn shape_of(&self) -> Result<Cow<'_, [u16]>, FormatError> {
        Ok(Cow::Owned(self.shape_of()?.0))
    }
}

impl HasColumns for Columns {
    fn shapes(&self) -> usize {
        self.shapes.len()
    }

    fn pieces(&self, shape: usize) -> Option<&[Box<str>]> {
        let shape = &self.shapes[shape];
        shape.is_json.then_some(&shape.pieces)
    }

    fn rows_of(&self, shape: usize) -> usize {
        self.shapes[shape].rows
    }

    fn column(&self, shape: usize, scalar: usize) -> Result<Cow<'_, Column>, FormatError> {
        Ok(Cow::Borrowed(&self.shapes[shape].columns[scalar]))
    }

    fn shape_of(&self) -> Result<Cow<'_, [u16]>, FormatError> {
        Ok(Cow::Borrowed(&self.shape_of))
    }
}

impl Packed<'_> {
    /// How many rows it has.
    pub(in super::super) fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the samples of a member, as [`Member::read`] finds them in the text of each row.
    pub(in super::super) fn numbers(&self, member: &Member) -> Result<Numbers, FormatError> {
        Numbers::read(self, self.times()?, member)
    }
}

impl Columns {
    /// The samples of a member, as [`Member::read`] finds them in the text of each row.
    pub(in super::super) fn numbers(
        &self,
        times: &[u64],
        member: &Member,
    ) -> Result<Numbers, FormatError> {
        Numbers::read(self, times.to_vec(), member)
    }
}

impl Numbers {
    fn read(
        block: &impl HasColumns,
        times: Vec<u64>,
        member: &Member,
    ) -> Result<Self, FormatError> {
        let mut shapes = Vec::with_capacity(block.shapes());
        for shape in 0..block.shapes() {
            shapes.push(ShapeNumbers::read(block, shape, member)?);
        }
        if let [ShapeNumbers { values, kinds, unreadable }] = &mut shapes[..] {
            let (values, kinds) = (std::mem::take(values), std::mem::take(kinds));
            return Ok(Self { times, values, kinds, unreadable: std::mem::take(unreadable) });
        }
        let shape_of = block.shape_of()?;
        let is_mixed = shapes.iter().any(|shape| !shape.kinds.is_empty());
        let mut next = vec![0; shapes.len()];
        let mut all = Self { times, values: Vec::new(), kinds: Vec::new(), unreadable: Vec::new() };
        all.values.reserve(shape_of.len());
        for (row, shape) in shape_of.iter().enumerate() {
            let (numbers, at) = (&shapes[usize::from(*shape)], &mut next[usize::from(*shape)]);
            all.values.push(numbers.values[*at]);
            if is_mixed {
                let kind = numbers.kinds.get(*at).copied().unwrap_or(Kind::Sample);
                all.kinds.push(kind);
                if kind == Kind::Unreadable
                    && let Ok(found) = numbers.unreadable.binary_search_by_key(at, |(row, _)| *row)
                {
                    all.unreadable.push((row, numbers.unreadable[found].1.clone()));
                }
            }
            *at += 1;
        }
        Ok(all)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The first stretch of some rows, and its length.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn stretch(&self, rows: Range<usize>) -> (Stretch<'_>, usize) {
        let Some(kinds) = self.kinds.get(rows.clone()).filter(|kinds| !kinds.is_empty()) else {
            return (
                Stretch::Samples(&self.times[rows.clone()], &self.values[rows.clone()]),
                rows.len(),
            );
        };
        let length = kinds.iter().take_while(|kind| **kind == kinds[0]).count();
        let range = rows.start..rows.start + length;
        match kinds[0] {
            Kind::Sample => {
                (Stretch::Samples(&self.times[range.clone()], &self.values[range]), length)
            }
            Kind::NoSample => (Stretch::NoSamples(&self.times[range]), length),
            Kind::Unreadable => {
                let found = self.unreadable.binary_search_by_key(&rows.start, |(row, _)| *row);
                let text = found.map_or("", |found| &self.unreadable[found].1);
                (Stretch::Unreadable(self.times[rows.start], text), 1)
            }
        }
    }
}

/// The samples of the rows of one shape.
#[derive(Default)]
pub(super) struct ShapeNumbers {
    values: Vec<f64>,
    kinds: Vec<Kind>,
    unreadable: Vec<(usize, Box<str>)>,
}

impl ShapeNumbers {
    fn read(block: &impl HasColumns, shape: usize, member: &Member) -> Result<Self, FormatError> {
        let rows = block.rows_of(shape);
        let Some(pieces) = block.pieces(shape) else {
            return Ok(Self::of_texts(&*block.column(shape, 0)?, rows, member));
        };
        match scalar(pieces, member) {
            Some(scalar) => Ok(Self::of_column(&*block.column(shape, scalar)?, rows)),
            None => Ok(Self {
                values: vec![0.0; rows],
                kinds: vec![Kind::NoSample; rows],
                ..Self::default()
            }),
        }
    }

    fn push(&mut self, row: usize, found: Found) {
        let (value, kind) = match found {
            Found::Sample(value) => (value, Kind::Sample),
            Found::None => (0.0, Kind::NoSample),
            Found::Unreadable(text) => {
                self.unreadable.push((row, text));
                (0.0, Kind::Unreadable)
            }
        };
        self.values.push(value);
        if kind != Kind::Sample && self.kinds.is_empty() {
            self.kinds = vec![Kind::Sample; row];
        }
        if kind != Kind::Sample || !self.kinds.is_empty() {
            self.kinds.push(kind);
        }
    }

    fn of_texts(column: &Column, rows: usize, member: &Member) -> Self {
        let mut all = Self::default();
        for row in 0..rows {
            all.push(row, find(member, &column.text(row)));
        }
        all
    }

    /// The statistics of the samples of some rows, given the times of these; `None` if a row is not JSON.
    pub(super) fn samples(&self, rows: &Range<usize>, times: &[u64]) -> Option<Partial> {
        let (values, kinds) = (&self.values[rows.clone()], self.kinds.get(rows.clone()));
        Some(match kinds.filter(|kinds| !kinds.is_empty()) {
            None => Partial::of_samples(times, values),
            Some(kinds) if kinds.contains(&Kind::Unreadable) => return None,
            Some(kinds) => {
                let is_sample = |row: &usize| kinds[*row] == Kind::Sample;
                let found: Vec<usize> = (0..kinds.len()).filter(is_sample).collect();
                let times: Vec<u64> = found.iter().map(|row| times[*row]).collect();
                let values: Vec<f64> = found.iter().map(|row| values[*row]).collect();
                Partial::of_samples(&times, &values)
            }
        })
    }

    pub(super) fn of_column(column: &Column, rows: usize) -> Self {
        let body = body(&column.body);
        if let (Ok(values), true) =
            (&body, column.indices.is_empty() && column.dictionary.is_empty())
        {
            return Self { values: values.clone(), ..Self::default() };
        }
        let value = Member::value();
        let entries: Vec<Found> =
            column.dictionary.iter().map(|entry| find(&value, entry)).collect();
        let mut all = Self::default();
        all.values.reserve(rows);
        for row in 0..rows {
            let found = match (column.place(row), &body) {
                (Place::Entry(entry), _) => entries[entry].clone(),
                (Place::Body(at), Ok(values)) => Found::Sample(values[at]),
                (Place::Body(_), Err(NoNumbers)) => find(&value, &column.text(row)),
            };
            all.push(row, found);
        }
        all
    }
}

#[derive(Clone)]
enum Found {
    Sample(f64),
    None,
    Unreadable(Box<str>),
}

fn find(member: &Member, text: &str) -> Found {
    match member.read(text) {
        Ok(Some(value)) => Found::Sample(value),
        Ok(None) => Found::None,
        Err(_) => Found::Unreadable(text.into()),
    }
}

/// The body is text.
struct NoNumbers;

fn body(body: &Body) -> Result<Vec<f64>, NoNumbers> {
    match body {
        Body::Decimals { mantissas, scale, .. } => {
            Ok(mantissas.iter().map(|mantissa| to_f64(*mantissa, *scale)).collect())
        }
        Body::Floats(floats) => Ok(floats.clone()),
        Body::Text { .. } => Err(NoNumbers),
        Body::None => Ok(Vec::new()),
    }
}

/// Which scalar of a shape is at the place of the member: a row whose scalars are their own numbers is
/// asked, so that it is found as in any row.
pub(super) fn scalar(pieces: &[Box<str>], member: &Member) -> Option<usize> {
    let found = find_in_shape(pieces, member)?.sample()?;
    Some(found as usize)
}

/// What is at the place of the member in rows of a shape: a scalar is told by its number. `None` if the text
/// of each row has to be looked at.
pub(super) fn find_in_shape(
    pieces: &[Box<str>],
    member: &Member,
) -> Option<annals_core::aggregate::Found> {
    let mut json = String::new();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            json.push_str(&(number - 1).to_string());
        }
        json.push_str(piece);
    }
    let found = member.find(&json, false).ok()?;
    let is_scalar = |number: f64| number >= 0.0 && number + 1.0 < pieces.len() as f64;
    found.sample().is_none_or(is_scalar).then_some(found)
}
