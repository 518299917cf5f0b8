//! The parameters of a request: those of the URL and, in a POST, of the form.

use axum::body::Bytes;
use axum::http::Uri;
use jiff::Timestamp;
use promql_parser::util::parse_duration;

use super::problem::Problem;
use super::steps::Steps;
use crate::api::with_plus;

/// The greatest time, in Unix milliseconds: the end of the year 9999.
const MAX_TIME: i64 = 253_402_300_799_999;

/// Names and values, in their order.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query of the URL and a form. Of a name that is in both, the URL's counts.
    pub(super) fn read(uri: &Uri, form: &Bytes) -> Self {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let form = form_urlencoded::parse(form).into_owned();
        Self(query.into_owned().chain(form).collect())
    }

    /// The first value of a name; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(given, _)| given == name);
        values.find(|(_, value)| !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The text of the query.
    pub(super) fn query(&self) -> Result<&str, Problem> {
        self.get("query").ok_or_else(|| Problem::bad("the parameter query is missing"))
    }

    /// A time in Unix milliseconds: seconds with decimals, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let millis = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Some((seconds * 1000.0).round() as i64),
            Ok(_) => None,
            Err(_) => with_plus(text).parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
        };
        match millis.filter(|millis| (0..=MAX_TIME).contains(millis)) {
            Some(millis) => Ok(Some(millis)),
            None => Err(Problem::bad(format!(
                "invalid {name} \"{text}\": write Unix seconds or a time such as \
                 2026-01-31T12:00:00Z, from 1970 to 9999"
            ))),
        }
    }

    /// A time span in milliseconds: seconds with decimals, or a Prometheus duration such as `5m`.
    pub(super) fn span(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let millis = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Some((seconds * 1000.0).round() as i64),
            Ok(_) => None,
            Err(_) => {
                parse_duration(text).ok().and_then(|span| i64::try_from(span.as_millis()).ok())
            }
        };
        match millis.filter(|millis| (1..=MAX_TIME).contains(millis)) {
            Some(millis) => Ok(Some(millis)),
            None => Err(Problem::bad(format!(
                "invalid {name} \"{text}\": write seconds or a span such as 15s or 5m, at least a \
                 millisecond"
            ))),
        }
    }

    /// The steps of a range query.
    pub(super) fn steps(&self, max_steps: usize) -> Result<Steps, Problem> {
        let required = |name: &str, value: Option<i64>| {
            value.ok_or_else(|| Problem::bad(format!("the parameter {name} is missing")))
        };
        let start = required("start", self.time("start")?)?;
        let end = required("end", self.time("end")?)?;
        let step = required("step", self.span("step")?)?;
        if end < start {
            return Err(Problem::bad("the end is before the start"));
        }
        let count = usize::try_from((end - start) / step + 1).unwrap_or(usize::MAX);
        if count > max_steps {
            return Err(Problem::bad(format!(
                "more than {max_steps} points per series: choose a greater step"
            )));
        }
        Ok(Steps { start, step, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::read(&format!("/x?{query}").parse().unwrap(), &Bytes::from("step=15s&b=2"))
    }

    #[test]
    fn times_are_seconds_or_rfc_3339_and_spans_seconds_or_durations() {
        let given = parameters("start=1.5&end=1970-01-01T00:01:00+00:00");
        let steps = given.steps(11_000).unwrap();
        assert_eq!(steps, Steps { start: 1_500, step: 15_000, count: 4 });
        assert_eq!(parameters("x=1h30m").span("x").unwrap(), Some(5_400_000));
        for bad in ["x=NaN", "x=-1", "x=0", "x=1e300", "x=soon", "x=0.0001"] {
            assert!(parameters(bad).span("x").is_err(), "{bad}");
        }
        assert!(parameters("start=2&end=1").steps(9).is_err());
        assert!(parameters("start=0&end=1000000").steps(9).is_err());
        assert!(parameters("start=0").steps(9).is_err());
    }
}
