//! Opens a file or stdin, decompresses it, and detects its format from the first lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, IsTerminal, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use encoding_rs::{Encoding, UTF_8};
use flate2::bufread::MultiGzDecoder;
use serde::de::IgnoredAny;

use super::decode::Decoding;
use super::lineprotocol;
use crate::failure::Failure;
use crate::stderr::print_note;

const BUFFER_BYTES: usize = 1 << 20;
/// The number of bytes from which the format is detected.
const HEAD_BYTES: usize = 64 << 10;

/// The format of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line
    Ndjson,
    /// A JSON array of objects, or objects one after the other
    Json,
    /// A header, and one line a row; any delimiter
    Csv,
    /// CSV with tabs
    Tsv,
    /// InfluxDB line protocol
    Influx,
    /// Parquet, from a file
    Parquet,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "NDJSON",
            Self::Json => "JSON",
            Self::Csv | Self::Tsv => "CSV",
            Self::Influx => "InfluxDB line protocol",
            Self::Parquet => "Parquet",
        }
    }
}

/// An open input.
pub(super) struct Input {
    pub(super) text: BufReader<Box<dyn Read + Send>>,
    /// The beginning of `text`.
    pub(super) head: Vec<u8>,
    pub(super) format: Format,
    /// `gzip` or `zstd`, if it is compressed.
    pub(super) compression: Option<&'static str>,
    /// What the text is decoded from, if it is not UTF-8.
    encoding: Option<&'static Encoding>,
    /// The size of a regular file, in bytes. Only such a file can be read again.
    pub(super) size: Option<u64>,
    /// The file itself, for a format that is read from its end.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub(super) file: Option<File>,
    /// The number of bytes read.
    pub(super) consumed: Arc<AtomicU64>,
}

impl Input {
    /// Opens a file, or stdin for `-`.
    pub(super) fn open(
        path: &Path,
        format: Option<Format>,
        encoding: Option<&'static Encoding>,
    ) -> Result<Self, Failure> {
        if path == Path::new("-") && io::stdin().is_terminal() {
            print_note("reading rows from the terminal; Ctrl-D ends");
        }
        let open = || {
            let mut file = match path == Path::new("-") {
                true => stdin()?,
                false => File::open(path)?,
            };
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !metadata.is_file() {
                return Ok((Box::new(file) as Box<_>, None, None));
            }
            // A shell may have read the beginning of stdin.
            let begin = file.stream_position()?;
            let again = file.try_clone().ok().filter(|_| begin == 0);
            Ok((Box::new(file) as Box<_>, Some(metadata.len().saturating_sub(begin)), again))
        };
        let (raw, size, again): (Box<dyn Read + Send>, _, _) =
            open().map_err(|error: io::Error| cannot_read(path, &error))?;
        let input = Self::look_at(raw, path, size, (format, encoding))
            .map(|input| Self { file: again.filter(|_| input.compression.is_none()), ..input });
        input.map_err(|refusal| match refusal {
            Refusal::Io(error) => cannot_read(path, &error),
            Refusal::Format(why) => Failure::Failed(format!("{}: {why}", shown(path))),
        })
    }

    fn look_at(
        raw: Box<dyn Read + Send>,
        path: &Path,
        size: Option<u64>,
        (format, encoding): (Option<Format>, Option<&'static Encoding>),
    ) -> Result<Self, Refusal> {
        let consumed = Arc::new(AtomicU64::new(0));
        let counting = Counting { input: raw, consumed: consumed.clone() };
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, counting);
        let magic = raw.fill_buf()?;
        let (plain, compression): (Box<dyn Read + Send>, _) = match magic {
            [0x1f, 0x8b, ..] => {
                (Box::new(Unpacked { input: MultiGzDecoder::new(raw), name: "gzip" }), Some("gzip"))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let input = zstd::Decoder::with_buffer(raw)?;
                (Box::new(Unpacked { input, name: "zstd" }), Some("zstd"))
            }
            _ => (Box::new(raw), None),
        };
        let mut text = BufReader::with_capacity(BUFFER_BYTES, plain);
        let marked = Encoding::for_bom(text.fill_buf()?).map(|(encoding, _)| encoding);
        let encoding = encoding.or(marked).filter(|encoding| *encoding != UTF_8);
        if let Some(encoding) = encoding {
            let decoded: Box<dyn Read + Send> = Box::new(Decoding::new(text, encoding));
            text = BufReader::with_capacity(BUFFER_BYTES, decoded);
        }
        let head = head_of(&mut text)?;
        if let Some(why) = foreign(&head).filter(|_| !head.starts_with(b"PAR1")) {
            return Err(Refusal::Format(why.to_owned()));
        }
        let format = format.unwrap_or_else(|| detect(&head, path));
        let again: Box<dyn Read + Send> = Box::new(Cursor::new(head.clone()).chain(text));
        let text = BufReader::with_capacity(BUFFER_BYTES, again);
        Ok(Self { text, head, format, compression, encoding, size, file: None, consumed })
    }

    /// The format, the compression and the encoding, for messages.
    pub(super) fn describe(&self) -> String {
        let around: Vec<_> =
            self.compression.into_iter().chain(self.encoding.map(Encoding::name)).collect();
        match around.is_empty() {
            true => self.format.name().to_owned(),
            false => format!("{} ({})", self.format.name(), around.join(", ")),
        }
    }

    /// The byte that ends a line: some old programs write CR alone.
    pub(super) fn line_end(&self) -> u8 {
        match self.head.contains(&b'\n') || !self.head.contains(&b'\r') {
            true => b'\n',
            false => b'\r',
        }
    }
}

/// Stdin as a file: `annals import < FILE` is an import of a file.
fn stdin() -> io::Result<File> {
    #[cfg(unix)]
    let own = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned()?;
    #[cfg(windows)]
    let own = std::os::windows::io::AsHandle::as_handle(&io::stdin()).try_clone_to_owned()?;
    Ok(File::from(own))
}

enum Refusal {
    Io(io::Error),
    Format(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{} cannot be read: {error}", shown(path)))
}

/// The name of an input, for messages.
pub(super) fn shown(path: &Path) -> String {
    match path == Path::new("-") {
        true => "stdin".to_owned(),
        false => path.display().to_string(),
    }
}

/// Reads the first lines, waiting for one of them only.
fn head_of(text: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES && !has_content_line(&head) {
        let available = match text.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            break;
        }
        let used = available.len().min(HEAD_BYTES - head.len());
        head.extend_from_slice(&available[..used]);
        text.consume(used);
    }
    Ok(head)
}

/// Whether there is a complete line that is neither blank nor a comment.
fn has_content_line(head: &[u8]) -> bool {
    let Some(end) = head.iter().rposition(|byte| *byte == b'\n') else { return false };
    first_line(&head[..end]).is_some()
}

fn first_line(head: &[u8]) -> Option<&[u8]> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let lines = head.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    lines.into_iter().find(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Explains why an input is not readable text, and how to convert it.
fn foreign(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [b'P', b'K', 3, 4, ..] => {
            "it is a ZIP archive or a spreadsheet (XLSX); save it as CSV, or unpack it first"
        }
        [b'B', b'Z', b'h', ..] => "it is bzip2; unpack it first: bzcat FILE | annals import",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            "it is xz; unpack it first: xzcat FILE | annals import"
        }
        head if head.starts_with(b"SQLite format 3\0") => {
            "it is a SQLite database: open annals' own with --backend sqlite:FILE, and take rows \
             out of another with sqlite3 -csv -header FILE 'SELECT …' | annals import"
        }
        head if is_markup(head) => {
            "it is HTML or XML, perhaps a page to sign in instead of the file; save the data as CSV or \
             JSON"
        }
        head if head.starts_with(b"# HELP ") || head.starts_with(b"# TYPE ") => {
            "it is what Prometheus scrapes, which has no history; docs/import.md shows how to get \
             JSON from its API"
        }
        // A single NUL may be part of a mistake; in UTF-16 every other byte is one.
        head if head.iter().filter(|byte| **byte == 0).count() > head.len() / 4 => {
            "it is binary, or UTF-16 without a byte order mark, which --encoding utf-16le reads"
        }
        _ => return None,
    })
}

fn is_markup(head: &[u8]) -> bool {
    let begin = first_line(head).unwrap_or_default();
    let begin = String::from_utf8_lossy(&begin[..begin.len().min(16)]).to_ascii_lowercase();
    ["<!doctype", "<html", "<?xml", "<svg"].iter().any(|tag| begin.starts_with(tag))
}

/// Whether a line has an object and something that begins another one.
fn has_two_objects(line: &[u8]) -> bool {
    let mut objects = serde_json::Deserializer::from_slice(line).into_iter::<IgnoredAny>();
    matches!(objects.next(), Some(Ok(_)))
        && line[objects.byte_offset()..].trim_ascii_start().starts_with(b"{")
}

/// Detects the format from the first line and the name of the file.
fn detect(head: &[u8], path: &Path) -> Format {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let line = first_line(head).unwrap_or_default();
    if head.starts_with(b"PAR1") {
        return Format::Parquet;
    }
    match line.first() {
        Some(b'[') => return Format::Json,
        // An object over several lines is not NDJSON.
        Some(b'{') => {
            let whole = head.trim_ascii_end().len() == line.len();
            let error = serde_json::from_slice::<IgnoredAny>(line).err();
            return match error {
                Some(error) if error.is_eof() && !whole => Format::Json,
                Some(_) if has_two_objects(line) => Format::Json,
                _ => Format::Ndjson,
            };
        }
        _ => {}
    }
    if stem.ends_with(".tsv") {
        Format::Tsv
    } else if stem.ends_with(".csv") {
        Format::Csv
    } else if lineprotocol::is_line(line) {
        Format::Influx
    } else if line.iter().any(|byte| matches!(byte, b',' | b';' | b'\t' | b'|'))
        || line.starts_with(b"sep=")
    {
        Format::Csv
    } else {
        Format::Ndjson
    }
}

/// Says in plain words what is wrong with compressed data.
struct Unpacked<R> {
    input: R,
    name: &'static str,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::Interrupted => return error,
                io::ErrorKind::UnexpectedEof => "is cut off",
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                    "is damaged"
                }
                _ => return error,
            };
            io::Error::new(io::ErrorKind::InvalidData, format!("its {} data {what}", self.name))
        })
    }
}

/// Counts the bytes that are read.
struct Counting<R> {
    input: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.consumed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_found_by_the_first_line() {
        let of = |head: &str| detect(head.as_bytes(), Path::new("-"));
        assert_eq!(of("{\"record\":\"a\",\"value\":1}\n"), Format::Ndjson);
        assert_eq!(of("{\"record\":\"a\""), Format::Ndjson);
        assert_eq!(of("{\"record\":\"a\"}{\"record\":\"b\"}\n"), Format::Json);
        assert_eq!(of("{\"record\":\"a\"} nonsense\n"), Format::Ndjson);
        assert_eq!(of("{\n  \"record\": \"a\"\n}\n"), Format::Json);
        assert_eq!(of("\u{feff}\n [{}]"), Format::Json);
        assert_eq!(of("record,value\n"), Format::Csv);
        assert_eq!(of("sep=;\r\n"), Format::Csv);
        assert_eq!(of("# a comment\ncpu,host=a usage=1.5 1740081234567000000\n"), Format::Influx);
        assert_eq!(of("a\tb\n"), Format::Csv);
        assert_eq!(of("nonsense\n"), Format::Ndjson);
        assert_eq!(detect(b"only", Path::new("x/A.CSV.gz")), Format::Csv);
        assert_eq!(detect(b"only", Path::new("a.tsv")), Format::Tsv);
    }

    #[test]
    fn what_is_no_text_says_what_it_is() {
        for (head, words) in [
            (&b"PK\x03\x04"[..], "spreadsheet"),
            (b"SQLite format 3\0", "SQLite"),
            (b"h\0e\0l\0l\0o\0", "utf-16le"),
            (b"\n<!DOCTYPE html>\n<html>", "a page to sign in"),
            (b"# HELP up Up\nup 1\n", "Prometheus scrapes"),
        ] {
            assert!(foreign(head).unwrap().contains(words));
        }
        assert_eq!(foreign("{\"record\":\"grüße\"}".as_bytes()), None);
    }
}
