//! Rows leave as scalars, without their text.

use annals_core::Scalar;
use annals_core::aggregate::{Found, Member};
use annals_core::page::{ScalarRef, Shape};

use super::column::{Body, Column, Place};
use super::decode::Columns;
use super::number::{Kept, to_f64};

impl Columns {
    /// Where the scalars of a row are; `None` for rows that are kept as a whole.
    pub(in super::super) fn shape(&self, row: usize) -> Option<&Shape> {
        let shape = &self.shapes[self.place(row).0];
        let tree = || {
            let pieces = shape.pieces.iter().map(|piece| &**piece);
            shape.is_json.then(|| Shape::new(pieces)).flatten()
        };
        shape.tree.get_or_init(tree).as_ref()
    }

    /// A scalar of a row as `serde_json` reads it from the text; `None` if only that tells.
    pub(in super::super) fn scalar(&self, row: usize, number: usize) -> Option<ScalarRef<'_>> {
        let (shape, row) = self.place(row);
        scalar(self.shapes[shape].columns.get(number)?, row)
    }
}

fn scalar(column: &Column, row: usize) -> Option<ScalarRef<'_>> {
    let at = match column.place(row) {
        Place::Entry(entry) => return parsed(&column.dictionary[entry]),
        Place::Body(at) => at,
    };
    match &column.body {
        Body::None => None,
        Body::Decimals { mantissas, scale, kept } => Some(decimal(mantissas[at], *scale, kept, at)),
        Body::Floats(floats) => Some(ScalarRef::Float(floats[at])),
        Body::Text { ends, text, is_quoted } => {
            let start = if at == 0 { 0 } else { ends[at - 1] };
            let scalar = &text[start..ends[at]];
            if *is_quoted { plain(scalar) } else { parsed(scalar) }
        }
    }
}

/// A number without a point is an integer, all others are doubles.
fn decimal(mantissa: i64, scale: u8, kept: &Kept, at: usize) -> ScalarRef<'static> {
    let has_point = match kept {
        Kept::Least(least) => *least > 0,
        Kept::Each(kept) => kept[at] > 0,
    };
    let integer = match scale {
        _ if has_point => None,
        // Divisions by a number that is not known in advance are slow.
        0 => Some(mantissa),
        scale => {
            let unit = 10_i64.pow(scale.into());
            (mantissa % unit == 0).then_some(mantissa / unit)
        }
    };
    match integer.map(|integer| (u64::try_from(integer), integer)) {
        None => ScalarRef::Float(to_f64(mantissa, scale)),
        Some((Ok(integer), _)) => ScalarRef::Unsigned(integer),
        Some((Err(_), integer)) => ScalarRef::Signed(integer),
    }
}

/// A string, without its quotes and without escapes.
fn plain(string: &str) -> Option<ScalarRef<'_>> {
    (!string.contains('\\')).then_some(ScalarRef::Text(string))
}

/// A scalar as it is written.
fn parsed(text: &str) -> Option<ScalarRef<'_>> {
    match text {
        "null" => return Some(ScalarRef::Null),
        "true" => return Some(ScalarRef::Bool(true)),
        "false" => return Some(ScalarRef::Bool(false)),
        _ => {}
    }
    if let Some(string) = text.strip_prefix('"') {
        return plain(string.strip_suffix('"')?);
    }
    match Member::value().find(text, false) {
        Ok(Found::Scalar(Scalar::Unsigned(value))) => Some(ScalarRef::Unsigned(value)),
        Ok(Found::Scalar(Scalar::Signed(value))) => Some(ScalarRef::Signed(value)),
        Ok(Found::Scalar(Scalar::Float(value))) => Some(ScalarRef::Float(value)),
        _ => None,
    }
}
