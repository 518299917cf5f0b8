//! Scalars enter, the column that suits them leaves.

use super::column::{Body, Column, MOST_ENTRIES};
use super::number::{Decimal, Kept, parse_float};
use crate::Map;

/// Numbers with at least this many decimals are taken for floats, if they are.
const FLOAT_DECIMALS: u8 = 13;

/// The most scalars of a column of numbers that are not numbers, apart from repetitions.
const MOST_EXCEPTIONS: usize = 64;

/// A dictionary has at most one entry for this many rows.
const ROWS_PER_ENTRY: usize = 4;

/// Finds a column for scalars. What the columns print is what they were made from, whatever it is.
pub(super) fn column(scalars: &[&str]) -> Column {
    let first = scalars.first().copied().unwrap_or_default();
    if scalars.iter().all(|scalar| *scalar == first) {
        return Column::new(vec![first.into()], Vec::new(), Body::None);
    }
    let numbers = numbers(scalars);
    numbers.or_else(|| dictionary(scalars)).unwrap_or_else(|| text(scalars))
}

fn numbers(scalars: &[&str]) -> Option<Column> {
    let parsed: Vec<Option<Decimal>> =
        scalars.iter().map(|scalar| Decimal::parse(scalar)).collect();
    let decimals = || parsed.iter().flatten().map(|number| number.decimals);
    let scale = decimals().max().unwrap_or(FLOAT_DECIMALS);
    let floats = (scale >= FLOAT_DECIMALS).then(|| floats(scalars)).flatten();
    if floats.is_some() {
        return floats;
    }
    let mantissas: Vec<Option<i64>> =
        parsed.iter().map(|number| number.and_then(|number| number.at_scale(scale))).collect();
    let (entries, indices) = exceptions(scalars, |row| mantissas[row].is_some())?;
    let in_body =
        parsed.iter().zip(&mantissas).filter_map(|(number, mantissa)| mantissa.and(*number));
    let least = in_body.clone().map(|number| number.decimals).min().unwrap_or(0);
    let is_stripped =
        in_body.clone().all(|number| number.decimals == least || !number.ends_in_zero());
    let is_fixed = in_body.clone().all(|number| number.decimals == least);
    let kept = if is_stripped && (is_fixed || scale > least) {
        Kept::Least(least)
    } else {
        Kept::Each(in_body.map(|number| number.decimals.into()).collect())
    };
    let mantissas = mantissas.into_iter().flatten().collect();
    Some(Column::new(entries, indices, Body::Decimals { mantissas, scale, kept }))
}

fn floats(scalars: &[&str]) -> Option<Column> {
    let parsed: Vec<Option<f64>> = scalars.iter().map(|scalar| parse_float(scalar)).collect();
    let (entries, indices) = exceptions(scalars, |row| parsed[row].is_some())?;
    Some(Column::new(entries, indices, Body::Floats(parsed.into_iter().flatten().collect())))
}

/// The dictionary and the indices of those that are not in the body, if the body has most and the others
/// are few.
fn exceptions(
    scalars: &[&str],
    is_in_body: impl Fn(usize) -> bool,
) -> Option<(Vec<Box<str>>, Vec<u16>)> {
    let others = (0..scalars.len()).filter(|row| !is_in_body(*row)).count();
    if others == 0 {
        return Some((Vec::new(), Vec::new()));
    }
    if others * 2 > scalars.len() {
        return None;
    }
    let mut entries = Entries::new(MOST_EXCEPTIONS);
    let mut indices = Vec::with_capacity(scalars.len());
    for (row, scalar) in scalars.iter().enumerate() {
        indices.push(if is_in_body(row) { 0 } else { 1 + entries.index(scalar)? });
    }
    Some((entries.into_dictionary(), indices))
}

fn dictionary(scalars: &[&str]) -> Option<Column> {
    let mut entries = Entries::new(MOST_ENTRIES.min(scalars.len() / ROWS_PER_ENTRY));
    let indices: Option<Vec<u16>> = scalars.iter().map(|scalar| entries.index(scalar)).collect();
    Some(Column::new(entries.into_dictionary(), indices?, Body::None))
}

fn text(scalars: &[&str]) -> Column {
    let inner = |scalar: &str| Some(scalar.strip_prefix('"')?.strip_suffix('"')?.len());
    let is_quoted = scalars.iter().all(|scalar| inner(scalar).is_some());
    let mut text = String::with_capacity(scalars.iter().map(|scalar| scalar.len()).sum());
    let mut ends = Vec::with_capacity(scalars.len());
    for scalar in scalars {
        text.push_str(if is_quoted { &scalar[1..scalar.len() - 1] } else { scalar });
        ends.push(text.len());
    }
    Column::new(Vec::new(), Vec::new(), Body::Text { ends, text, is_quoted })
}

/// A dictionary that is being made.
struct Entries<'a> {
    indices: Map<&'a str, u16>,
    in_order: Vec<&'a str>,
    most: usize,
}

impl<'a> Entries<'a> {
    fn new(most: usize) -> Self {
        Self { indices: Map::default(), in_order: Vec::new(), most }
    }

    /// The index of an entry; `None` if there are too many.
    fn index(&mut self, scalar: &&'a str) -> Option<u16> {
        if let Some(index) = self.indices.get(*scalar) {
            return Some(*index);
        }
        let index = self.in_order.len();
        if index >= self.most {
            return None;
        }
        self.indices.insert(scalar, index as u16);
        self.in_order.push(scalar);
        Some(index as u16)
    }

    fn into_dictionary(self) -> Vec<Box<str>> {
        self.in_order.into_iter().map(Box::from).collect()
    }
}
