//! Variable-length integers.
//!
//! LEB128 as in Protocol Buffers (<https://protobuf.dev/programming-guides/encoding/>): seven bits per
//! byte, lowest first; the highest bit is set if another byte follows. Differences are zigzag-encoded,
//! so small ones of either sign are short.
//!
//! The crates integer-encoding and unsigned-varint drop the excess bits of a tenth byte, so damage would
//! be read as a number. Here it is reported.

use super::FormatError;

/// Appends a number: 1 to 10 bytes.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends the difference from one number to the next, which wraps around.
#[inline]
pub(super) fn put_step(out: &mut Vec<u8>, from: u64, to: u64) {
    let step = to.wrapping_sub(from) as i64;
    put(out, ((step << 1) ^ (step >> 63)) as u64);
}

/// The bytes that are left to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next number.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, FormatError> {
        match *self.0 {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Ok(byte.into())
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, FormatError> {
        let mut number = 0;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if index == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(FormatError::Damaged("a number has no end"))
    }

    /// The next number, stored as its difference from `from`.
    #[inline]
    pub(super) fn step(&mut self, from: u64) -> Result<u64, FormatError> {
        let zigzag = self.number()?;
        let step = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        Ok(from.wrapping_add(step as u64))
    }

    /// The next number, if it fits.
    #[inline]
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, FormatError> {
        T::try_from(self.number()?).map_err(|_| FormatError::Damaged("a number is out of range"))
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        let (byte, rest) = self.0.split_first().ok_or(FormatError::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(*byte)
    }

    /// The next float.
    pub(super) fn float(&mut self) -> Result<f64, FormatError> {
        let (bytes, rest) =
            self.0.split_first_chunk().ok_or(FormatError::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(f64::from_le_bytes(*bytes))
    }

    /// The next text, after its length.
    pub(super) fn text(&mut self) -> Result<&'a str, FormatError> {
        let length: usize = self.small()?;
        let (text, rest) =
            self.0.split_at_checked(length).ok_or(FormatError::Damaged("it ends too early"))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| FormatError::Damaged("it is not UTF-8"))
    }

    /// The number of entries that follow, each of at least `bytes` bytes. A damaged count therefore
    /// allocates no memory.
    pub(super) fn count(&mut self, bytes: usize) -> Result<usize, FormatError> {
        let count: usize = self.small()?;
        if count > self.0.len() / bytes {
            return Err(FormatError::Damaged("it has fewer entries than it says"));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [u64; 12] = [
        0,
        1,
        127,
        128,
        300,
        16_383,
        16_384,
        u32::MAX as u64,
        1 << 62,
        i64::MAX as u64,
        u64::MAX - 1,
        u64::MAX,
    ];

    #[test]
    fn numbers_come_back() {
        let mut bytes = Vec::new();
        NUMBERS.iter().for_each(|number| put(&mut bytes, *number));
        let mut reader = Reader(&bytes);
        for number in NUMBERS {
            assert_eq!(reader.number().unwrap(), number);
        }
        assert!(reader.0.is_empty());
    }

    #[test]
    fn steps_lead_from_any_number_to_any_other() {
        for from in NUMBERS {
            for to in NUMBERS {
                let mut bytes = Vec::new();
                put_step(&mut bytes, from, to);
                assert_eq!(Reader(&bytes).step(from).unwrap(), to);
            }
        }
        let mut near = Vec::new();
        put_step(&mut near, 1_740_081_234_000, 1_740_081_233_936);
        assert_eq!(near, [127]);
    }

    #[test]
    fn numbers_without_an_end_and_too_large_ones_are_damaged() {
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 10], &[0x80; 11], &beyond] {
            assert!(Reader(bytes).number().is_err(), "{bytes:?}");
        }
        assert!(Reader(&[0x80, 0x80, 0x04]).small::<u16>().is_err());
        assert_eq!(Reader(&[0xff, 0xff, 0x03]).small::<u16>().unwrap(), u16::MAX);
    }

    #[test]
    fn more_entries_than_there_can_be_are_damaged() {
        assert_eq!(Reader(&[2, 0, 0, 0, 0, 0, 0]).count(3).unwrap(), 2);
        assert!(Reader(&[3, 0, 0, 0, 0, 0, 0, 0, 0]).count(3).is_err());
        assert!(Reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).count(1).is_err());
    }
}
