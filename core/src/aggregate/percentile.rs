//! Exact percentiles with linear interpolation between closest ranks, as PostgreSQL's
//! `percentile_cont` and numpy's `linear`.

/// Which percentile: a decimal of 0 to 100, kept exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Percentile {
    /// The percentage without its point.
    mantissa: u64,
    /// 10 to the number of digits behind the point.
    scale: u64,
    name: Box<str>,
}

impl Percentile {
    pub(super) fn median() -> Self {
        Self { mantissa: 50, scale: 1, name: "median".into() }
    }

    /// Parses `p95` or `p99.9`. Fifteen digits are enough for any number of samples.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let text = name.strip_prefix('p')?;
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || text.len() > 16 || !digits(whole) || !digits(decimals) {
            return None;
        }
        let mantissa = format!("{whole}{decimals}").parse().ok()?;
        let scale = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
        (mantissa <= 100 * scale).then(|| Self { mantissa, scale, name: name.into() })
    }

    /// The name it was parsed from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fraction of 1 as a numerator and a denominator.
    pub fn ratio(&self) -> (u64, u64) {
        (self.mantissa, 100 * self.scale)
    }

    /// The percentile of `count` sorted samples, given two of them: the one with the index
    /// `⌊ratio · (count − 1)⌋` and the one after it.
    pub fn interpolate(&self, count: u64, low: f64, high: f64) -> f64 {
        let (numerator, denominator) = self.ratio();
        let rank = u128::from(numerator) * u128::from(count.saturating_sub(1));
        match rank % u128::from(denominator) {
            0 => low,
            rest => between(low, high, rest as f64 / denominator as f64),
        }
    }

    /// The nearest fraction of 1 (0.95 for `p95`), for engines that take one.
    pub fn fraction(&self) -> f64 {
        self.mantissa as f64 / (100 * self.scale) as f64
    }

    /// The percentile of the samples, whose order it changes; `None` if there are none.
    pub(super) fn of(&self, samples: &mut [f64]) -> Option<f64> {
        let count = samples.len() as u64;
        let (numerator, denominator) = self.ratio();
        let rank = u128::from(numerator) * u128::from(count.checked_sub(1)?);
        let index = (rank / u128::from(denominator)) as usize;
        let (_, low, above) = samples.select_nth_unstable_by(index, f64::total_cmp);
        let low = *low;
        let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
        Some(self.interpolate(count, low, high))
    }
}

/// The point at `fraction` of the way from `low` to `high`.
pub(super) fn between(low: f64, high: f64, fraction: f64) -> f64 {
    let distance = high - low;
    if distance.is_finite() {
        low + distance * fraction
    } else {
        low * (1.0 - fraction) + high * fraction
    }
}
