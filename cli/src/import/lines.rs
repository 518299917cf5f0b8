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
    bytes: u64,
    limit: usize,
}

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, bytes: 0, limit: MAX_LINE_BYTES }
    }

    /// The number of the last line read, starting with 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The number of bytes read, line ends included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line. The last one needs no end. A byte order mark before the first line is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut read_any, mut too_long) = (false, false);
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = available.iter().position(|byte| *byte == b'\n');
            let chunk = &available[..end.unwrap_or(available.len())];
            read_any |= !available.is_empty();
            too_long |= chunk.len() > self.limit - self.line.len();
            if !too_long {
                self.line.extend_from_slice(chunk);
            }
            let used = chunk.len() + usize::from(end.is_some());
            let ended = end.is_some() || available.is_empty();
            self.input.consume(used);
            self.bytes += used as u64;
            if ended {
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
    /// Whether a whole line is buffered, so that reading it does not wait.
    pub(super) fn has_line_at_hand(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], limit: usize) -> Vec<(u64, Option<String>)> {
        // A buffer smaller than the lines, so that they arrive in chunks.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, input));
        lines.limit = limit;
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let line = match line {
                Line::Whole(line) => Some(String::from_utf8(line.to_vec()).unwrap()),
                Line::TooLong => None,
            };
            found.push((lines.number(), line));
        }
        assert_eq!(lines.bytes(), input.len() as u64);
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
    fn a_byte_order_mark_is_skipped_at_the_beginning_only() {
        let input = "\u{feff}a\n\u{feff}b".as_bytes();
        assert_eq!(lines(input, 9), [whole(1, "a"), whole(2, "\u{feff}b")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_is_read() {
        let found = lines(b"12345\n123456\n1\n", 5);
        assert_eq!(found, [whole(1, "12345"), (2, None), whole(3, "1")]);
    }
}
