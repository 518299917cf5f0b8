//! JSON text that is known to be valid: serialized once, passed on as text from there.

mod read;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::de;
use serde::ser::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

use crate::error::PersistenceError;

pub(crate) use read::PlainValue;

use read::ReadsBack;

/// The largest value a backend takes unless it is configured otherwise: 16 MiB of JSON text.
pub const DEFAULT_MAX_VALUE_BYTES: usize = 16 << 20;

/// A buffer that grew larger than this is not kept for the next value.
const KEPT_BUFFER: usize = 64 << 10;

thread_local! {
    /// Values are serialized here, and then copied once into a text of their exact size.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The deepest nesting of arrays and objects that is stored.
///
/// `serde_json` refuses the 128th level when it reads (its recursion limit counts down from 128 and
/// fails at 0), so that 127 levels are what comes back.
pub const MAX_VALUE_DEPTH: usize = 127;

/// JSON text that reads back: valid, in range and nested at most [`MAX_VALUE_DEPTH`] deep.
///
/// Cloning is cheap (a reference count).
#[derive(Clone, PartialEq, Eq)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Serializes `value`, once, with compact JSON.
    ///
    /// Floats that JSON cannot write (NaN, infinities) become `null`, as serde_json does it.
    ///
    /// # Errors
    /// [`ValueTooDeep`](PersistenceError::ValueTooDeep) beyond [`MAX_VALUE_DEPTH`],
    /// [`ValueTooLarge`](PersistenceError::ValueTooLarge) beyond `max_bytes` (serializing stops
    /// there), [`Serialization`](PersistenceError::Serialization) when `T` fails.
    pub fn from_serialize<T: Serialize + ?Sized>(
        value: &T,
        max_bytes: usize,
    ) -> Result<Self, PersistenceError> {
        // A value may be serialized within another one's `Serialize`: it finds the buffer taken.
        let mut text = BUFFER.take();
        text.clear();
        let (mut depth_exceeded, mut raw) = (false, false);
        let writer = Limited { text: &mut text, max_bytes };
        let formatter = Shallow { depth: 0, exceeded: &mut depth_exceeded, raw: &mut raw };
        let mut serializer = serde_json::Serializer::with_formatter(writer, formatter);
        match value.serialize(&mut serializer) {
            Ok(()) => {}
            Err(_) if depth_exceeded => {
                return Err(PersistenceError::ValueTooDeep { limit: MAX_VALUE_DEPTH });
            }
            Err(error) if error.io_error_kind() == Some(io::ErrorKind::FileTooLarge) => {
                let size = max_bytes.saturating_add(1);
                return Err(PersistenceError::ValueTooLarge { size, limit: max_bytes });
            }
            Err(error) => return Err(error.into()),
        }
        let json = str::from_utf8(&text).map_err(de_error)?;
        // Of somebody else's text only the syntax is known.
        let checked = if raw { Self::from_text(json, max_bytes) } else { Ok(Self(json.into())) };
        if text.capacity() <= KEPT_BUFFER {
            BUFFER.set(text);
        }
        checked
    }

    /// Serializes a JSON value; see [`from_serialize`](Self::from_serialize).
    ///
    /// The depth is checked before anything recurses, so that a hostile value cannot exhaust the
    /// stack.
    ///
    /// # Errors
    /// As [`from_serialize`](Self::from_serialize).
    pub fn from_value(value: &Value, max_bytes: usize) -> Result<Self, PersistenceError> {
        Self::from_serialize(value, max_bytes)
    }

    /// Checks text that is JSON already and keeps it letter for letter.
    ///
    /// # Errors
    /// [`Serialization`](PersistenceError::Serialization) for what would not read back: a syntax
    /// error, a number out of range, a lone surrogate;
    /// [`ValueTooDeep`](PersistenceError::ValueTooDeep) and
    /// [`ValueTooLarge`](PersistenceError::ValueTooLarge) as for
    /// [`from_serialize`](Self::from_serialize).
    pub fn from_text(
        text: impl AsRef<str> + Into<Arc<str>>,
        max_bytes: usize,
    ) -> Result<Self, PersistenceError> {
        let json = text.as_ref();
        if json.len() > max_bytes {
            return Err(PersistenceError::ValueTooLarge { size: json.len(), limit: max_bytes });
        }
        match serde_json::from_str::<ReadsBack>(json) {
            Ok(ReadsBack) => Ok(Self(text.into())),
            // serde_json has no code for it in its public API; its message is the only sign.
            Err(error) if error.to_string().starts_with("recursion limit exceeded") => {
                Err(PersistenceError::ValueTooDeep { limit: MAX_VALUE_DEPTH })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: the shortest JSON text has one byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The shared text, without copying it.
    pub fn into_shared(self) -> Arc<str> {
        self.0
    }

    /// The value it stands for.
    ///
    /// # Errors
    /// None for text that was made by this type; the signature leaves room for a parser with other
    /// limits.
    pub fn to_value(&self) -> Result<Value, PersistenceError> {
        Ok(serde_json::from_str::<PlainValue>(&self.0)?.0)
    }
}

impl AsRef<str> for JsonText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn de_error(message: impl fmt::Display) -> PersistenceError {
    <serde_json::Error as de::Error>::custom(message).into()
}

/// A writer that stops at a number of bytes.
struct Limited<'a> {
    text: &'a mut Vec<u8>,
    max_bytes: usize,
}

impl io::Write for Limited<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max_bytes.saturating_sub(self.text.len()) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// The text comes in pieces of a few bytes, and the default is a loop.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A compact formatter that counts the nesting while the text is written, so that one pass does
/// both.
struct Shallow<'a> {
    depth: usize,
    exceeded: &'a mut bool,
    /// Whether ready-made text (a `RawValue`) was written.
    raw: &'a mut bool,
}

impl Shallow<'_> {
    fn open<W: io::Write + ?Sized>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        if self.depth > MAX_VALUE_DEPTH {
            *self.exceeded = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        writer.write_all(bracket)
    }
}

impl Formatter for Shallow<'_> {
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn write_raw_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        *self.raw = true;
        writer.write_all(fragment.as_bytes())
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMIT: usize = DEFAULT_MAX_VALUE_BYTES;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, level| {
            if level % 2 == 0 { json!([inner]) } else { json!({ "k": inner }) }
        })
    }

    #[test]
    fn what_is_stored_reads_back_to_the_last_level() {
        let deepest = JsonText::from_value(&nested(MAX_VALUE_DEPTH), LIMIT).unwrap();
        assert_eq!(deepest.to_value().unwrap(), nested(MAX_VALUE_DEPTH));
        JsonText::from_text(deepest.as_str(), LIMIT).unwrap();
        let error = JsonText::from_value(&nested(MAX_VALUE_DEPTH + 1), LIMIT).unwrap_err();
        assert!(matches!(error, PersistenceError::ValueTooDeep { .. }), "{error}");
        let text = "[".repeat(100_000);
        let error = JsonText::from_text(text, LIMIT).unwrap_err();
        assert!(matches!(error, PersistenceError::ValueTooDeep { .. }), "{error}");
    }

    #[test]
    fn text_that_would_not_read_back_is_refused() {
        for text in ["", "nul", "1e400", "\"\\ud800\"", "[1,]", "{\"a\":1", "1 2", "NaN"] {
            let error = JsonText::from_text(text, LIMIT).unwrap_err();
            assert!(matches!(error, PersistenceError::Serialization { .. }), "{text}");
        }
        for text in ["null", " [1, 2] ", "123456789012345678901234567890", "-0.0", "\"\\u0000\""] {
            assert_eq!(JsonText::from_text(text, LIMIT).unwrap().as_str(), text);
        }
    }

    /// Text that was ready made went past the checks of depth, range and surrogates.
    #[test]
    fn ready_made_text_is_checked_as_well() {
        use serde_json::value::RawValue;
        for text in ["[".repeat(200) + &"]".repeat(200), "1e400".into(), "\"\\ud800\"".into()] {
            let raw = RawValue::from_string(text).unwrap();
            assert!(JsonText::from_serialize(&raw, LIMIT).is_err(), "{raw}");
            assert!(JsonText::from_serialize(&[&raw], LIMIT).is_err(), "{raw}");
        }
        let raw = RawValue::from_string(" [1.50]".trim().to_owned()).unwrap();
        assert_eq!(JsonText::from_serialize(&raw, LIMIT).unwrap().as_str(), "[1.50]");
    }

    /// `Value`'s own reader takes these objects for numbers and ready-made text.
    #[test]
    fn keys_that_serde_json_uses_itself_are_keys() {
        for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            for value in [json!({ key: "[1]" }), json!({ key: "no" }), json!([{ key: 5 }])] {
                let text = JsonText::from_value(&value, LIMIT).unwrap();
                assert_eq!(text.to_value().unwrap(), value);
            }
        }
    }

    #[test]
    fn the_size_limit_is_inclusive_and_stops_the_serializer() {
        let value = json!("x".repeat(98));
        assert_eq!(JsonText::from_value(&value, 100).unwrap().len(), 100);
        let error = JsonText::from_value(&value, 99).unwrap_err();
        assert!(matches!(error, PersistenceError::ValueTooLarge { limit: 99, .. }), "{error}");
        let error = JsonText::from_text("\"0123456789\"", 11).unwrap_err();
        assert!(matches!(error, PersistenceError::ValueTooLarge { size: 12, limit: 11 }));
    }

    #[test]
    fn numbers_survive_bit_for_bit() {
        for number in [f64::MIN_POSITIVE, f64::MAX, -0.0, 0.1, 5e-324, 1.7976931348623157e308] {
            let text = JsonText::from_value(&json!(number), LIMIT).unwrap();
            let back = text.to_value().unwrap().as_f64().unwrap();
            assert_eq!(back.to_bits(), number.to_bits(), "{text}");
        }
        for value in [json!(u64::MAX), json!(i64::MIN), json!("\u{0}"), json!({}), json!([])] {
            assert_eq!(JsonText::from_value(&value, LIMIT).unwrap().to_value().unwrap(), value);
        }
    }
}
