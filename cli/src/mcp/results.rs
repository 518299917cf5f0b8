//! What the tools give. The comments here are what a client's model reads.

use rmcp::schemars::{self, JsonSchema};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use crate::moment::to_the_ms;

/// A value whose JSON text is longer is not given whole.
const MAX_VALUE_BYTES: usize = 16 << 10;
/// So much of it is shown then.
const SHOWN_BYTES: usize = 1 << 10;
/// What a row takes beside its name and value.
const ROW_BYTES: usize = 100;

/// A page of records.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordPage {
    /// The records, ordered by name.
    pub(super) records: Vec<Record>,
    /// There are more records: pass this as `cursor` to get them. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// A record.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Record {
    /// Its name.
    pub(super) record: String,
    /// How many values it has. Absent where only a count of them all could tell; summarise_record
    /// does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    /// When its first value was stored. Absent as `count` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Stored>,
    /// When its last value was stored.
    pub(super) last: Stored,
}

/// A point in time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Stored {
    /// Unix milliseconds.
    pub(super) stored_at: u64,
    /// The same in RFC 3339, UTC.
    pub(super) time: String,
}

impl From<u64> for Stored {
    fn from(stored_at: u64) -> Self {
        Self { stored_at, time: to_the_ms(stored_at) }
    }
}

/// A page of stored values.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct ValuePage {
    /// The values, ordered by record name, then by time.
    pub(super) rows: Vec<ValueRow>,
    /// There are more rows: pass this as `cursor` to get them. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
    /// How many rows were skipped because what is stored there is not JSON any more.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unreadable: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A stored value.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ValueRow {
    /// The record's name.
    pub(super) record: String,
    /// When it was stored, in Unix milliseconds.
    pub(super) stored_at: u64,
    /// The same in RFC 3339, UTC.
    pub(super) time: String,
    /// The value; null if it is cut.
    pub(super) value: Value,
    /// Only there if the value is too long to be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<Cut>,
}

/// What is given of a value that is too long.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Cut {
    /// How long its JSON text is, in bytes.
    pub(super) bytes: usize,
    /// How its JSON text begins.
    pub(super) beginning: String,
}

impl ValueRow {
    /// A row, and about how many bytes it takes in the answer.
    pub(super) fn new(record: &str, value: &RawValue, stored_at: u64) -> (Self, usize) {
        let text = value.get();
        let (value, cut) = match serde_json::from_str(text) {
            Ok(value) if text.len() <= MAX_VALUE_BYTES => (value, None),
            // Too long, or nested more deeply than can be handed on.
            _ => {
                let beginning = text[..text.floor_char_boundary(SHOWN_BYTES)].to_owned();
                (Value::Null, Some(Cut { bytes: text.len(), beginning }))
            }
        };
        let bytes = ROW_BYTES + record.len() + if cut.is_some() { SHOWN_BYTES } else { text.len() };
        let (record, time) = (record.to_owned(), to_the_ms(stored_at));
        (Self { record, stored_at, time, value, cut }, bytes)
    }
}

/// The summary of a record.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Summary {
    /// The record's name.
    pub(super) record: String,
    /// How many values there are within the window. With 0 there may be no such record.
    pub(super) count: u64,
    /// The oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<ValueRow>,
    /// The newest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<ValueRow>,
    /// About the numbers; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) numbers: Option<Numbers>,
    /// How many values have no number there.
    pub(super) without_number: u64,
    /// How many rows were skipped because what is stored there is not JSON any more.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) unreadable: u64,
}

/// About the numbers in a record's values.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Numbers {
    /// How many there are.
    pub(super) count: u64,
    /// The least.
    #[schemars(with = "f64")]
    pub(super) min: Number,
    /// The greatest.
    #[schemars(with = "f64")]
    pub(super) max: Number,
    /// Their arithmetic mean. Absent if their sum is beyond what a float holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mean: Option<f64>,
}
