//! Under which numbers the rows of a run arrived.

use super::varint::{Reader, put, put_step};
use super::{FormatError, frame};

/// For each row of a run, in the run's order, the number of the block of the head in which it arrived.
///
/// Followers need them: a run is sorted by record and time, and a cursor may lie in the middle of the
/// numbers that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrivals {
    /// All rows count as arrived under this number: what is true is not known, or just that.
    At(u64),
    /// Each row's own number.
    Each(Vec<u64>),
}

impl Arrivals {
    /// The number of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn of(&self, row: u32) -> u64 {
        match self {
            Self::At(number) => *number,
            Self::Each(numbers) => numbers[row as usize],
        }
    }

    /// The smallest number, of all rows; the greatest there is if there are none.
    pub fn first(&self) -> u64 {
        match self {
            Self::At(number) => *number,
            Self::Each(numbers) => numbers.iter().copied().min().unwrap_or(u64::MAX),
        }
    }

    /// Encodes and compresses the numbers of rows.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    pub fn encode(numbers: &[u64]) -> Result<Vec<u8>, FormatError> {
        frame::compress(|out| {
            put(out, numbers.len() as u64);
            let mut previous = 0;
            for number in numbers {
                put_step(out, previous, *number);
                previous = *number;
            }
        })
    }

    /// Decodes the numbers of this many rows.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is something else.
    pub fn decode(encoded: &[u8], rows: u32) -> Result<Self, FormatError> {
        frame::decompress(encoded, |content| {
            let mut reader = Reader(content);
            let count = reader.count(1)?;
            if count != rows as usize {
                return Err(FormatError::Damaged("it has the arrivals of other rows"));
            }
            let mut numbers = Vec::with_capacity(count);
            let mut previous = 0;
            for _ in 0..count {
                previous = reader.step(previous)?;
                numbers.push(previous);
            }
            if !reader.0.is_empty() {
                return Err(FormatError::Damaged("bytes follow the arrivals"));
            }
            Ok(Self::Each(numbers))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_others_are_damaged() {
        for numbers in [vec![], vec![7], vec![9, 3, u64::MAX, 0, 0]] {
            let encoded = Arrivals::encode(&numbers).unwrap();
            let rows = numbers.len() as u32;
            assert_eq!(Arrivals::decode(&encoded, rows).unwrap(), Arrivals::Each(numbers));
            assert!(matches!(Arrivals::decode(&encoded, rows + 1), Err(FormatError::Damaged(_))));
        }
        let frame = |content: &[u8]| frame::compress(|out| out.extend_from_slice(content)).unwrap();
        assert!(Arrivals::decode(&frame(&[2, 2]), 2).is_err());
        assert!(Arrivals::decode(&frame(&[1, 2, 2]), 1).is_err());
        assert!(Arrivals::decode(b"no frame", 1).is_err());
    }

    /// A hundred records of 2,000 rows, one of each in a batch. The differences are 1, or vary a little
    /// where a record's interval does.
    #[test]
    fn regular_histories_pay_next_to_nothing() {
        let regular: Vec<u64> = (0..100).flat_map(|_| 0..2_000).collect();
        assert!(Arrivals::encode(&regular).unwrap().len() < regular.len() / 1_000);
        // Every tenth row comes a batch later, or with the next one.
        let late = |n: u64| n + u64::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < 1 << 28);
        let late: Vec<u64> =
            (0..100).flat_map(|r| (0..2_000).map(move |n| late(r * 7 + n) - r * 7)).collect();
        assert!(Arrivals::encode(&late).unwrap().len() < late.len() / 10);
    }
}
