//! The one selection of a query, and the function over its samples.

use annals_core::{Aggregate, Function, PersistenceError};

use super::select::Selector;
use super::steps::{Steps, common_divisor};

/// How many passes a quantile over overlapping windows may take.
const MAX_PASSES: usize = 100;

/// A selection of series, and a function of the samples in a range before each step.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) selector: Selector,
    /// Without a range, the newest sample is meant.
    pub(super) range: Option<Range>,
}

/// A function of the samples in the window `(t − millis, t]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) millis: i64,
    pub(super) sample: Sample,
}

/// A function of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sample {
    Mean,
    Min,
    Max,
    Sum,
    Count,
    Last,
    Quantile(f64),
    Rate,
    Increase,
    Delta,
}

impl Sample {
    /// Whether the result is still the metric, so that it keeps its name.
    pub(super) fn keeps_name(self) -> bool {
        self == Self::Last
    }

    pub(super) fn is_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }

    /// What the buckets have to tell.
    fn functions(self) -> Vec<Function> {
        use Function::{First, FirstAt, Increase, Last, LastAt, Max, Min, Sum};
        match self {
            Self::Mean | Self::Sum => vec![Sum],
            Self::Min => vec![Min],
            Self::Max => vec![Max],
            Self::Count | Self::Quantile(_) => Vec::new(),
            Self::Last => vec![Last],
            Self::Delta => vec![First, FirstAt, Last, LastAt],
            Self::Rate | Self::Increase => vec![First, FirstAt, Last, LastAt, Increase],
        }
    }
}

/// The buckets that answer a range function.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// One aggregate with buckets that are combined to windows.
    Combined { aggregate: Aggregate },
    /// Buckets that are the windows themselves: the `n`-th pass has every `passes`-th window.
    Windows { passes: Vec<Aggregate>, function: Function },
}

impl Range {
    /// The first and the last millisecond that is read for `steps`.
    pub(super) fn bounds(&self, steps: &Steps) -> (u64, u64) {
        let from = steps.start.saturating_sub(self.millis).saturating_add(1);
        (from.max(0) as u64, steps.end().max(0) as u64)
    }

    /// What to ask of `member`. `None`: a quantile whose windows overlap too often.
    pub(super) fn question(
        &self,
        steps: &Steps,
        member: &str,
    ) -> Result<Option<Question>, PersistenceError> {
        let (from, to) = self.bounds(steps);
        let asked = |width: i64, origin: i64| {
            let width = std::time::Duration::from_millis(width.unsigned_abs());
            Aggregate::every(width).origin(origin).member(member).range(from, to)
        };
        let common = match steps.count {
            1 => self.millis,
            _ => common_divisor(self.millis, steps.step),
        };
        let Some(function) = self.quantile()? else {
            let aggregate = asked(common, steps.start + 1).functions(self.sample.functions());
            return Ok(Some(Question::Combined { aggregate }));
        };
        // Windows that are so many steps apart do not overlap, and lie on one grid.
        let apart = usize::try_from(self.millis / common).unwrap_or(usize::MAX);
        let apart = apart.min(steps.count);
        if apart > MAX_PASSES {
            return Ok(None);
        }
        let pass =
            |first: usize| asked(self.millis, steps.time(first) + 1).functions([function.clone()]);
        Ok(Some(Question::Windows { passes: (0..apart).map(pass).collect(), function }))
    }

    /// The percentile of a quantile that is one.
    fn quantile(&self) -> Result<Option<Function>, PersistenceError> {
        match self.sample {
            Sample::Quantile(quantile) if (0.0..=1.0).contains(&quantile) => {
                // As many digits as a percentile may have; exact for quantiles up to 15 digits.
                let mut percentage = format!("{:.15}", quantile * 100.0);
                percentage.truncate(15);
                let percentage = percentage.trim_end_matches('0').trim_end_matches('.');
                Function::parse(&format!("p{percentage}")).map(Some)
            }
            _ => Ok(None),
        }
    }
}
