//! Rows become shapes and columns.

use annals_core::aggregate::Member;

use super::super::varint::{put, put_step};
use super::super::{Block, FormatError, frame};
use super::column::Column;
use super::segment::SegmentWriter;
use super::statistics::{Context, ExtentStatistics};
use super::summary::Source;
use super::times::Times;
use super::{
    MOST_CELLS, MOST_ROWS, MOST_SCALARS, MOST_SHAPES, MOST_TEXT, VERSION, choose, decode, scan,
};
use crate::Map;

/// After this many rows it is decided whether columns are worth the time.
const SAMPLE_ROWS: usize = 256;

/// The most shapes of its first rows.
const MOST_SHAPES_SAMPLED: usize = 24;

/// Rows with the same text between their scalars.
struct Shape<'a> {
    /// What is before, between and after the scalars.
    pieces: Vec<&'a str>,
    /// False if its only scalar is the whole text, whatever that is.
    is_json: bool,
    rows: usize,
    scalars: Vec<Vec<&'a str>>,
}

/// Encodes rows as columns. `None` if text is the better form.
pub(super) fn encode(
    block: &Block,
    statistics_rows: usize,
) -> Result<Option<Vec<u8>>, FormatError> {
    let rows = block.len();
    if !(1..=MOST_ROWS).contains(&rows) || block.text_bytes() > MOST_TEXT {
        return Ok(None);
    }
    let mut shapes = Shapes::default();
    for row in 0..rows {
        if row == SAMPLE_ROWS && !shapes.is_promising() {
            return Ok(None);
        }
        shapes.push(block.json(row));
    }
    if rows < SAMPLE_ROWS && !shapes.is_promising() {
        return Ok(None);
    }
    let cells: usize = shapes.all.iter().map(|shape| shape.rows * shape.scalars.len()).sum();
    if cells > MOST_CELLS {
        return Ok(None);
    }
    let encoded = shapes.encode(block, statistics_rows)?;
    // The proof that the text comes back.
    let read = decode(&encoded)?;
    let is_same = read.len() == rows && read.iter().eq(block.iter());
    Ok(is_same.then_some(encoded))
}

#[derive(Default)]
struct Shapes<'a> {
    all: Vec<Shape<'a>>,
    by_pieces: Map<Vec<&'a str>, usize>,
    /// The shape of rows that are kept as a whole.
    whole: Option<usize>,
    shape_of: Vec<u16>,
    /// The scalars of the row that is looked at.
    scalars: Vec<&'a str>,
    ranges: Vec<std::ops::Range<usize>>,
}

impl<'a> Shapes<'a> {
    fn push(&mut self, json: &'a str) {
        let shape = self.find(json);
        let found = &mut self.all[shape];
        found.rows += 1;
        found
            .scalars
            .iter_mut()
            .zip(&self.scalars)
            .for_each(|(column, scalar)| column.push(scalar));
        self.shape_of.push(shape as u16);
    }

    /// Finds the shape of a text and its scalars.
    fn find(&mut self, json: &'a str) -> usize {
        // Neighbours mostly have the same shape.
        if let Some(last) = self.shape_of.last().map(|shape| usize::from(*shape))
            && self.all[last].matches(json, &mut self.scalars)
        {
            return last;
        }
        self.scalars.clear();
        if scan::split(json, &mut self.ranges) && self.ranges.len() <= MOST_SCALARS {
            let starts = std::iter::once(0).chain(self.ranges.iter().map(|range| range.end));
            let ends = self.ranges.iter().map(|range| range.start).chain([json.len()]);
            let pieces: Vec<&str> =
                starts.zip(ends).map(|(start, end)| &json[start..end]).collect();
            self.scalars.extend(self.ranges.iter().map(|range| &json[range.clone()]));
            if let Some(shape) = self.by_pieces.get(&pieces) {
                return *shape;
            }
            if self.all.len() < MOST_SHAPES - 1 && is_valid(&pieces) {
                self.by_pieces.insert(pieces.clone(), self.all.len());
                return self.add(pieces, true);
            }
        }
        self.scalars.clear();
        self.scalars.push(json);
        let shape = self.whole.unwrap_or_else(|| self.add(vec!["", ""], false));
        self.whole = Some(shape);
        shape
    }

    fn add(&mut self, pieces: Vec<&'a str>, is_json: bool) -> usize {
        let scalars = vec![Vec::new(); pieces.len() - 1];
        self.all.push(Shape { pieces, is_json, rows: 0, scalars });
        self.all.len() - 1
    }

    /// Whether the rows so far are likely to become smaller.
    fn is_promising(&self) -> bool {
        let whole = self.whole.map_or(0, |shape| self.all[shape].rows);
        if whole * 4 > self.shape_of.len() || self.all.len() > MOST_SHAPES_SAMPLED {
            return false;
        }
        // Text that does not repeat takes as much in a column as it does in a row.
        let (mut all, mut unique) = (0, 0);
        for shape in &self.all {
            let pieces: usize = shape.pieces.iter().map(|piece| piece.len()).sum();
            all += pieces * shape.rows;
            for scalars in &shape.scalars {
                let bytes: usize = scalars.iter().map(|scalar| scalar.len()).sum();
                all += bytes;
                unique += if is_unique_text(scalars) { bytes } else { 0 };
            }
        }
        unique * 10 <= all * 9
    }

    fn encode(&self, block: &Block, statistics_rows: usize) -> Result<Vec<u8>, FormatError> {
        let (mut shapes, mut segments) = (Vec::new(), SegmentWriter::default());
        let times = Times::of(block.times());
        let numbers: Vec<u64> = block.times().iter().map(|time| times.number(*time)).collect();
        segments.numbers(&numbers)?;
        if self.all.len() > 1 {
            segments.numbers(&self.shape_of)?;
        }
        put(&mut shapes, self.all.len() as u64);
        let mut columns = Vec::with_capacity(self.all.len());
        for shape in &self.all {
            shapes.push(u8::from(shape.is_json));
            put(&mut shapes, shape.rows as u64);
            put(&mut shapes, shape.scalars.len() as u64);
            for piece in &shape.pieces {
                put(&mut shapes, piece.len() as u64);
                shapes.extend_from_slice(piece.as_bytes());
            }
            let of_shape: Vec<Column> =
                shape.scalars.iter().map(|scalars| choose::column(scalars)).collect();
            of_shape.iter().try_for_each(|column| column.encode(&mut shapes, &mut segments))?;
            columns.push(of_shape);
        }
        let extents: Vec<&[u32]> = block.records().chunk_by(|one, next| one == next).collect();
        let rows: Vec<usize> = extents.iter().map(|extent| extent.len()).collect();
        let of_shapes = self.all.iter().zip(&columns);
        let source = Source {
            extents: &rows,
            times: block.times(),
            shape_of: &self.shape_of,
            shapes: of_shapes
                .map(|(shape, columns)| (shape.rows, shape.is_json.then_some(columns.as_slice())))
                .collect(),
        };
        let scales: Vec<(usize, Vec<u8>)> = self
            .all
            .iter()
            .zip(&columns)
            .map(|(shape, columns)| (shape.rows, columns.iter().map(Column::scale).collect()))
            .collect();
        let context = Context { extents: &rows, shapes: &scales, times };
        ExtentStatistics::put_all(&source.statistics(statistics_rows), &context, &mut shapes);
        let header = frame::compress(|out| {
            put(out, block.len() as u64);
            put(out, block.text_bytes() as u64);
            put(out, extents.len() as u64);
            let mut previous = 0;
            for extent in &extents {
                let record = extent.first().copied().map_or(0, u64::from);
                put_step(out, previous, record);
                put(out, extent.len() as u64);
                previous = record;
            }
            put(out, times.base);
            put(out, times.unit);
            segments.put_directory(out);
            out.extend_from_slice(&shapes);
        })?;
        let mut encoded = vec![VERSION];
        put(&mut encoded, header.len() as u64);
        encoded.extend_from_slice(&header);
        encoded.extend_from_slice(segments.bytes());
        Ok(encoded)
    }
}

impl<'a> Shape<'a> {
    /// Whether a text has this shape. If so, its scalars are found.
    fn matches(&self, json: &'a str, scalars: &mut Vec<&'a str>) -> bool {
        scalars.clear();
        if !self.is_json {
            return false;
        }
        let [first, rest @ ..] = self.pieces.as_slice() else { return false };
        let Some(mut left) = json.strip_prefix(first) else { return false };
        for piece in rest {
            let Some(length) = scan::scalar(left.as_bytes()) else { return false };
            let Some(after) = left[length..].strip_prefix(piece) else { return false };
            scalars.push(&left[..length]);
            left = after;
        }
        left.is_empty()
    }
}

/// Whether any scalars in between make JSON.
fn is_valid(pieces: &[&str]) -> bool {
    Member::value().read(&pieces.join("0")).is_ok()
}

/// Whether hardly any text of a column occurs twice.
fn is_unique_text(scalars: &[&str]) -> bool {
    let texts: crate::Set<&str> = scalars
        .iter()
        .filter(|scalar| !scalar.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
        .copied()
        .collect();
    texts.len() * 2 > scalars.len()
}
