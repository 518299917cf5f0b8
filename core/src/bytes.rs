//! Bytes as a number and as text, the same in every build: for cursors, keys and files.

use std::fmt::Write;

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo). It is fast for short texts and no defence against
/// collisions made on purpose.
///
/// ```
/// use annals_core::bytes::fnv1a;
///
/// assert_eq!(fnv1a([]), 0xcbf2_9ce4_8422_2325);
/// assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_f739_67e8);
/// ```
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Two hexadecimal digits for each byte, in lower case.
///
/// ```
/// use annals_core::bytes::{from_hexadecimal, hexadecimal};
///
/// assert_eq!(hexadecimal(b"\x07az"), "07617a");
/// assert_eq!(from_hexadecimal("07617A"), Some(b"\x07az".to_vec()));
/// ```
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits in either case; `None` if there is anything else, or half a byte.
pub fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_bytes_of_digits_are_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hexadecimal(&hexadecimal(&all)), Some(all));
        assert_eq!(from_hexadecimal(""), Some(Vec::new()));
        // `from_str_radix` takes a sign.
        for text in ["7", "7b7", "zz", "+f", " 7", "\u{e9}"] {
            assert_eq!(from_hexadecimal(text), None, "{text}");
        }
    }
}
