//! The options of `annals import`, and their meaning for an input.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use encoding_rs::Encoding;
use jiff::tz::TimeZone;

use super::columns::Layout;
use super::entry::Converter;
use super::input::{Format, Input};
use super::json::Pointers;
use super::read::{LastLine, Plan};
use super::sink::Ids;
use super::time::{TimeFormat, Times};
use super::value::CellStyle;
use crate::failure::Failure;
use crate::moment::zone;
use crate::store::new_writer;

/// Store rows from a file: NDJSON, JSON, CSV, InfluxDB line protocol or Parquet
///
/// The format is detected from the content, also within gzip and zstd. A file written by annals has
/// the members or columns `record` (the name), `value` (any JSON, kept letter for letter) and
/// `stored_at` (Unix milliseconds or RFC 3339; now, if it is missing) and no others. For any other
/// file, options say which column or member is which. Rows are stored in the order of the input.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to read; - is stdin
    #[arg(default_value = "-", hide_default_value = true, value_name = "FILE")]
    pub(super) file: PathBuf,

    /// The format of the input [default: found from the content]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) input: Option<Format>,

    /// The encoding of the text: windows-1252, utf-16le, … [default: UTF-8, or what a byte order
    /// mark says]
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    pub(super) encoding: Option<&'static Encoding>,

    /// How times are read: auto, ms, s, us, ns, rfc3339, excel or a pattern of strftime
    ///
    /// auto decides from the first 4,096 lines (16 MiB at most; from a slow pipe, those that have
    /// arrived) whether numbers count seconds, milliseconds, micro- or nanoseconds; it is the
    /// default for times that an option names. Numbers in stored_at are milliseconds unless this
    /// says otherwise. excel: days since 1899-12-30, as spreadsheets count them.
    #[arg(long, value_name = "FORMAT", overrides_with = "time_format")]
    time_format: Option<TimeFormat>,

    /// The zone of times without an offset, such as Europe/Vienna [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,

    /// Store rows that have no time with the time of the import
    ///
    /// Rows from a pipe may come without a time. From a file they are refused without this, and
    /// from either if a column or member looks like the time.
    #[arg(long, overrides_with = "time_now")]
    #[arg(conflicts_with_all = ["time_column", "time_pointer", "time_format"])]
    time_now: bool,

    /// The record of all rows, instead of a column or member
    #[arg(long, value_name = "NAME", conflicts_with_all = ["record_column", "record_pointer"])]
    record: Option<String>,

    /// CSV: the column with the names of the records; given twice, the names are joined by ::
    #[arg(long, value_name = "COLUMN", help_heading = "Tables")]
    record_column: Vec<String>,

    /// CSV: the column with the values; given twice, each is a record of its own, NAME::COLUMN
    #[arg(long, value_name = "COLUMN", help_heading = "Tables")]
    value_column: Vec<String>,

    /// CSV: the column with the times; given twice, date and time of day in two columns
    #[arg(long, value_name = "COLUMN", help_heading = "Tables")]
    time_column: Vec<String>,

    /// CSV: how many lines to pass over before the header
    ///
    /// Lines that begin with # are passed over anyway.
    #[arg(long, value_name = "COUNT", default_value = "0", hide_default_value = true)]
    #[arg(help_heading = "Tables")]
    skip_lines: u64,

    /// CSV: `wide` has a time column and a record for each other column
    #[arg(long, value_enum, value_name = "SHAPE", default_value = "long", help_heading = "Tables")]
    #[arg(hide_possible_values = true)]
    columns: Shape,

    /// With --columns wide: what stands before a column's name in the name of its record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    #[arg(help_heading = "Tables")]
    prefix: String,

    /// CSV: the delimiter, or `tab` [default: the most frequent of , ; tab and | in the header]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter, help_heading = "Tables")]
    delimiter: Option<u8>,

    /// CSV: 21,5 is 21.5, and 1.234,5 is 1234.5
    #[arg(long, help_heading = "Tables")]
    decimal_comma: bool,

    /// CSV: text that is not JSON becomes a JSON string; on when a column is named
    ///
    /// Empty cells are then skipped and counted.
    #[arg(long, overrides_with = "text", help_heading = "Tables")]
    text: bool,

    /// CSV: cells with this text are skipped as if they were empty, as NaN, NULL or -999; may be
    /// given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Tables")]
    null: Vec<String>,

    /// CSV and line protocol: accept a last line without a line end, which may be cut off
    #[arg(long, help_heading = "Tables")]
    accept_last_line: bool,

    /// JSON: where the record's name stands, as /labels/name; given twice, the names are joined by ::
    #[arg(long, value_name = "POINTER", help_heading = "JSON")]
    record_pointer: Vec<String>,

    /// JSON: where the value stands; '' is the whole object
    #[arg(long, value_name = "POINTER", help_heading = "JSON")]
    value_pointer: Option<String>,

    /// JSON: where the time stands
    #[arg(long, value_name = "POINTER", help_heading = "JSON")]
    time_pointer: Option<String>,

    /// Skip lines that cannot be stored, and report their number
    #[arg(long, overrides_with = "skip_invalid")]
    pub(super) skip_invalid: bool,

    /// Continue an import that was stopped, without storing its rows again
    #[arg(long, overrides_with = "resume")]
    pub(super) resume: bool,

    /// In a pipe, pass over what stands before this line, or this object of JSON; of CSV not over the
    /// header
    #[arg(long, value_name = "LINE", overrides_with = "start_at")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) start_at: Option<u64>,

    /// Store a file again that was imported before
    #[arg(long, conflicts_with = "resume")]
    again: bool,

    /// Read and check everything, show the first rows, and store nothing
    #[arg(long, conflicts_with_all = ["resume", "again", "atomic"])]
    pub(super) dry_run: bool,

    /// Store all rows or none: up to 1,000,000 rows and 256 MiB of values
    #[arg(long, overrides_with = "atomic")]
    pub(super) atomic: bool,
}

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Long,
    Wide,
}

const EXAMPLES: &str = "\
Examples:
  annals import history.ndjson
  annals export --output csv | annals --backend redb:b.redb import
  annals import hass.csv --record-column entity_id --value-column state \\
      --time-column last_changed
  annals import plant.csv --columns wide --prefix plant:: --decimal-comma \\
      --time-format '%d.%m.%Y %H:%M' --time-zone Europe/Vienna
  annals import events.ndjson.gz --record-pointer /labels/name \\
      --time-pointer /ts --value-pointer /v
  echo '{\"record\":\"door\",\"value\":\"open\"}' | annals import

A line that cannot be stored ends the import with its number, the reason and exit code 1; the rows \
before it are stored, nothing after it is. Correct it and run the same command with --resume, or \
from a pipe with --start-at LINE; the message says which. With --skip-invalid the exit code is 1 only when no line could be stored.

A file that was imported before is refused; --again stores its rows a second time.";

impl Args {
    /// The plan for reading the input.
    ///
    /// # Errors
    /// Options that do not fit the input.
    pub(super) fn plan(&self, input: &Input) -> Result<Plan, Failure> {
        let is_table = matches!(input.format, Format::Csv | Format::Tsv | Format::Parquet);
        self.check_options(is_table, input.format)?;
        let mut layout = self.layout();
        if input.format == Format::Parquet {
            // What is NULL there has no JSON.
            layout.style.nulls.push(String::new());
        }
        let pointers = Pointers::new(
            self.record.as_deref(),
            &self.record_pointer,
            self.value_pointer.as_deref(),
            self.time_pointer.as_deref(),
        )
        .map_err(Failure::Usage)?;
        let own_times = match input.format {
            Format::Csv | Format::Tsv | Format::Parquet => {
                layout.time.is_empty() && layout.wide.is_none()
            }
            Format::Influx => false,
            Format::Ndjson | Format::Json => self.time_pointer.is_none(),
        };
        let times = Times::new(self.time_format.clone(), own_times, self.time_zone.clone());
        let help = match is_table && !layout.style.text {
            true => "\n--text stores it as a string",
            false => "",
        };
        // What is taken out of the input. How its text is read (times, encoding, words that are not
        // JSON) is left out: messages advise to change that, and to go on.
        let fingerprint = match is_table {
            true => layout.fingerprint(),
            false => pointers.fingerprint(),
        };
        Ok(Plan {
            pointers,
            layout,
            converter: Converter::new(times, help),
            fingerprint,
            repeatable: input.size.is_some() || self.resume || self.atomic,
            start_at: self.start_at.unwrap_or(1),
            last_line: match (self.accept_last_line, self.resume) {
                (true, _) => LastLine::Accepted,
                (false, false) => LastLine::MayBeCut,
                (false, true) => LastLine::Growing,
            },
            time_now: self.time_now,
            is_file: input.size.is_some(),
        })
    }

    fn layout(&self) -> Layout {
        let named = self.record.is_some()
            || !self.record_column.is_empty()
            || !self.value_column.is_empty()
            || !self.time_column.is_empty()
            || self.columns == Shape::Wide
            || self.decimal_comma;
        Layout {
            delimiter: self.delimiter,
            skip_lines: self.skip_lines,
            as_text: self.text,
            style: CellStyle {
                text: self.text || named,
                decimal_comma: self.decimal_comma,
                nulls: self.null.clone(),
            },
            constant: self.record.clone(),
            record: self.record_column.clone(),
            value: self.value_column.clone(),
            time: self.time_column.clone(),
            wide: (self.columns == Shape::Wide).then(|| self.prefix.clone()),
        }
    }

    fn check_options(&self, is_table: bool, format: Format) -> Result<(), Failure> {
        let tables = [
            ("--record-column", !self.record_column.is_empty()),
            ("--value-column", !self.value_column.is_empty()),
            ("--time-column", !self.time_column.is_empty()),
            ("--columns wide", self.columns == Shape::Wide),
            ("--delimiter", self.delimiter.is_some()),
            ("--skip-lines", self.skip_lines > 0),
            ("--decimal-comma", self.decimal_comma),
            ("--text", self.text),
            ("--null", !self.null.is_empty()),
        ];
        let names_and_times = [
            ("--record-pointer", !self.record_pointer.is_empty()),
            ("--time-pointer", self.time_pointer.is_some()),
        ];
        let values = [("--value-pointer", self.value_pointer.is_some())];
        let columns = "use --record-column, --value-column and --time-column";
        let (others, instead) = match format {
            _ if is_table => ([&names_and_times[..], &values[..]].concat(), columns),
            Format::Influx => (
                [&tables[..], &names_and_times[..]].concat(),
                "there the measurement and its tags are the record, and each line has its time; use \
                 --record and --value-pointer",
            ),
            _ => (tables.to_vec(), "use --record-pointer, --value-pointer and --time-pointer"),
        };
        if let Some((option, _)) = others.iter().find(|(_, given)| *given) {
            let kind = if option.ends_with("pointer") { "JSON" } else { "CSV" };
            return Err(Failure::Usage(format!(
                "{option} is for {kind}, and the input is {}; {instead}, or say what it is with \
                 --input",
                format.name()
            )));
        }
        let wide = self.columns == Shape::Wide;
        if wide
            && (!self.record_column.is_empty()
                || !self.value_column.is_empty()
                || self.record.is_some())
        {
            return Err(Failure::Usage(
                "with --columns wide each column is a record; leave --record, --record-column and \
                 --value-column out; if a column has the names of records, leave --columns wide out \
                 and name each column of values with --value-column"
                    .to_owned(),
            ));
        }
        if !self.prefix.is_empty() && !wide {
            return Err(Failure::Usage("--prefix goes with --columns wide".to_owned()));
        }
        Ok(())
    }

    /// The format, if options say it.
    pub(super) fn format(&self) -> Option<Format> {
        self.input.or((self.skip_lines > 0).then_some(Format::Csv))
    }

    /// The ids of batches.
    pub(super) fn ids(&self, input: &Input) -> Ids {
        if !self.again && (input.size.is_some() || self.resume) {
            return Ids::Content { resume: self.resume };
        }
        Ids::Random { writer: new_writer(), batches: 0 }
    }

    /// The word for a part of the input.
    pub(super) fn unit(&self, input: &Input) -> &'static str {
        match input.format {
            Format::Json => "object",
            Format::Parquet => "row",
            _ => "line",
        }
    }
}

fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| {
        "no such encoding; write windows-1252 for Latin-1, or utf-16le, say".to_owned()
    })
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" | "\t" => Ok(b'\t'),
        _ if text.len() == 1 && !matches!(text, "\"" | "\n" | "\r") => Ok(text.as_bytes()[0]),
        _ => Err("write one character, or tab".to_owned()),
    }
}
