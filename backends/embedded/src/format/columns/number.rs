//! Numbers as text, as integers with a scale, and as floats. What is parsed here prints as it was.

use super::{SHORT, push_start};

/// The most digits of a decimal. All numbers with that many digits fit into `i64`.
pub(super) const MOST_DIGITS: usize = 18;

/// The longest text of a decimal or a float: sign, digits, point.
pub(super) const MOST_BYTES: usize = 27;

/// Floats are written without an exponent between these.
const LEAST_FLOAT: f64 = 1e-5;
const GREATEST_FLOAT: f64 = 1e16;

/// All integers up to this one are exact as `f64`.
pub(super) const MOST_EXACT: u64 = 1 << 53;

/// Powers of ten that are exact as `f64`.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// A number without exponent, as an integer and the number of its decimals: `-20.50` is -2050 with 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) mantissa: i64,
    pub(super) decimals: u8,
}

impl Decimal {
    /// Parses a JSON scalar. `None` if it is no number, has an exponent or more than
    /// [`MOST_DIGITS`] digits, or is a negative zero.
    pub(super) fn parse(scalar: &str) -> Option<Self> {
        let (is_negative, digits) = match scalar.as_bytes() {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if digits.len() > MOST_DIGITS + 1 {
            return None;
        }
        let (mut mantissa, mut point) = (0i64, None);
        for (at, byte) in digits.iter().enumerate() {
            match byte {
                // 19 digits may wrap; they are refused below.
                b'0'..=b'9' => {
                    mantissa = mantissa.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
                }
                b'.' if point.is_none() => point = Some(at),
                _ => return None,
            }
        }
        let decimals = point.map_or(0, |point| digits.len() - point - 1);
        let count = digits.len() - usize::from(point.is_some());
        if count == 0 || count > MOST_DIGITS || (is_negative && mantissa == 0) {
            return None;
        }
        let mantissa = if is_negative { -mantissa } else { mantissa };
        Some(Self { mantissa, decimals: decimals as u8 })
    }

    /// The mantissa with more decimals, if it fits.
    pub(super) fn at_scale(self, scale: u8) -> Option<i64> {
        self.mantissa.checked_mul(10i64.checked_pow((scale - self.decimals).into())?)
    }

    /// Whether the last decimal is a zero.
    pub(super) fn ends_in_zero(self) -> bool {
        self.decimals > 0 && self.mantissa % 10 == 0
    }
}

/// How many decimals of the numbers of a column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// Trailing zeros are not written, except that this many decimals always are.
    Least(u8),
    /// Each has its own number.
    Each(Vec<u16>),
}

/// Appends an integer with `scale` decimals. Trailing zeros beyond `least` decimals are left out.
pub(super) fn print_stripped(mut mantissa: i64, mut scale: u8, least: u8, out: &mut Vec<u8>) {
    while scale > least && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    print(mantissa, scale, out);
}

/// Appends an integer of `scale` decimals with `decimals` of them; the others are zeros.
pub(super) fn print_with(mantissa: i64, scale: u8, decimals: u8, out: &mut Vec<u8>) {
    let excess = 10i64.checked_pow(u32::from(scale.saturating_sub(decimals))).unwrap_or(i64::MAX);
    print(mantissa / excess, decimals.min(scale), out);
}

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let (mut pairs, mut number) = ([[b'0'; 2]; 100], 0);
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Appends an integer of `scale` decimals.
fn print(mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    // The digits end in the middle, so that from each of them on there are enough bytes to copy.
    let mut buffer = [0; 2 * SHORT];
    let (mut rest, mut at) = (mantissa.unsigned_abs(), SHORT);
    let mut put = |digits: &[u8]| {
        at -= digits.len();
        buffer[at..at + digits.len()].copy_from_slice(digits);
    };
    for _ in 0..scale / 2 {
        put(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if !scale.is_multiple_of(2) {
        put(&[b'0' + (rest % 10) as u8]);
        rest /= 10;
    }
    if scale > 0 {
        put(b".");
    }
    while rest >= 100 {
        put(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    match rest {
        0..10 => put(&[b'0' + rest as u8]),
        _ => put(&PAIRS[rest as usize]),
    }
    if mantissa < 0 {
        put(b"-");
    }
    push_start(&buffer[at..], SHORT - at, out);
}

/// The nearest `f64` of an integer of `scale` decimals.
pub(super) fn to_f64(mantissa: i64, scale: u8) -> f64 {
    if mantissa.unsigned_abs() <= MOST_EXACT {
        return divided(mantissa, scale);
    }
    let mut text = Vec::new();
    print(mantissa, scale, &mut text);
    let text = std::str::from_utf8(&text).unwrap_or_default();
    text.parse().unwrap_or(f64::NAN)
}

/// The nearest `f64` of an integer up to [`MOST_EXACT`] with `scale` decimals.
#[inline]
pub(super) fn divided(mantissa: i64, scale: u8) -> f64 {
    // Both are exact, so the division is rounded once.
    mantissa as f64 / POWERS[usize::from(scale)]
}

/// The integer that [`to_f64`] makes this very number of, if there is one below 2^53.
pub(super) fn to_mantissa(value: f64, scale: u8) -> Option<i64> {
    let mantissa = (value * POWERS[usize::from(scale)]).round();
    let is_exact = mantissa.abs() < MOST_EXACT as f64
        && to_f64(mantissa as i64, scale).to_bits() == value.to_bits();
    is_exact.then_some(mantissa as i64)
}

/// Whether a number is written as a [float](print_float).
pub(super) fn is_float(value: f64) -> bool {
    (LEAST_FLOAT..GREATEST_FLOAT).contains(&value.abs())
}

/// Parses a scalar that [`print_float`] writes like that.
pub(super) fn parse_float(scalar: &str) -> Option<f64> {
    let is_plain = scalar.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    if !is_plain || scalar.len() > MOST_BYTES {
        return None;
    }
    let value: f64 = scalar.parse().ok()?;
    let mut buffer = zmij::Buffer::new();
    (is_float(value) && buffer.format_finite(value) == scalar).then_some(value)
}

/// Appends the fewest digits that are nearest to this `f64` and to no other, with a decimal at least.
pub(super) fn print_float(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(mantissa: i64, scale: u8, least: u8) -> String {
        let mut out = Vec::new();
        print_stripped(mantissa, scale, least, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_print_as_they_were() {
        for text in
            ["0", "7", "-7", "0.5", "-0.05", "20.50", "999999999999999999", "-1.00000000000000000"]
        {
            let Decimal { mantissa, decimals } = Decimal::parse(text).unwrap();
            assert_eq!(stripped(mantissa, decimals, decimals), text);
            let mut with_two_more = Vec::new();
            if let Some(mantissa) = (Decimal { mantissa, decimals }).at_scale(decimals + 1) {
                print_with(mantissa, decimals + 1, decimals, &mut with_two_more);
                assert_eq!(with_two_more, text.as_bytes());
            }
        }
        for text in
            ["-0", "-0.0", "1e5", "1234567890123456789", "0.1234567890123456789", "\"1\"", "null"]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn zeros_are_left_out_down_to_the_least_number_of_decimals() {
        assert_eq!(stripped(2050, 2, 1), "20.5");
        assert_eq!(stripped(2000, 2, 1), "20.0");
        assert_eq!(stripped(2000, 2, 0), "20");
        assert_eq!(stripped(0, 2, 1), "0.0");
        assert_eq!(stripped(i64::MIN, 18, 0), "-9.223372036854775808");
    }

    #[test]
    fn floats_print_in_the_fewest_digits() {
        for text in ["0.1", "0.30000000000000004", "-3.0", "0.00001", "9007199254740993.0"] {
            let parsed = parse_float(text);
            let nearest: f64 = text.parse().unwrap();
            match parsed {
                Some(value) => assert_eq!(value.to_bits(), nearest.to_bits(), "{text}"),
                None => assert_eq!(text, "9007199254740993.0"),
            }
        }
        for text in ["20", "0.10", "1e5", "0.000001", "10000000000000000.0", "0.0", "-0.0", "null"]
        {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_float_is_that_of_the_text() {
        for text in ["0.1", "123456789.123456789", "9007199254740993", "-999999999999999999", "0.3"]
        {
            let Decimal { mantissa, decimals } = Decimal::parse(text).unwrap();
            assert_eq!(to_f64(mantissa, decimals), text.parse::<f64>().unwrap(), "{text}");
        }
    }
}
