//! Files of others, as `annals import` reads them.

use std::io::Write;

use annals_core::{JsonText, MAX_TIMESTAMP, RecordName};

/// The first line has options of `annals import`, the rest is the file. It is refused in words, or its
/// rows are within the bounds of the contract.
pub fn import(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (options, file) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(options) = std::str::from_utf8(options) else { return };
    let options: Vec<&str> = options.split_ascii_whitespace().collect();
    let mut input = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    input.write_all(file).unwrap_or_else(|error| panic!("{error}"));
    let read = annals_cli::read_rows(&options, input.path(), &mut |row| {
        assert!(RecordName::new(row.record.as_str()).is_ok(), "the name {:?}", row.record);
        assert!(row.stored_at <= MAX_TIMESTAMP, "the time {}", row.stored_at);
        let value = JsonText::from_text(row.value.as_str(), usize::MAX);
        let value = value.and_then(|value| value.to_value());
        assert!(value.is_ok(), "the value {}: {value:?}", row.value.as_str());
    });
    if let Err(why) = read {
        assert!(!why.is_empty(), "a refusal without a reason");
    }
}
