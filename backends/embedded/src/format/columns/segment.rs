//! Segments: columns of numbers compressed by pco, and text compressed by zstd. Each has a checksum and
//! is read alone.

use std::panic::catch_unwind;

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec};
use twox_hash::XxHash3_64;

use super::super::varint::{Reader, put};
use super::super::{FormatError, frame};

/// Bytes of a segment's checksum: the lowest of XXH3-64.
const CHECKSUM_BYTES: usize = 4;

/// Above it, pco takes much longer for little.
const LEVEL: usize = 8;

/// How many numbers are looked at to choose between numbers and their differences.
const SAMPLE: usize = 1024;

/// The first byte of a chunk says how the numbers are represented: as they are (0) in the low half, and
/// plain (0) or as differences (1) in the high half. Other representations, which need more memory than
/// their numbers, are never written.
const PLAIN: u8 = 0x00;
const DIFFERENCES: u8 = 0x10;

fn unreadable<E>(_: E) -> FormatError {
    FormatError::Damaged("a column does not decompress")
}

/// Segments on their way into a block.
#[derive(Debug, Default)]
pub(super) struct SegmentWriter {
    lengths: Vec<usize>,
    bytes: Vec<u8>,
}

impl SegmentWriter {
    /// Appends numbers. Without numbers there is no segment.
    pub(super) fn numbers<T: Number + Into<i128>>(
        &mut self,
        numbers: &[T],
    ) -> Result<(), FormatError> {
        let sample: Vec<i128> =
            numbers.iter().take(SAMPLE).map(|number| (*number).into()).collect();
        self.compress(numbers, differences_are_smaller(&sample))
    }

    /// Appends floats.
    pub(super) fn floats(&mut self, floats: &[f64]) -> Result<(), FormatError> {
        self.compress(floats, false)
    }

    fn compress<T: Number>(
        &mut self,
        numbers: &[T],
        as_differences: bool,
    ) -> Result<(), FormatError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let delta = if as_differences { DeltaSpec::TryConsecutive(1) } else { DeltaSpec::NoOp };
        let config = ChunkConfig::default()
            .with_compression_level(LEVEL)
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(delta)
            .with_paging_spec(PagingSpec::Exact(vec![numbers.len()]));
        let failed = |error: pco::errors::PcoError| FormatError::Compressor(error.to_string());
        let file = FileCompressor::default();
        let begin = self.bytes.len();
        file.write_header(&mut self.bytes).map_err(failed)?;
        let mut chunk = file.chunk_compressor(numbers, &config).map_err(failed)?;
        chunk.write_meta(&mut self.bytes).map_err(failed)?;
        chunk.write_page(0, &mut self.bytes).map_err(failed)?;
        self.end(begin);
        Ok(())
    }

    /// Appends text.
    pub(super) fn text(&mut self, text: &str) -> Result<(), FormatError> {
        let begin = self.bytes.len();
        self.bytes.extend(frame::compress(|out| out.extend_from_slice(text.as_bytes()))?);
        self.end(begin);
        Ok(())
    }

    fn end(&mut self, begin: usize) {
        let checksum = checksum(&self.bytes[begin..]);
        self.bytes.extend(checksum);
        self.lengths.push(self.bytes.len() - begin);
    }

    /// Appends the number of segments and their lengths.
    pub(super) fn put_directory(&self, out: &mut Vec<u8>) {
        put(out, self.lengths.len() as u64);
        self.lengths.iter().for_each(|length| put(out, *length as u64));
    }

    /// All segments, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = XxHash3_64::oneshot(bytes).to_le_bytes();
    [a, b, c, d]
}

/// Whether differences take fewer bits than the distances to the mean.
fn differences_are_smaller(sample: &[i128]) -> bool {
    let bits = |number: i128| u64::from(u128::BITS - number.unsigned_abs().leading_zeros());
    let mean = sample.iter().sum::<i128>() / (sample.len().max(1) as i128);
    let plain: u64 = sample.iter().map(|number| bits(number - mean)).sum();
    let steps: u64 = sample.windows(2).map(|pair| bits(pair[1] - pair[0])).sum();
    steps < plain
}

/// A segment that has not been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a>(&'a [u8]);

impl<'a> Segment<'a> {
    /// Reads the directory and divides what follows the header.
    pub(super) fn divide(
        header: &mut Reader<'_>,
        mut bytes: &'a [u8],
    ) -> Result<Vec<Self>, FormatError> {
        let count = header.count(1)?;
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let length: usize = header.small()?;
            let (segment, rest) = bytes
                .split_at_checked(length)
                .ok_or(FormatError::Damaged("a column is missing"))?;
            segments.push(Self(segment));
            bytes = rest;
        }
        if bytes.is_empty() {
            Ok(segments)
        } else {
            Err(FormatError::Damaged("its columns do not add up"))
        }
    }

    fn content(self) -> Result<&'a [u8], FormatError> {
        match self.0.split_last_chunk::<CHECKSUM_BYTES>() {
            Some((content, sum)) if checksum(content) == *sum => Ok(content),
            _ => Err(FormatError::Damaged("a column's checksum is wrong")),
        }
    }

    /// Reads `count` numbers. The caller limits the count.
    pub(super) fn numbers<T: Number + Default>(self, count: usize) -> Result<Vec<T>, FormatError> {
        let content = self.content()?;
        let read = move || {
            let (file, rest) = FileDecompressor::new(content).map_err(unreadable)?;
            if !matches!(rest.first(), Some(&(PLAIN | DIFFERENCES))) {
                return Err(FormatError::Damaged("a column is in a form that is not used"));
            }
            let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).map_err(unreadable)?;
            let mut page = chunk.page_decompressor(rest, count).map_err(unreadable)?;
            let mut numbers = vec![T::default(); count];
            let progress = page.read(&mut numbers).map_err(unreadable)?;
            let is_all =
                progress.finished && progress.n_processed == count && page.into_src().is_empty();
            if is_all {
                Ok(numbers)
            } else {
                Err(FormatError::Damaged("a column has another length"))
            }
        };
        // pco may panic at a chunk that makes no sense.
        catch_unwind(read).unwrap_or(Err(FormatError::Damaged("a column makes no sense")))
    }

    /// Reads text of at most `limit` bytes.
    pub(super) fn text(self, limit: usize) -> Result<String, FormatError> {
        frame::decompress(self.content()?, |content| {
            if content.len() > limit {
                return Err(FormatError::Damaged("a column has more text than is allowed"));
            }
            let text = std::str::from_utf8(content);
            Ok(text.map_err(|_| FormatError::Damaged("it is not UTF-8"))?.to_owned())
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::sample::Index;

    use super::*;

    /// Segments with some bytes changed and checksums that fit.
    pub(in super::super) fn forged(
        header: &[u8],
        segments: &[u8],
        changes: &[(Index, u8)],
    ) -> Vec<u8> {
        // The directory follows the rows, the bytes, the extents, and the base and the unit of times.
        let mut reader = Reader(header);
        for _ in 0..2 {
            reader.number().unwrap();
        }
        let extents = reader.number().unwrap();
        for _ in 0..2 * extents + 2 {
            reader.number().unwrap();
        }
        let divided = Segment::divide(&mut reader, segments).unwrap();
        let mut contents: Vec<Vec<u8>> =
            divided.iter().map(|segment| segment.content().unwrap().to_vec()).collect();
        for (at, byte) in changes {
            let mut at = at.index(contents.iter().map(Vec::len).sum());
            for content in &mut contents {
                match content.get_mut(at) {
                    Some(place) => {
                        *place = *byte;
                        break;
                    }
                    None => at -= content.len(),
                }
            }
        }
        contents
            .iter()
            .flat_map(|content| [content.as_slice(), &checksum(content)].concat())
            .collect()
    }

    #[test]
    fn numbers_come_back_in_the_forms_that_are_read() {
        let mut writer = SegmentWriter::default();
        let noise: Vec<u64> = (0..3000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let rising: Vec<u64> = (0..3000).map(|n| n * 60_000).collect();
        writer.numbers(&noise).unwrap();
        writer.numbers(&rising).unwrap();
        writer.numbers(&[0u16; 500]).unwrap();
        writer.numbers(&[i64::MIN, i64::MAX, 0]).unwrap();
        writer.floats(&[0.1, -2.5, 1e15]).unwrap();
        writer.text("text").unwrap();
        let mut directory = Vec::new();
        writer.put_directory(&mut directory);
        let segments = Segment::divide(&mut Reader(&directory), writer.bytes()).unwrap();
        assert_eq!(segments[0].numbers::<u64>(3000).unwrap(), noise);
        assert_eq!(segments[1].numbers::<u64>(3000).unwrap(), rising);
        assert_eq!(segments[2].numbers::<u16>(500).unwrap(), [0; 500]);
        assert_eq!(segments[3].numbers::<i64>(3).unwrap(), [i64::MIN, i64::MAX, 0]);
        assert_eq!(segments[4].numbers::<f64>(3).unwrap(), [0.1, -2.5, 1e15]);
        assert_eq!(segments[5].text(4).unwrap(), "text");
        assert!(segments[1].0.len() < 60, "{}", segments[1].0.len());
        // Another count, another type, less text than there is.
        assert!(segments[0].numbers::<u64>(2999).is_err());
        assert!(segments[0].numbers::<u64>(3001).is_err());
        assert!(segments[5].numbers::<u64>(4).is_err());
        assert!(segments[5].text(3).is_err());
    }

    /// A dictionary of 2^25 entries, and a window of 2^24 numbers, in a few bytes.
    #[test]
    fn forms_that_claim_memory_are_refused() {
        for form in [0x04, 0x20, 0x30, 0x01, 0x02, 0x03] {
            let mut content = Vec::new();
            FileCompressor::default().write_header(&mut content).unwrap();
            content.push(form);
            content.extend([0xff; 64]);
            let segment = [&content[..], &checksum(&content)].concat();
            let read = Segment(&segment).numbers::<u64>(1000);
            assert_eq!(read, Err(FormatError::Damaged("a column is in a form that is not used")));
        }
    }
}
