//! A column: the scalars at one place of one shape, each in the letters it was written with.

use super::super::FormatError;
use super::super::varint::{Reader, put};
use super::number::{self, Kept};
use super::segment::{Segment, SegmentWriter};

/// The most scalars in a dictionary.
pub(super) const MOST_ENTRIES: usize = 4096;

/// Scalars of a column, in the order of the rows of their shape.
///
/// Entries of the dictionary are those that occur often. What is not an entry is in the body, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    pub(super) dictionary: Vec<Box<str>>,
    /// For each row an entry of the dictionary, counted from 0 if there is no body, otherwise from 1; 0 is
    /// the next scalar of the body. Empty if all rows are the same.
    pub(super) indices: Vec<u16>,
    /// For each row, how many rows before it are in the body. Empty if all rows are.
    ranks: Vec<u32>,
    pub(super) body: Body,
}

/// The scalars that are not in the dictionary.
#[derive(Debug, Clone, Default)]
pub(super) enum Body {
    #[default]
    None,
    /// Integers of `scale` decimals.
    Decimals { mantissas: Vec<i64>, scale: u8, kept: Kept },
    /// Floats in the fewest digits.
    Floats(Vec<f64>),
    /// Anything, all of it within quotes or not.
    Text { ends: Vec<usize>, text: String, is_quoted: bool },
}

const NONE: u8 = 0;
const DECIMALS: u8 = 1;
const DECIMALS_EACH: u8 = 2;
const FLOATS: u8 = 3;
const TEXT: u8 = 4;
const QUOTED: u8 = 5;

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Decimals { mantissas, .. } => mantissas.len(),
            Self::Floats(floats) => floats.len(),
            Self::Text { ends, .. } => ends.len(),
        }
    }

    pub(super) fn print(&self, at: usize, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Decimals { mantissas, scale, kept: Kept::Least(least) } => {
                number::print_stripped(mantissas[at], *scale, *least, out);
            }
            Self::Decimals { mantissas, scale, kept: Kept::Each(kept) } => {
                number::print_with(mantissas[at], *scale, kept[at] as u8, out);
            }
            Self::Floats(floats) => number::print_float(floats[at], out),
            Self::Text { ends, text, is_quoted } => {
                let start = if at == 0 { 0 } else { ends[at - 1] };
                let scalar = &text[start..ends[at]];
                let quote: &[u8] = if *is_quoted { b"\"" } else { b"" };
                out.extend_from_slice(quote);
                out.extend_from_slice(scalar.as_bytes());
                out.extend_from_slice(quote);
            }
        }
    }

    /// The bytes of its text; numbers have none.
    fn text_bytes(&self) -> usize {
        match self {
            Self::Text { ends, text, is_quoted } => {
                text.len() + if *is_quoted { 2 * ends.len() } else { 0 }
            }
            Self::None | Self::Decimals { .. } | Self::Floats(_) => 0,
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Text { ends, text, .. } => size_of::<usize>() * ends.capacity() + text.capacity(),
            numbers => 10 * numbers.len(),
        }
    }
}

impl Column {
    /// A column of a dictionary, the index of each row, and a body.
    pub(super) fn new(dictionary: Vec<Box<str>>, indices: Vec<u16>, body: Body) -> Self {
        let has_both = body.len() > 0 && !indices.is_empty();
        let mut before = 0;
        let ranks = indices.iter().filter(|_| has_both).map(|index| {
            let rank = before;
            before += u32::from(*index == 0);
            rank
        });
        let ranks = ranks.collect();
        Self { dictionary, indices, ranks, body }
    }

    /// The decimals of its numbers.
    pub(super) fn scale(&self) -> u8 {
        if let Body::Decimals { scale, .. } = self.body { scale } else { 0 }
    }

    /// The entry of the dictionary that a row is, or its position in the body.
    #[inline]
    pub(super) fn place(&self, row: usize) -> Place {
        let first = usize::from(!matches!(self.body, Body::None));
        match self.indices.get(row) {
            None if first == 0 => Place::Entry(0),
            None => Place::Body(row),
            Some(index) => match usize::from(*index).checked_sub(first) {
                Some(entry) => Place::Entry(entry),
                None => Place::Body(self.ranks[row] as usize),
            },
        }
    }

    /// The scalar that all rows have, if there is one.
    pub(super) fn constant(&self) -> Option<&str> {
        match (self.dictionary.as_slice(), &self.body) {
            ([entry], Body::None) if self.indices.is_empty() => Some(entry),
            _ => None,
        }
    }

    /// Appends the scalar of a row.
    #[inline]
    pub(super) fn print(&self, row: usize, out: &mut Vec<u8>) {
        match self.place(row) {
            Place::Entry(entry) => out.extend_from_slice(self.dictionary[entry].as_bytes()),
            Place::Body(at) => self.body.print(at, out),
        }
    }

    /// The scalar of a row.
    pub(super) fn text(&self, row: usize) -> String {
        let mut text = Vec::new();
        self.print(row, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The bytes of text of all `rows`, not counting numbers of the body.
    pub(super) fn text_bytes(&self, rows: usize) -> usize {
        let entry = |row| match self.place(row) {
            Place::Entry(entry) => self.dictionary[entry].len(),
            Place::Body(_) => 0,
        };
        let entries: usize = match (self.dictionary.as_slice(), self.indices.is_empty()) {
            ([], _) => 0,
            ([entry, ..], true) => entry.len().saturating_mul(rows),
            _ => (0..rows).map(entry).fold(0, usize::saturating_add),
        };
        self.body.text_bytes().saturating_add(entries)
    }

    pub(super) fn memory(&self) -> usize {
        let entries: usize = self.dictionary.iter().map(|entry| entry.len() + 16).sum();
        entries + 2 * self.indices.capacity() + 4 * self.ranks.capacity() + self.body.memory()
    }

    /// Appends the description to the header, and what it describes to the segments.
    pub(super) fn encode(
        &self,
        header: &mut Vec<u8>,
        segments: &mut SegmentWriter,
    ) -> Result<(), FormatError> {
        put(header, self.dictionary.len() as u64);
        for entry in &self.dictionary {
            put(header, entry.len() as u64);
            header.extend_from_slice(entry.as_bytes());
        }
        put(header, self.indices.len() as u64);
        segments.numbers(&self.indices)?;
        put(header, self.body.len() as u64);
        match &self.body {
            Body::None => header.push(NONE),
            Body::Decimals { mantissas, scale, kept: Kept::Least(least) } => {
                header.extend_from_slice(&[DECIMALS, *scale, *least]);
                segments.numbers(mantissas)?;
            }
            Body::Decimals { mantissas, scale, kept: Kept::Each(kept) } => {
                header.extend_from_slice(&[DECIMALS_EACH, *scale]);
                segments.numbers(mantissas)?;
                segments.numbers(kept)?;
            }
            Body::Floats(floats) => {
                header.push(FLOATS);
                segments.floats(floats)?;
            }
            Body::Text { ends, text, is_quoted } => {
                header.push(if *is_quoted { QUOTED } else { TEXT });
                let starts = std::iter::once(&0).chain(ends);
                let lengths: Vec<u32> =
                    ends.iter().zip(starts).map(|(end, start)| (end - start) as u32).collect();
                segments.numbers(&lengths)?;
                segments.text(text)?;
            }
        }
        Ok(())
    }
}

/// Where a row's scalar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Entry(usize),
    Body(usize),
}

/// What the header says of a column. It is read when it is needed.
#[derive(Debug, Clone)]
pub(super) struct Description<'a> {
    dictionary: Vec<Box<str>>,
    indices: Option<Segment<'a>>,
    body_rows: usize,
    kind: u8,
    scale: u8,
    least: u8,
    /// Those of the body.
    segments: [Option<Segment<'a>>; 2],
    rows: usize,
}

impl<'a> Description<'a> {
    /// The decimals of its numbers.
    pub(super) fn scale(&self) -> u8 {
        self.scale
    }

    /// Reads the description of a column of `rows` rows and takes its segments.
    pub(super) fn read(
        header: &mut Reader<'_>,
        segments: &mut impl Iterator<Item = Segment<'a>>,
        rows: usize,
    ) -> Result<Self, FormatError> {
        let wrong = FormatError::Damaged("the description of a column is wrong");
        let entries = header.count(1)?;
        if entries > MOST_ENTRIES {
            return Err(wrong);
        }
        let mut dictionary = Vec::with_capacity(entries);
        for _ in 0..entries {
            dictionary.push(header.text()?.into());
        }
        let index_rows: usize = header.small()?;
        let body_rows: usize = header.small()?;
        let kind = header.byte()?;
        let mut take = |wanted: bool| match wanted.then(|| segments.next()) {
            None => Ok(None),
            Some(None) => Err(FormatError::Damaged("a column is missing")),
            Some(found) => Ok(found),
        };
        let indices = take(index_rows > 0)?;
        let (mut scale, mut least) = (0, 0);
        if matches!(kind, DECIMALS | DECIMALS_EACH) {
            scale = header.byte()?;
        }
        if kind == DECIMALS {
            least = header.byte()?;
        }
        let is_pair = matches!(kind, DECIMALS_EACH | TEXT | QUOTED);
        let segments = [take(kind != NONE)?, take(is_pair)?];
        let sound = match (index_rows, kind) {
            (0, NONE) => entries == 1 && body_rows == 0,
            (0, _) => entries == 0 && body_rows == rows,
            (_, NONE) => entries > 0 && body_rows == 0 && index_rows == rows,
            (_, _) => entries > 0 && (1..=rows).contains(&body_rows) && index_rows == rows,
        };
        let most = number::MOST_DIGITS as u8;
        if !sound || kind > QUOTED || scale > most || least > scale {
            return Err(wrong);
        }
        Ok(Self { dictionary, indices, body_rows, kind, scale, least, segments, rows })
    }

    /// Reads the column; `limit` is the most bytes of text.
    pub(super) fn decode(&self, limit: usize) -> Result<Column, FormatError> {
        let wrong = FormatError::Damaged("a column contradicts its description");
        let indices = match self.indices {
            Some(segment) => segment.numbers::<u16>(self.rows)?,
            None => Vec::new(),
        };
        let first = usize::from(self.kind != NONE);
        let in_body = indices.iter().filter(|index| usize::from(**index) < first).count();
        let greatest = indices.iter().max().copied().map_or(0, usize::from);
        if self.indices.is_some()
            && (in_body != self.body_rows || greatest >= self.dictionary.len() + first)
        {
            return Err(wrong);
        }
        Ok(Column::new(self.dictionary.clone(), indices, self.decode_body(limit)?))
    }

    fn decode_body(&self, limit: usize) -> Result<Body, FormatError> {
        let wrong = FormatError::Damaged("a column contradicts its description");
        let (rows, scale) = (self.body_rows, self.scale);
        let [Some(first), second] = self.segments else { return Ok(Body::None) };
        Ok(match (self.kind, second) {
            (DECIMALS, _) => Body::Decimals {
                mantissas: first.numbers(rows)?,
                scale,
                kept: Kept::Least(self.least),
            },
            (DECIMALS_EACH, Some(second)) => {
                let kept: Vec<u16> = second.numbers(rows)?;
                if kept.iter().any(|kept| *kept > u16::from(scale)) {
                    return Err(wrong);
                }
                Body::Decimals { mantissas: first.numbers(rows)?, scale, kept: Kept::Each(kept) }
            }
            (FLOATS, _) => {
                let floats: Vec<f64> = first.numbers(rows)?;
                if !floats.iter().all(|float| number::is_float(*float)) {
                    return Err(wrong);
                }
                Body::Floats(floats)
            }
            (kind, Some(second)) => {
                let lengths: Vec<u32> = first.numbers(rows)?;
                let text = second.text(limit)?;
                let mut end = 0usize;
                let ends: Vec<usize> = lengths
                    .iter()
                    .map(|length| {
                        end = end.saturating_add(*length as usize);
                        end
                    })
                    .collect();
                if end != text.len() || !ends.iter().all(|end| text.is_char_boundary(*end)) {
                    return Err(wrong);
                }
                Body::Text { ends, text, is_quoted: kind == QUOTED }
            }
            _ => return Err(wrong),
        })
    }
}
