//! A filter as text, for command lines and settings.

use std::str::FromStr;

use super::Filter;
use super::rules::refuse;
use crate::duration;
use crate::error::PersistenceError;

const RULES: &str = "the rules are change, change:MEMBER, band:MEMBER:WIDTH, band:MEMBER:PERCENT%, \
     interval:DURATION, heartbeat:DURATION, within:MEMBER:LEAST..GREATEST and \
     count-outside:MEMBER:LEAST..GREATEST, separated by commas";

/// Parses rules separated by commas:
///
/// | rule | method |
/// |---|---|
/// | `change` | [`on_change`](Filter::on_change) |
/// | `change:MEMBER` | [`on_change_of`](Filter::on_change_of); several add up |
/// | `band:MEMBER:0.5`, `band:MEMBER:1%` | [`dead_band`](Filter::dead_band), [`relative_dead_band`](Filter::relative_dead_band) |
/// | `interval:10s` | [`min_interval`](Filter::min_interval) |
/// | `heartbeat:5m` | [`heartbeat`](Filter::heartbeat) |
/// | `within:MEMBER:0..100` | [`within`](Filter::within) |
/// | `count-outside:MEMBER:0..100` | [`count_outside`](Filter::count_outside) |
///
/// A member may be empty (the value itself) and may contain colons, but no comma.
impl FromStr for Filter {
    type Err = PersistenceError;

    fn from_str(text: &str) -> Result<Self, PersistenceError> {
        text.split(',').try_fold(Self::new(), |filter, rule| with_rule(filter, rule.trim()))
    }
}

fn with_rule(filter: Filter, rule: &str) -> Result<Filter, PersistenceError> {
    let (kind, arguments) = rule.split_once(':').unwrap_or((rule, ""));
    let time = || duration::parse(arguments).map_err(|error| refuse(rule, error.to_string()));
    let member = || {
        let missing = || refuse(rule, format!("a member and a number are missing; {RULES}"));
        arguments.rsplit_once(':').ok_or_else(missing)
    };
    let number = |text: &str| {
        let parsed = text.parse::<f64>();
        parsed.map_err(|_| refuse(rule, format!("\"{text}\" is not a number; {RULES}")))
    };
    let range = |text: &str| {
        let missing = || refuse(rule, "a range is LEAST..GREATEST, such as 0..100");
        let (least, greatest) = text.split_once("..").ok_or_else(missing)?;
        Ok::<_, PersistenceError>(number(least)?..=number(greatest)?)
    };
    Ok(match kind {
        "change" if rule == "change" => filter.on_change(),
        "change" => filter.on_change_of([arguments]),
        "band" => {
            let (member, width) = member()?;
            match width.strip_suffix('%') {
                Some(percent) => filter.relative_dead_band(member, number(percent)? / 100.0),
                None => filter.dead_band(member, number(width)?),
            }
        }
        "interval" => filter.min_interval(time()?),
        "heartbeat" => filter.heartbeat(time()?),
        "within" => {
            let (member, numbers) = member()?;
            filter.within(member, range(numbers)?)
        }
        "count-outside" => {
            let (member, numbers) = member()?;
            filter.count_outside(member, range(numbers)?)
        }
        _ => return Err(refuse(rule, format!("there is no such rule; {RULES}"))),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_rule_has_its_text() {
        let text = "within:a:-1..1e3, count-outside:/b/c:0..1,change:a,change:b::c,band:a:0.5,\
                    band::1%,interval:250ms,heartbeat:5m";
        let filter = Filter::new()
            .within("a", -1.0..=1000.0)
            .count_outside("/b/c", 0.0..=1.0)
            .on_change_of(["a", "b::c"])
            .dead_band("a", 0.5)
            .relative_dead_band("", 0.01)
            .min_interval(Duration::from_millis(250))
            .heartbeat(Duration::from_secs(300));
        assert_eq!(text.parse::<Filter>().unwrap(), filter);
        assert_eq!("change".parse::<Filter>().unwrap(), Filter::new().on_change());
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        for (text, hint) in [
            ("", "the rules are change"),
            ("changes", "the rules are change"),
            ("band:a", "a member and a number"),
            ("band:a:x", "\"x\" is not a number"),
            ("interval:10", "it has no unit"),
            ("within:a:5", "LEAST..GREATEST"),
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
