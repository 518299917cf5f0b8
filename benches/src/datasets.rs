//! The data sets that rows at rest are measured on: three are generated, two are samples of public data.

use annals::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number};

use crate::Failure;

/// Rows of a run, by record and time: the record's id, Unix milliseconds, JSON text.
pub(crate) struct DataSet {
    pub(crate) name: &'static str,
    /// A member with numbers.
    pub(crate) member: &'static str,
    /// What about one row of ten satisfies.
    pub(crate) some: &'static str,
    /// What no row satisfies.
    pub(crate) none: &'static str,
    pub(crate) rows: Vec<(u32, u64, String)>,
}

/// Rows of a generated record, one every 30 seconds.
const ROWS_OF_RECORD: usize = 262;
const RECORDS: usize = 1_000;
const EPOCH: u64 = 1_740_081_234_000;

/// Sample data with its source and licence: see `data/README.md`.
const WEATHER: &str = include_str!("../data/weather.csv");
const FLIGHTS: &str = include_str!("../data/flights.csv");

/// Marsaglia's xorshift: the same values in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A number that moves in small steps, as a sensor's does, between 1,500 and 2,500.
struct Walk(u64);

impl Walk {
    fn step(&mut self, random: &mut Random, most: u64) {
        self.0 = (self.0 + random.below(2 * most + 1) - most).clamp(1_500, 2_500);
    }
}

/// What a sensor says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) celsius: f64,
    #[serde(default)]
    pub(crate) humidity: f64,
    #[serde(default)]
    pub(crate) ok: bool,
}

/// Numbers of two decimals and of one that move in small steps, without end.
pub(crate) fn readings(seed: u64) -> impl Iterator<Item = Reading> {
    let mut random = Random(88_172_645_463_325_000 + seed);
    let (mut celsius, mut humidity) = (Walk(2_000), Walk(2_000));
    std::iter::repeat_with(move || {
        celsius.step(&mut random, 5);
        humidity.step(&mut random, 10);
        let (celsius, humidity) = (celsius.0 as f64 / 100.0, (humidity.0 / 5) as f64 / 10.0);
        Reading { celsius, humidity, ok: true }
    })
}

pub(crate) fn all() -> Result<[DataSet; 5], Failure> {
    let [mut two, mut three] = [253, 254].map(|end| Random(88_172_645_463_325_000 + end));
    let (mut readings, mut room) = (readings(252), Walk(2_000));
    let generated = |name, some, mut json: Box<dyn FnMut(usize) -> String>| DataSet {
        name,
        member: "celsius",
        some,
        none: "celsius > 30",
        rows: (0..RECORDS * ROWS_OF_RECORD)
            .map(|at| {
                let time = EPOCH + (at % ROWS_OF_RECORD) as u64 * 30_000;
                ((at / ROWS_OF_RECORD) as u32, time, json(at))
            })
            .collect(),
    };
    Ok([
        generated(
            "fixed decimals",
            "celsius > 24",
            Box::new(move |_| {
                let Some(Reading { celsius, humidity, ok }) = readings.next() else {
                    return String::new();
                };
                format!(r#"{{"celsius":{celsius:.2},"humidity":{humidity:.1},"ok":{ok}}}"#)
            }),
        ),
        generated(
            "17 digits",
            "celsius > 22.2",
            Box::new(move |at| {
                let celsius = 15.0 + two.below(1 << 52) as f64 / (1_u64 << 49) as f64;
                let city = ["Vienna", "Graz", "Linz", "Salzburg"][at / ROWS_OF_RECORD % 4];
                format!(r#"{{"celsius":{celsius},"city":"{city}","seq":{at}}}"#)
            }),
        ),
        generated(
            "words and random text",
            "celsius > 24",
            Box::new(move |_| {
                room.step(&mut three, 5);
                let celsius = room.0 as f64 / 100.0;
                let status = ["ok", "late", "off"][three.below(3) as usize];
                let id = three.below(1 << 32);
                format!(r#"{{"celsius":{celsius:?},"status":"{status}","id":"{id:08x}"}}"#)
            }),
        ),
        DataSet {
            name: "hourly weather",
            member: "temp",
            some: "temp > 44",
            none: "temp > 100",
            rows: sample(WEATHER, "time_hour", "origin")?,
        },
        DataSet {
            name: "flights",
            member: "delay",
            some: "delay > 35",
            none: "delay > 5000",
            rows: sample(FLIGHTS, "date", "origin")?,
        },
    ])
}

/// Rows of a CSV file without quotes: numbers stay numbers, an empty cell is `null`.
fn sample(csv: &str, time: &str, record: &str) -> Result<Vec<(u32, u64, String)>, Failure> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().ok_or("a sample is empty")?.split(',').collect();
    let (mut records, mut rows) = (Vec::new(), Vec::new());
    for line in lines {
        let (mut at, mut id, mut value) = (None, None, Map::new());
        for (name, cell) in header.iter().zip(line.split(',')) {
            if *name == time {
                at = Some(unix_milliseconds(cell)?);
            } else if *name == record {
                let known = records.iter().position(|known| *known == cell);
                id = Some(known.unwrap_or_else(|| {
                    records.push(cell);
                    records.len() - 1
                }));
            } else {
                value.insert((*name).to_owned(), scalar(cell));
            }
        }
        let (at, id) = at.zip(id).ok_or("a sample has no time or no record")?;
        rows.push((id as u32, at, Value::Object(value).to_string()));
    }
    rows.sort_by_key(|row| (row.0, row.1));
    Ok(rows)
}

fn scalar(cell: &str) -> Value {
    match (cell, cell.parse::<i64>(), cell.parse::<f64>()) {
        ("", _, _) => Value::Null,
        (_, Ok(integer), _) => integer.into(),
        (_, _, Ok(number)) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        _ => cell.into(),
    }
}

fn unix_milliseconds(text: &str) -> Result<u64, Failure> {
    let text = text.replace('/', "-").replace(' ', "T");
    let text = if text.ends_with('Z') { text } else { text + ":00Z" };
    Ok(text.parse::<jiff::Timestamp>()?.as_millisecond().try_into()?)
}
