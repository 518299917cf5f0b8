//! `annals correct`: replaces a value that was wrong.

use annals::{JsonText, PersistenceBackend, RecordName, Row};
use clap::Parser;

use crate::erase::print;
use crate::failure::Failure;
use crate::moment::{Moment, to_the_ms};
use crate::store;

/// Replace a stored value
///
/// The value keeps its time and its place. Of several values at that time the last to arrive is
/// replaced. Prints 1, the number of replaced values; if there is none, the exit code is 1.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, override_usage = "annals correct --at <T> <RECORD> <VALUE>")]
pub(crate) struct Args {
    /// The record's name, without wildcards
    record: String,

    /// When the value was stored, as `annals query` prints it
    ///
    /// T is Unix milliseconds (1740081234000) or RFC 3339 (2026-05-17T08:30:00.250Z).
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    at: Moment,

    /// The right value, as JSON
    #[arg(allow_negative_numbers = true)]
    value: String,
}

const EXAMPLES: &str = "\
Examples:
  annals correct meter::water --at 1740081234000 '{\"litres\":1204}'
  annals correct door::front --at 2026-05-17T08:30:00Z '\"closed\"'";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let at = match args.at {
        Moment::Ago(_) => {
            let message = "an age is no exact time; write Unix milliseconds or RFC 3339 after --at";
            return Err(Failure::Usage(message.to_owned()));
        }
        at => at.at_or_before(0),
    };
    let record = RecordName::new(args.record.as_str())?;
    let value = JsonText::from_text(args.value, usize::MAX).map_err(|error| {
        Failure::Usage(format!(
            "{error}; a string stands in double quotes within single ones: '\"on\"'"
        ))
    })?;
    let store = store::open_existing(backend).await?;
    let corrected = store.correct(&Row { record, value, stored_at: at }).await?;
    store.close().await?;
    match corrected {
        true => print(1, "replaced"),
        false => {
            let (record, at) = (args.record, to_the_ms(at));
            let message = format!("{record} has no value at {at}: nothing was replaced");
            Err(Failure::Failed(message))
        }
    }
}
