//! The exact sum of `f64` values: values enter in any order, the nearest `f64` leaves.
//!
//! The sum is kept as an unevaluated sum of doubles ("Adaptive Precision Floating-Point Arithmetic
//! and Fast Robust Geometric Predicates", J. R. Shewchuk, 1997): two components take nearly every
//! value, and what they would round away goes to an expansion of non-overlapping components. No
//! bit is lost, so neither order nor cancellation matters: `1e16 + 1 - 1e16` is 1.

/// Values of at least this size are summed separately, scaled down, so that no intermediate sum
/// overflows.
const HUGE: f64 = f64::from_bits((1023 + 900) << 52);
const DOWN: f64 = f64::from_bits((1023 - 600) << 52);
const UP: f64 = f64::from_bits((1023 + 600) << 52);
/// Scaled sums below are far from overflowing when they are scaled back.
const LARGE: f64 = f64::from_bits((1023 + 400) << 52);

/// `a + b` and what rounding lost of it, exactly (Knuth).
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `a * b` and what rounding lost of it, exactly (Dekker), for factors below 2^996 whose product
/// neither overflows nor loses bits to underflow.
pub(super) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let split = |x: f64| {
        let shifted = 134_217_729.0 * x;
        let high = shifted - (shifted - x);
        (high, x - high)
    };
    let product = a * b;
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    let error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    (product, error)
}

/// Non-overlapping components, the smallest first.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expansion(Vec<f64>);

impl Expansion {
    fn add(&mut self, value: f64) {
        let mut carry = value;
        self.0.retain_mut(|part| {
            let (sum, lost) = two_sum(carry, *part);
            (carry, *part) = (sum, lost);
            lost != 0.0
        });
        if carry != 0.0 {
            self.0.push(carry);
        }
    }

    fn value(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// How many sums are computed at once.
const LANES: usize = 8;

/// Sums beside each other, without what `high` and `low` would round away.
struct Lanes {
    high: [f64; LANES],
    low: [f64; LANES],
    /// The sizes of what was rounded away.
    lost: [f64; LANES],
    /// The sizes of the greatest values.
    greatest: [f64; LANES],
}

impl Lanes {
    /// The sums, if they are exact.
    fn sum(values: &[f64]) -> Option<Self> {
        let none = [0.0; LANES];
        let mut lanes = Self { high: none, low: none, lost: none, greatest: none };
        let (chunks, rest) = values.as_chunks::<LANES>();
        chunks.iter().for_each(|chunk| lanes.add(chunk));
        let mut last = none;
        last[..rest.len()].copy_from_slice(rest);
        lanes.add(&last);
        let is_exact = lanes.lost == none && lanes.greatest.iter().all(|size| *size < HUGE);
        is_exact.then_some(lanes)
    }

    #[inline]
    fn add(&mut self, values: &[f64; LANES]) {
        for (lane, value) in values.iter().enumerate() {
            let (high, error) = two_sum(self.high[lane], *value);
            let (low, lost) = two_sum(self.low[lane], error);
            (self.high[lane], self.low[lane]) = (high, low);
            self.lost[lane] += lost.abs();
            let size = value.abs();
            self.greatest[lane] =
                if size > self.greatest[lane] { size } else { self.greatest[lane] };
        }
    }
}

/// An exact sum. Its memory is two components for ordinary data and at most some forty for any.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sum {
    high: f64,
    low: f64,
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct More {
    /// What `high` and `low` would round away.
    rest: Expansion,
    /// The sum of the values from [`HUGE`] on, scaled [`DOWN`].
    huge: Expansion,
}

impl Sum {
    /// Its two components, if these are all of it.
    pub(super) fn pair(&self) -> Option<(f64, f64)> {
        self.more.is_none().then_some((self.high, self.low))
    }

    pub(super) fn add(&mut self, value: f64) {
        if value.abs() < HUGE {
            self.add_ordinary(value);
        } else {
            self.more().huge.add(value * DOWN);
        }
    }

    /// Adds many values: several sums beside each other, which the processor adds at once.
    pub(super) fn add_all(&mut self, values: &[f64]) {
        // Few values are not worth the lanes.
        if values.len() < 2 * LANES {
            return values.iter().for_each(|value| self.add(*value));
        }
        for some in values.chunks(LANES * 128) {
            match Lanes::sum(some) {
                Some(Lanes { high, low, .. }) => {
                    low.into_iter().chain(high).for_each(|part| self.add_ordinary(part));
                }
                None => some.iter().for_each(|value| self.add(*value)),
            }
        }
    }

    fn add_ordinary(&mut self, value: f64) {
        let (high, error) = two_sum(self.high, value);
        let (low, lost) = two_sum(self.low, error);
        (self.high, self.low) = (high, low);
        if lost != 0.0 {
            self.more().rest.add(lost);
        }
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Adds `value * factor` for a factor of less than 2^63.
    pub(super) fn add_product(&mut self, value: f64, factor: f64) {
        if value.abs() < HUGE {
            let (product, error) = two_product(value, factor);
            self.add(product);
            self.add(error);
        } else {
            self.more().huge.add(value * DOWN * factor);
        }
    }

    pub(super) fn merge(&mut self, other: &Sum) {
        self.add_ordinary(other.low);
        self.add_ordinary(other.high);
        if let Some(More { rest, huge }) = other.more.as_deref() {
            rest.0.iter().for_each(|part| self.add_ordinary(*part));
            huge.0.iter().for_each(|part| self.more().huge.add(*part));
        }
    }

    /// The nearest `f64`, infinite beyond the range.
    pub(super) fn value(&self) -> f64 {
        if self.more.is_none() {
            return self.high + self.low;
        }
        let (value, scale) = self.scaled();
        value * scale
    }

    /// The sum divided by `divisor`, which may be finite where the sum is not.
    pub(super) fn divided_by(&self, divisor: f64) -> f64 {
        let (value, scale) = self.scaled();
        value / divisor * scale
    }

    /// The sum as a number and the power of two that it is to be multiplied with.
    fn scaled(&self) -> (f64, f64) {
        let Some(More { rest, huge }) = self.more.as_deref() else {
            return (self.high + self.low, 1.0);
        };
        let mut ordinary = rest.clone();
        ordinary.add(self.low);
        ordinary.add(self.high);
        if huge.value().abs() < LARGE {
            // Nothing overflows, and the ordinary part may cancel what is left of the huge one.
            huge.0.iter().for_each(|part| ordinary.add(part * UP));
            return (ordinary.value(), 1.0);
        }
        let mut all = huge.clone();
        ordinary.0.iter().for_each(|part| all.add(part * DOWN));
        (all.value(), UP)
    }
}
