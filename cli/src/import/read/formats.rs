//! The formats: each reads entries and hands them to the cutter.

use super::{Cutter, Gone, LastLine};
use crate::import::csv::{Read, Table};
use crate::import::input::{Format, Input};
use crate::import::lineprotocol;
use crate::import::lines::{Line, Lines};
use crate::import::objects::objects;
#[cfg(feature = "parquet")]
use crate::import::parquet::{self, Event};
use crate::import::text::utf8;

const TORN: &str = "it has no line end: it may be cut off, or still be written\ncomplete it, or use \
                    --accept-last-line if nothing is missing";

impl Cutter {
    pub(super) fn read_lines(&mut self, input: Input) -> Result<Option<String>, Gone> {
        let is_json = input.format == Format::Ndjson;
        let end = input.line_end();
        let mut lines = Lines::new(input.text, end);
        loop {
            let (entry, bytes) = match lines.next() {
                Ok(None) => return Ok(None),
                Ok(Some(Line::TooLong)) => (Err("it is longer than any row can be".to_owned()), 0),
                Ok(Some(Line::Whole(line))) => {
                    // A line is the same with another end.
                    self.saw(line.strip_suffix(b"\r").unwrap_or(line));
                    self.digest.write(b"\n");
                    let entry = match is_json {
                        true => self.json_line(line),
                        false => self.protocol_line(line),
                    };
                    (entry, line.len())
                }
                Err(error) => return Ok(Some(error.to_string())),
            };
            let torn = !is_json && !lines.ended() && matches!(entry, Ok(true));
            let bad = match (entry, torn) {
                (Err(why), _) => Some(why),
                (Ok(true), true) if self.plan.last_line != LastLine::Accepted => {
                    Some(TORN.to_owned())
                }
                (Ok(true), _) => None,
                (Ok(false), _) => continue,
            };
            let at_hand = lines.has_line_at_hand();
            self.end_of_item(lines.number(), bad, 0, bytes, at_hand)?;
        }
    }

    /// Returns whether the line has a row; a blank line has none.
    fn json_line(&mut self, line: &[u8]) -> Result<bool, String> {
        let line = utf8(line)?.trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            return Ok(false);
        }
        let entry = self.plan.pointers.entry(line)?;
        self.entry(entry)?;
        if self.looks_for_times() {
            self.plan.pointers.look_for_times(line, &mut self.unused);
        }
        Ok(true)
    }

    fn protocol_line(&mut self, line: &[u8]) -> Result<bool, String> {
        let Some(entry) = lineprotocol::parse(utf8(line)?.trim_end_matches('\r'))? else {
            return Ok(false);
        };
        let entry = match self.plan.pointers.is_own() {
            true => entry,
            // Pointers look into the object of the fields.
            false => self.plan.pointers.within(entry)?,
        };
        self.entry(entry)?;
        Ok(true)
    }

    pub(super) fn read_table(&mut self, input: Input) -> Result<Option<String>, Gone> {
        let end = input.line_end();
        let mut layout = self.plan.layout.clone();
        if input.format == Format::Tsv {
            layout.delimiter = layout.delimiter.or(Some(b'\t'));
        }
        let mut table = match Table::new(Lines::new(input.text, end), layout) {
            Ok(table) => table,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return self.refuse(error.to_string());
            }
            Err(error) => return Ok(Some(error.to_string())),
        };
        self.found.push_str(&table.describe());
        self.digest.write(table.fingerprint().as_bytes());
        self.decimal_commas = table.has_decimal_commas();
        loop {
            let mut refusal = None;
            let mut numbers = std::mem::take(&mut self.numbers);
            let read = table.next(&mut numbers, &mut |entry| {
                if refusal.is_none() {
                    refusal = self.entry(entry).err();
                }
            });
            self.numbers = numbers;
            if self.looks_for_times() {
                table.look_for_times(&mut self.unused);
            }
            let (bad, empty) = match read {
                Ok(Read::End) => return Ok(None),
                Ok(Read::Bad(why)) => (Some(why), 0),
                Ok(Read::Record { ended: false, cut, .. })
                    if self.plan.last_line == LastLine::Growing
                        || (cut && self.plan.last_line == LastLine::MayBeCut) =>
                {
                    (Some(TORN.to_owned()), 0)
                }
                Ok(Read::Record { empty, .. }) => (refusal, empty),
                Err(error) => return Ok(Some(error.to_string())),
            };
            // A record is the same with another end.
            let raw = table.raw();
            let text = raw.strip_suffix(b"\n").unwrap_or(raw);
            self.saw(text.strip_suffix(b"\r").unwrap_or(text));
            self.digest.write(b"\n");
            let (line, at_hand) = (table.first_line(), table.lines().has_line_at_hand());
            self.end_of_item(line, bad, empty, table.raw().len(), at_hand)?;
        }
    }

    pub(super) fn read_json(&mut self, input: Input) -> Result<Option<String>, Gone> {
        let mut number = 0;
        let mut gone = false;
        let read = objects(input.text, &mut |text| {
            number += 1;
            self.digest.write(text.as_bytes());
            self.digest.write(b"\n");
            let entry = self.plan.pointers.entry(text);
            if self.looks_for_times() {
                self.plan.pointers.look_for_times(text, &mut self.unused);
            }
            let bad = entry.and_then(|entry| self.entry(entry)).err();
            gone = self.end_of_item(number, bad, 0, text.len(), true).is_err();
            !gone
        });
        match (gone, read) {
            (true, _) => Err(Gone),
            (false, Ok(())) => Ok(None),
            (false, Err(broken)) => Ok(Some(broken)),
        }
    }

    #[cfg(feature = "parquet")]
    pub(super) fn read_parquet(&mut self, input: Input) -> Result<Option<String>, Gone> {
        let Some(file) = input.file else {
            let why =
                "Parquet is read from its end: give the name of a file that is not compressed";
            return Ok(Some(why.to_owned()));
        };
        let layout = self.plan.layout.clone();
        let (mut number, mut gone, mut refusal) = (0, false, None);
        let read = parquet::rows(file, &layout, &mut |event| match event {
            Event::Timestamps { utc } => {
                self.plan.converter.times.are_timestamps(utc);
                true
            }
            Event::Entry(entry) => {
                if refusal.is_none() {
                    refusal = self.entry(entry).err();
                }
                true
            }
            Event::Unused(name, cell) => {
                if !self.plan.time_now && !self.unused.is_full() {
                    self.unused.see(name, cell);
                }
                true
            }
            Event::End { raw, empty, bad } => {
                self.unused.next_row();
                number += 1;
                self.digest.write(raw.as_bytes());
                self.digest.write(b"\n");
                let bad = bad.or(refusal.take());
                gone = self.end_of_item(number, bad, empty, raw.len(), true).is_err();
                !gone
            }
        });
        match (gone, read) {
            (true, _) => Err(Gone),
            (false, read) => Ok(read.err()),
        }
    }

    #[cfg(not(feature = "parquet"))]
    pub(super) fn read_parquet(&mut self, _: Input) -> Result<Option<String>, Gone> {
        let why = "it is Parquet, which this program was built without: build it with --features \
                   parquet, or convert the file: duckdb -c \"COPY (FROM 'FILE') TO 'rows.csv'\"";
        Ok(Some(why.to_owned()))
    }
}
