//! Which times are hardly meant: numbers that are no milliseconds.

/// 1 January 1990, in Unix milliseconds. Seconds of our time lie before it, in January 1970.
pub(crate) const YEAR_1990: u64 = 631_152_000_000;

/// The first and the last time, in Unix milliseconds, that a client may mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) earliest: u64,
    pub(crate) latest: Option<u64>,
}

/// Why a time is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Implausible {
    Early(String),
    Future(String),
}

impl std::fmt::Display for Implausible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Early(text) | Self::Future(text)) = self;
        f.write_str(text)
    }
}

impl Times {
    /// Whether the time lies between them.
    pub(crate) fn check(&self, at: u64) -> Result<(), Implausible> {
        let Self { earliest, latest } = *self;
        let unit = self.unit(at).map(|unit| format!("; these may be {unit}")).unwrap_or_default();
        if at < earliest {
            return Err(Implausible::Early(format!(
                "{at} is before {earliest}, the earliest time that this server takes: Unix \
                 milliseconds are expected{unit}"
            )));
        }
        match latest {
            Some(latest) if at > latest => Err(Implausible::Future(format!(
                "{at} is too far in the future; this server takes times up to {latest}: Unix \
                 milliseconds are expected{unit}"
            ))),
            _ => Ok(()),
        }
    }

    /// The unit in which the number would be a time of our days.
    fn unit(&self, at: u64) -> Option<&'static str> {
        let is_ours = |ms: u64| ms >= YEAR_1990 && self.latest.is_none_or(|latest| ms <= latest);
        match at {
            _ if at < YEAR_1990 => is_ours(at.saturating_mul(1_000)).then_some("seconds"),
            _ if is_ours(at) => None,
            _ if is_ours(at / 1_000) => Some("microseconds"),
            _ => is_ours(at / 1_000_000).then_some("nanoseconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_units_are_refused_by_name() {
        const NOW: u64 = 1_795_000_000_000;
        let times = Times { earliest: YEAR_1990, latest: Some(NOW) };
        for at in [YEAR_1990, NOW - 1, NOW] {
            assert_eq!(times.check(at), Ok(()));
        }
        for (at, unit) in [
            (NOW / 1_000, "seconds"),
            ((NOW - 1) * 1_000, "microseconds"),
            ((NOW - 1) * 1_000_000, "nanoseconds"),
        ] {
            let refused = times.check(at).unwrap_err().to_string();
            assert!(refused.ends_with(&format!("may be {unit}")), "{refused}");
        }
        for at in [0, YEAR_1990 - 1, NOW + 1, i64::MAX as u64] {
            let refused = times.check(at).unwrap_err().to_string();
            assert!(refused.ends_with("milliseconds are expected"), "{refused}");
        }
        let any = Times { earliest: 0, latest: None };
        for at in [0, NOW / 1_000, i64::MAX as u64] {
            assert_eq!(any.check(at), Ok(()));
        }
    }
}
