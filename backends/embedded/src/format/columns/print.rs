//! Shapes and columns enter, the text of rows leaves.

use super::column::{Body, Column};
use super::{SHORT, push_start};

/// Text between columns.
#[derive(Debug, Clone)]
struct Piece {
    /// Padded, if it is short.
    text: Box<[u8]>,
    length: usize,
}

impl Piece {
    fn new(text: &str) -> Self {
        let mut padded = text.as_bytes().to_vec();
        padded.resize(text.len().max(SHORT), 0);
        Self { text: padded.into(), length: text.len() }
    }

    #[inline]
    fn push(&self, out: &mut Vec<u8>) {
        push_start(&self.text, self.length, out);
    }
}

/// How the rows of a shape are printed: what they all have is one piece.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    first: Piece,
    steps: Vec<Step>,
}

/// A column and what follows it.
#[derive(Debug, Clone)]
struct Step {
    column: usize,
    /// The quotes around its texts belong to the pieces.
    is_bare: bool,
    after: Piece,
}

impl Printer {
    /// Pieces are one more than columns.
    pub(super) fn new(pieces: &[Box<str>], columns: &[Column]) -> Self {
        let (mut texts, mut found) = (vec![String::new()], Vec::new());
        let mut between = pieces.iter();
        let push = |texts: &mut Vec<String>, text: &str| {
            if let Some(last) = texts.last_mut() {
                last.push_str(text);
            }
        };
        push(&mut texts, between.next().map_or("", |piece| piece));
        for ((at, column), piece) in columns.iter().enumerate().zip(between) {
            if let Some(constant) = column.constant() {
                push(&mut texts, constant);
            } else {
                let is_bare = column.indices.is_empty()
                    && matches!(column.body, Body::Text { is_quoted: true, .. });
                push(&mut texts, if is_bare { "\"" } else { "" });
                found.push((at, is_bare));
                texts.push(if is_bare { "\"".to_owned() } else { String::new() });
            }
            push(&mut texts, piece);
        }
        let mut pieces = texts.iter().map(|text| Piece::new(text));
        let first = pieces.next().unwrap_or_else(|| Piece::new(""));
        let steps = found.into_iter().zip(pieces);
        let steps = steps.map(|((column, is_bare), after)| Step { column, is_bare, after });
        Self { first, steps: steps.collect() }
    }

    /// Appends a row.
    #[inline]
    pub(super) fn print(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) {
        self.first.push(out);
        for Step { column, is_bare, after } in &self.steps {
            match &columns[*column].body {
                Body::Text { ends, text, .. } if *is_bare => {
                    let start = if row == 0 { 0 } else { ends[row - 1] };
                    out.extend_from_slice(&text.as_bytes()[start..ends[row]]);
                }
                _ => columns[*column].print(row, out),
            }
            after.push(out);
        }
    }
}
