//! Series on their way out: stages are applied, JSON is written in chunks.

use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::METRIC;
use super::problem::Problem;
use super::stage::{Labels, Series, Stage, Stages};
use super::steps::Steps;
use crate::limits::Slot;

/// A chunk of an answer is sent when it has this many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value per series, at one time.
    Vector,
    /// The values of each series, with their times.
    Matrix,
}

/// Where chunks go: to a client who must take them in time, and may have to go for others.
pub(super) struct Outlet {
    pub(super) chunks: mpsc::Sender<Bytes>,
    pub(super) slot: Option<Slot>,
    pub(super) patience: Duration,
}

impl Outlet {
    async fn send(&self, chunk: Bytes) -> Result<(), Problem> {
        let Some(slot) = &self.slot else {
            return self.chunks.send(chunk).await.map_err(|_| Problem::Gone);
        };
        slot.stalls(true);
        let sent = tokio::select! {
            sent = timeout(self.patience, self.chunks.send(chunk)) => sent,
            () = slot.sent_away() => return Err(Problem::Stalled),
        };
        slot.stalls(false);
        sent.map_err(|_| Problem::Stalled)?.map_err(|_| Problem::Gone)
    }
}

/// The JSON of one answer while it is written.
pub(super) struct Answer {
    kind: Kind,
    steps: Steps,
    stages: Stages,
    chunk: Vec<u8>,
    outlet: Outlet,
    is_first: bool,
    /// How many points it has, and may have.
    points: u64,
    most_points: Option<u64>,
    /// Text that is the same in each series: the times.
    times: Vec<Box<[u8]>>,
}

impl Answer {
    /// An empty answer, of so many points at most.
    pub(super) fn new(
        kind: Kind,
        steps: Steps,
        stages: Stages,
        most_points: Option<u64>,
        outlet: Outlet,
    ) -> Self {
        let result = match kind {
            Kind::Vector => "vector",
            Kind::Matrix => "matrix",
        };
        let chunk =
            format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{result}\",\"result\":[");
        let time = |number| format!("[{},\"", seconds(steps.time(number))).into_bytes().into();
        let times = (0..steps.count).map(time).collect();
        let chunk = chunk.into_bytes();
        Self { kind, steps, stages, chunk, outlet, is_first: true, points: 0, most_points, times }
    }

    /// Takes one series. One without values is left out.
    pub(super) async fn push(&mut self, series: Series) -> Result<(), Problem> {
        if series.values.iter().all(Option::is_none) {
            return Ok(());
        }
        match self.stages.push(series)? {
            Some(series) => self.write(&series).await,
            None => Ok(()),
        }
    }

    /// Writes what the groups hold, and the end.
    pub(super) async fn finish(mut self) -> Result<(), Problem> {
        let stages: &[Stage] = &[];
        let stages = std::mem::replace(&mut self.stages, Stages::new(stages, 0));
        for series in stages.finish()? {
            if series.values.iter().any(Option::is_some) {
                self.write(&series).await?;
            }
        }
        self.chunk.extend_from_slice(b"]}}\n");
        self.send().await
    }

    async fn write(&mut self, series: &Series) -> Result<(), Problem> {
        self.points += series.values.iter().flatten().count() as u64;
        if let Some(most) = self.most_points.filter(|most| self.points > *most) {
            return Err(Problem::limited(most));
        }
        self.chunk.extend_from_slice(match self.is_first {
            true => b"{\"metric\":",
            false => b",{\"metric\":",
        });
        self.is_first = false;
        write_labels(&mut self.chunk, &series.labels);
        match self.kind {
            Kind::Vector => {
                self.chunk.extend_from_slice(b",\"value\":");
                if let Some(value) = series.values.first().copied().flatten() {
                    self.point(0, value);
                }
                self.chunk.push(b'}');
            }
            Kind::Matrix => {
                self.chunk.extend_from_slice(b",\"values\":[");
                let mut is_first = true;
                for (number, value) in series.values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    if !is_first {
                        self.chunk.push(b',');
                    }
                    is_first = false;
                    self.point(number, *value);
                    if self.chunk.len() >= CHUNK_BYTES {
                        self.send().await?;
                    }
                }
                self.chunk.extend_from_slice(b"]}");
            }
        }
        if self.chunk.len() >= CHUNK_BYTES { self.send().await } else { Ok(()) }
    }

    fn point(&mut self, number: usize, value: f64) {
        debug_assert!(number < self.steps.count);
        self.chunk.extend_from_slice(&self.times[number]);
        write_value(&mut self.chunk, value);
        self.chunk.extend_from_slice(b"\"]");
    }

    async fn send(&mut self) -> Result<(), Problem> {
        let next = Vec::with_capacity(CHUNK_BYTES + 256);
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.outlet.send(Bytes::from(chunk)).await
    }
}

/// The labels as a JSON object.
pub(super) fn write_labels(out: &mut Vec<u8>, labels: &Labels) {
    let name = labels.named.then_some(("__name__", METRIC));
    let member = labels.member.as_deref().map(|member| ("member", member));
    let record = labels.record.as_deref().map(|record| ("record", record));
    out.push(b'{');
    for (number, (label, value)) in [name, member, record].into_iter().flatten().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let text = serde_json::Value::from(value);
        out.extend_from_slice(format!("\"{label}\":{text}").as_bytes());
    }
    out.push(b'}');
}

/// A time in seconds, with as many decimals as it needs.
pub(super) fn seconds(millis: i64) -> String {
    let (whole, rest) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    }
}

/// A value as Prometheus writes it: decimal, without an exponent.
pub(super) fn write_value(out: &mut Vec<u8>, value: f64) {
    use std::io::Write;
    let written = if value.is_nan() {
        out.write_all(b"NaN")
    } else if value.is_infinite() {
        out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
    } else {
        // Several times as fast as Display, which has to help where there may be an exponent.
        let written = match value.abs() {
            0.0 | 1e-4..1e15 => serde_json::to_writer(&mut *out, &value).map_err(Into::into),
            _ => write!(out, "{value}"),
        };
        if out.ends_with(b".0") {
            out.truncate(out.len() - 2);
        }
        written
    };
    debug_assert!(written.is_ok(), "a vector takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_values_read_as_those_of_prometheus() {
        assert_eq!(
            [seconds(1_435_781_430_781), seconds(5_000), seconds(5_100)],
            ["1435781430.781", "5", "5.1"]
        );
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (-0.0, "-0"),
            (1e-7, "0.0000001"),
            (-123.0, "-123"),
            (1.5e300, &format!("15{}", "0".repeat(299))),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            let mut out = Vec::new();
            write_value(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
