//! Lines of bounded length.

use std::io::{self, BufRead};

/// The longest line, and the longest CSV record of several lines. It bounds the memory for a file
/// without line ends; the limit for a value is far lower.
pub(super) const MAX_LINE_BYTES: usize = 256 << 20;

/// Splits a reader into lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    limit: usize,
    /// The byte that ends a line.
    end: u8,
    /// Whether the last line had its end.
    ended: bool,
}

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, end: u8) -> Self {
        let (line, limit) = (Vec::new(), MAX_LINE_BYTES);
        Self { input, line, number: 0, limit, end, ended: true }
    }

    /// Whether the line read last had its end.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The number of the line read last, from 1 on.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; the last one needs no end. A byte order mark before the first line is
    /// passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut read_any, mut too_long) = (false, false);
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = available.iter().position(|byte| *byte == self.end);
            let piece = &available[..end.unwrap_or(available.len())];
            read_any |= !available.is_empty();
            too_long |= piece.len() > self.limit - self.line.len();
            if !too_long {
                self.line.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            let done = end.is_some() || available.is_empty();
            self.ended = end.is_some();
            self.input.consume(used);
            if done {
                break;
            }
        }
        if !read_any {
            return Ok(None);
        }
        self.number += 1;
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        let line = self.line.as_slice();
        let without_mark = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.number == 1);
        Ok(Some(Line::Whole(without_mark.unwrap_or(line))))
    }
}

impl<R: io::Read> Lines<io::BufReader<R>> {
    /// Whether a whole line is at hand, so that reading it waits for nobody.
    pub(super) fn has_line_at_hand(&self) -> bool {
        self.input.buffer().contains(&self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], limit: usize) -> Vec<(u64, Option<String>)> {
        // A buffer smaller than the lines, so that they arrive in pieces.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, input), b'\n');
        lines.limit = limit;
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let line = match line {
                Line::Whole(line) => Some(String::from_utf8(line.to_vec()).unwrap()),
                Line::TooLong => None,
            };
            found.push((lines.number(), line));
        }
        found
    }

    fn whole(number: u64, line: &str) -> (u64, Option<String>) {
        (number, Some(line.to_owned()))
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines(b"", 9), []);
        assert_eq!(lines(b"one", 9), [whole(1, "one")]);
        assert_eq!(lines(b"one\n", 9), [whole(1, "one")]);
        assert_eq!(lines(b"one\n\ntwo", 9), [whole(1, "one"), whole(2, ""), whole(3, "two")]);
    }

    #[test]
    fn a_mark_is_passed_over_at_the_beginning_only() {
        let input = "\u{feff}a\n\u{feff}b".as_bytes();
        assert_eq!(lines(input, 9), [whole(1, "a"), whole(2, "\u{feff}b")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_is_read() {
        let found = lines(b"12345\n123456\n1\n", 5);
        assert_eq!(found, [whole(1, "12345"), (2, None), whole(3, "1")]);
    }
}
