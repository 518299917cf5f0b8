//! A block: rows, column by column, and their text.

mod values;

use std::ops::Range;

use annals_core::Predicate;
use annals_core::aggregate::Member;

use super::columns::{self, Columns, Numbers, Packed, Statistics, Verdicts};
use super::varint::{Reader, put, put_step};
use super::{FormatError, frame};
use crate::ids::RecordId;

/// The smallest encoding of a row: one byte each for its record, its time and its length.
const LEAST_ROW_BYTES: usize = 3;

/// Rows of any records. The order is up to the caller: arrival in the head, record and time in a run.
///
/// ```
/// # use annals_embedded::format::Block;
/// let mut rows = Block::new();
/// rows.push(1, 1_740_081_234_000, "21.5");
/// rows.push(7, 1_740_081_234_003, "null");
/// let read = Block::decode(&rows.encode()?)?;
/// assert_eq!((read.len(), read.record(1), read.json(0)), (2, 7, "21.5"));
/// # Ok::<(), annals_embedded::format::FormatError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Block {
    records: Vec<RecordId>,
    times: Vec<u64>,
    values: Values,
}

/// The values of the rows.
#[derive(Debug, Clone)]
enum Values {
    /// All texts, and where each ends.
    Text { ends: Vec<usize>, text: String },
    /// Columns that print the text when it is asked for.
    Columns(Box<Columns>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Text { ends: Vec::new(), text: String::new() }
    }
}

/// Blocks with the same rows are equal, whatever their form.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Block {}

impl Block {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a row.
    #[inline]
    pub fn push(&mut self, record: RecordId, stored_at: u64, json: &str) {
        if let Values::Columns(_) = self.values {
            self.values = self.as_text();
        }
        if let Values::Text { ends, text } = &mut self.values {
            text.push_str(json);
            ends.push(text.len());
        }
        self.records.push(record);
        self.times.push(stored_at);
    }

    /// All values as text.
    #[cold]
    fn as_text(&self) -> Values {
        let (mut ends, mut text) = (Vec::with_capacity(self.len()), String::new());
        for (_, _, json) in self.iter() {
            text.push_str(json);
            ends.push(text.len());
        }
        Values::Text { ends, text }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.times.clear();
        match &mut self.values {
            Values::Text { ends, text } => {
                ends.clear();
                text.clear();
            }
            values => *values = Values::default(),
        }
    }

    /// A row's record.
    ///
    /// # Panics
    /// If there is no such row, as [`time`](Self::time) and [`json`](Self::json) do.
    #[inline]
    pub fn record(&self, row: usize) -> RecordId {
        self.records[row]
    }

    /// A row's time, in Unix milliseconds.
    #[inline]
    pub fn time(&self, row: usize) -> u64 {
        self.times[row]
    }

    /// A row's value, as JSON text.
    #[inline]
    pub fn json(&self, row: usize) -> &str {
        match &self.values {
            Values::Text { ends, text } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                &text[start..ends[row]]
            }
            Values::Columns(columns) => columns.json(row),
        }
    }

    /// All rows' records.
    pub fn records(&self) -> &[RecordId] {
        &self.records
    }

    /// All rows' times.
    pub fn times(&self) -> &[u64] {
        &self.times
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RecordId, u64, &str)> {
        (0..self.len()).map(|row| (self.record(row), self.time(row), self.json(row)))
    }

    /// The bytes of text of all values.
    pub fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Text { text, .. } => text.len(),
            Values::Columns(columns) => columns.text_bytes(),
        }
    }

    /// Their memory in bytes.
    pub fn memory(&self) -> usize {
        let values = match &self.values {
            Values::Text { ends, text } => ends.capacity() * size_of::<usize>() + text.capacity(),
            Values::Columns(columns) => columns.memory(),
        };
        self.records.capacity() * size_of::<RecordId>()
            + self.times.capacity() * size_of::<u64>()
            + values
    }

    /// Encodes and compresses the rows as text.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        frame::compress(|out| {
            out.reserve(self.text_bytes() + 8 * self.len() + 10);
            put(out, self.len() as u64);
            let mut previous = 0;
            for record in self.records.iter().map(|record| u64::from(*record)) {
                put_step(out, previous, record);
                previous = record;
            }
            let mut previous = 0;
            for time in &self.times {
                put_step(out, previous, *time);
                previous = *time;
            }
            (0..self.len()).for_each(|row| put(out, self.json(row).len() as u64));
            match &self.values {
                Values::Text { text, .. } => out.extend_from_slice(text.as_bytes()),
                Values::Columns(_) => {
                    self.iter().for_each(|(_, _, json)| out.extend_from_slice(json.as_bytes()));
                }
            }
        })
    }

    /// Encodes the rows in columns, with statistics of adjacent rows of one record if there are at least
    /// `statistics_rows` of them. `None` if they are not suitable: few, large, or without any shape in common.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    pub fn encode_columns(&self, statistics_rows: usize) -> Result<Option<Vec<u8>>, FormatError> {
        columns::encode(self, statistics_rows)
    }

    /// The numbers of a member, if the rows are in columns.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn numbers(&self, member: &Member) -> Result<Option<Numbers>, FormatError> {
        match &self.values {
            Values::Text { .. } => Ok(None),
            Values::Columns(columns) => columns.numbers(&self.times, member).map(Some),
        }
    }

    /// Reads the numbers of a member from an encoded block, if that is in columns, without its other columns.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn decode_numbers(block: &[u8], member: &Member) -> Result<Option<Numbers>, FormatError> {
        if block.first() != Some(&columns::VERSION) {
            return Ok(None);
        }
        Packed::read(block)?.numbers(member).map(Some)
    }

    /// What the columns tell of the rows, if the rows are in columns.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn verdicts(&self, predicate: &Predicate) -> Result<Option<Verdicts>, FormatError> {
        match &self.values {
            Values::Text { .. } => Ok(None),
            Values::Columns(columns) => columns.verdicts(predicate).map(Some),
        }
    }

    /// What an encoded block tells of its rows, if that is in columns: of those that were `asked` for by their
    /// statistics, if these are enough, and otherwise of all by the columns of the members.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn decode_verdicts(
        block: &[u8],
        predicate: &Predicate,
        asked: Range<usize>,
    ) -> Result<Option<Verdicts>, FormatError> {
        if block.first() != Some(&columns::VERSION) {
            return Ok(None);
        }
        Packed::read(block)?.verdicts(predicate, asked).map(Some)
    }

    /// Reads the statistics of a member from an encoded block, as far as it has them, and what they tell of a
    /// predicate. Blocks of text have none.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn decode_statistics(
        block: &[u8],
        member: &Member,
        predicate: Option<&Predicate>,
    ) -> Result<(usize, Vec<Statistics>), FormatError> {
        if block.first() != Some(&columns::VERSION) {
            return Ok((0, Vec::new()));
        }
        let packed = Packed::read(block)?;
        Ok((packed.rows(), packed.statistics(member, predicate)?))
    }

    /// Compares the statistics in an encoded block with its rows.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn check_statistics(block: &[u8]) -> Result<(), FormatError> {
        if block.first() == Some(&columns::VERSION) {
            Packed::read(block)?.check_statistics()?;
        }
        Ok(())
    }

    /// Decodes what [`encode`](Self::encode) or [`encode_columns`](Self::encode_columns) made.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is not a block.
    pub fn decode(block: &[u8]) -> Result<Self, FormatError> {
        if block.first() == Some(&columns::VERSION) {
            let (records, times, values) = Packed::read(block)?.decode()?;
            return Ok(Self { records, times, values: Values::Columns(Box::new(values)) });
        }
        frame::decompress(block, |content| {
            let mut reader = Reader(content);
            let count = reader.count(LEAST_ROW_BYTES)?;
            let mut records = Vec::with_capacity(count);
            let mut previous = 0;
            for _ in 0..count {
                previous = reader.step(previous)?;
                let record = RecordId::try_from(previous);
                records.push(record.map_err(|_| FormatError::Damaged("a record has no such id"))?);
            }
            let mut times = Vec::with_capacity(count);
            let mut previous = 0;
            for _ in 0..count {
                previous = reader.step(previous)?;
                times.push(previous);
            }
            let mut ends = Vec::with_capacity(count);
            let mut end = 0usize;
            for _ in 0..count {
                let length: usize = reader.small()?;
                // Wrapped, it is no longer what is left.
                end = end.wrapping_add(length);
                ends.push(end);
            }
            let text = text(reader.0, &ends)?;
            Ok(Self { records, times, values: Values::Text { ends, text } })
        })
    }
}

/// The text, if it is as long as its values together and each of them is UTF-8.
fn text(bytes: &[u8], ends: &[usize]) -> Result<String, FormatError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FormatError::Damaged("it is not UTF-8"))?;
    let sound = ends.last().copied().unwrap_or_default() == text.len()
        && ends.is_sorted()
        && ends.iter().all(|end| text.is_char_boundary(*end));
    if sound { Ok(text.to_owned()) } else { Err(FormatError::Damaged("its lengths do not add up")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(content: &[u8]) {
        let frame = frame::compress(|out| out.extend_from_slice(content)).unwrap();
        let read = Block::decode(&frame);
        assert!(matches!(read, Err(FormatError::Damaged(_))), "{content:?}: {read:?}");
    }

    #[test]
    fn rows_come_back_in_their_order() {
        let mut rows = Block::new();
        for (record, time, json) in [
            (7, 1_740_081_234_000, r#"{"a":[1,2]}"#),
            (7, 1_740_081_233_999, "\"é\u{1f980}\""),
            (u32::MAX, 0, "null"),
            (0, i64::MAX as u64, ""),
            (7, u64::MAX, "0"),
        ] {
            rows.push(record, time, json);
        }
        let read = Block::decode(&rows.encode().unwrap()).unwrap();
        assert_eq!(read, rows);
        assert_eq!(read.json(1), "\"é\u{1f980}\"");
        assert_eq!(read.iter().map(|row| row.1).collect::<Vec<_>>(), rows.times());
        assert_eq!(Block::decode(&Block::new().encode().unwrap()).unwrap(), Block::new());
    }

    #[test]
    fn a_cleared_block_is_as_good_as_a_new_one() {
        let mut rows = Block::new();
        rows.push(1, 2, "3");
        rows.clear();
        assert!(rows.is_empty() && rows.text_bytes() == 0 && rows.memory() > 0);
        rows.push(4, 5, "67");
        assert_eq!(rows.iter().collect::<Vec<_>>(), [(4, 5, "67")]);
    }

    #[test]
    fn rows_that_do_not_add_up_are_damaged() {
        // count, records, times, lengths, text: 1 row of record 1 at time 1, "ab".
        let sound = [1, 2, 2, 2, b'a', b'b'];
        let frame = frame::compress(|out| out.extend_from_slice(&sound)).unwrap();
        assert_eq!(Block::decode(&frame).unwrap().iter().collect::<Vec<_>>(), [(1, 1, "ab")]);
        for end in 0..sound.len() {
            damaged(&sound[..end]);
        }
        damaged(&[1, 2, 2, 1, b'a', b'b']);
        damaged(&[1, 2, 2, 3, b'a', b'b']);
        damaged(&[1, 2, 2, 2, b'a', 0xff]);
        // A record below 0 and one above what an id can be.
        damaged(&[1, 1, 2, 0]);
        damaged(&[1, 0x80, 0x80, 0x80, 0x80, 0x20, 2, 0]);
        // "é", cut in two.
        damaged(&[2, 2, 0, 2, 0, 1, 1, 0xc3, 0xa9]);
        // Two lengths whose sum goes around the end: 2^64 - 1 and 3.
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        damaged(&[&[2, 2, 0, 2, 0][..], &most, &[3, b'a', b'b']].concat());
        // More rows than bytes.
        damaged(&[&[0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0; 64]].concat());
    }
}
