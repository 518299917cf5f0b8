//! Reads a JSON document element by element: an array, nested arrays, or a sequence of values.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lines::MAX_LINE_BYTES;

/// Passes to `each` the objects of an array, of nested arrays, or of a sequence of values, until
/// `each` returns false.
///
/// # Errors
/// What cannot be read, and where.
pub(super) fn objects(
    input: impl BufRead,
    each: &mut dyn FnMut(&str) -> bool,
) -> Result<(), String> {
    let left = Cell::new(MAX_LINE_BYTES);
    let mut input = Bounded { input, left: &left };
    let first = first_byte(&mut input).map_err(|error| error.to_string())?;
    let each = &mut |object: &str| {
        left.set(MAX_LINE_BYTES);
        each(object)
    };
    if first == Some(b'[') {
        let mut deserializer = serde_json::Deserializer::from_reader(input);
        let mut stopped = false;
        // One array, or one after the other.
        loop {
            let elements = Elements { each: &mut *each, stopped: &mut stopped };
            match deserializer.deserialize_seq(elements) {
                Err(_) if stopped => return Ok(()),
                Err(error) => return Err(place_of(&error)),
                Ok(()) => {}
            }
            match deserializer.end() {
                Ok(()) => return Ok(()),
                Err(error) if error.is_io() => return Err(place_of(&error)),
                Err(_more) => {}
            }
        }
    }
    let deserializer = serde_json::Deserializer::from_reader(input);
    for object in deserializer.into_iter::<Box<RawValue>>() {
        let object = object.map_err(|error| place_of(&error))?;
        if !flatten(&object, 1, each) {
            break;
        }
    }
    Ok(())
}

/// Ends the input where an object is longer than any row can be, as a string without an end: the
/// parser would keep all of it.
struct Bounded<'a, R> {
    input: R,
    /// How many bytes may follow until the next object ends.
    left: &'a Cell<usize>,
}

impl<R: BufRead> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        match self.left.get().checked_sub(read) {
            Some(left) => self.left.set(left),
            None => {
                let why = "an object is longer than any row can be";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Bounded<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }
}

/// The first byte that is neither a blank nor the byte order mark, which stays in the input.
fn first_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let available = input.fill_buf()?;
        let Some(first) = available.first().copied() else { return Ok(None) };
        match first {
            b' ' | b'\t' | b'\r' | b'\n' => input.consume(1),
            0xef if available.starts_with(b"\xef\xbb\xbf") => input.consume(3),
            first => return Ok(Some(first)),
        }
    }
}

fn place_of(error: &serde_json::Error) -> String {
    if error.is_io() {
        return error.to_string();
    }
    let why = match error.is_eof() {
        true => "the JSON ends before it is complete",
        false => "it is not JSON",
    };
    format!("{why} at line {} column {}", error.line(), error.column())
}

/// The deepest array whose objects are found. Each level reads all that is within it once more.
const MAX_DEPTH: usize = 16;

/// Passes on an object, or each object of an array that lies `depth` deep.
fn flatten(raw: &RawValue, depth: usize, each: &mut dyn FnMut(&str) -> bool) -> bool {
    match raw.get().starts_with('[') && depth <= MAX_DEPTH {
        true => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(elements) => elements.into_iter().all(|element| flatten(element, depth + 1, each)),
            Err(_) => each(raw.get()),
        },
        false => each(raw.get()),
    }
}

/// Visits an array element by element: only one of them is in memory.
struct Elements<'f, 's> {
    each: &'f mut dyn FnMut(&str) -> bool,
    stopped: &'s mut bool,
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Box<RawValue>>()? {
            // Within an array.
            if !flatten(&element, 2, self.each) {
                *self.stopped = true;
                return Err(serde::de::Error::custom("nobody wants the rest"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_objects_in_a_row_are_read_one_by_one() {
        let all = |text: &str| {
            let mut found = Vec::new();
            let read = objects(text.as_bytes(), &mut |object| {
                found.push(object.to_owned());
                true
            });
            (found, read)
        };
        assert_eq!(all("\u{feff} [ {\"a\":1} , [{\"b\":2}] ]\n").0, ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(all("{\"a\":1}\n{\"b\":2}").0, ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(all(""), (Vec::new(), Ok(())));
        assert_eq!(all("[]"), (Vec::new(), Ok(())));
        assert_eq!(all("[{\"a\":1}]\n[{\"b\":2}]\n").0, ["{\"a\":1}", "{\"b\":2}"]);
        let (found, read) = all("[{\"a\":1},\n{\"b\"");
        assert_eq!(found, ["{\"a\":1}"]);
        assert!(read.unwrap_err().contains("ends before it is complete at line 2"));
        assert!(all("[1] x").1.unwrap_err().contains("not JSON"));
        let mut seen = 0;
        objects("[1,2,3]".as_bytes(), &mut |_| {
            seen += 1;
            seen < 2
        })
        .unwrap();
        assert_eq!(seen, 2);
    }

    /// Each level was read once more than the one around it, however many there were: 100 kB took minutes.
    #[test]
    fn what_lies_too_deep_is_passed_on_as_it_is() {
        for (depth, found) in [(MAX_DEPTH, 1), (MAX_DEPTH + 1, 0), (100_000, 0)] {
            for before in ["", "{\"a\":1}"] {
                let text = format!("{before}{}{{}}{}", "[".repeat(depth), "]".repeat(depth));
                let mut objects_found = 0;
                objects(text.as_bytes(), &mut |object| {
                    objects_found += usize::from(object == "{}");
                    true
                })
                .unwrap();
                assert_eq!(objects_found, found, "{depth}");
            }
        }
    }
}
