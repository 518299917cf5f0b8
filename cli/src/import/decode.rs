//! Decodes text that is not UTF-8.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// So much text is decoded at a time.
const TEXT_BYTES: usize = 32 << 10;

/// Reads text as UTF-8. Bytes that the encoding does not have are an error: nothing is replaced.
pub(super) struct Decoding<R> {
    input: R,
    decoder: Decoder,
    encoding: &'static Encoding,
    /// The number of bytes decoded.
    read: u64,
    ended: bool,
    /// Decoded text of which `given` bytes were handed out: a caller's buffer may be smaller than a
    /// character.
    text: Vec<u8>,
    given: usize,
}

impl<R: BufRead> Decoding<R> {
    /// Without the byte order mark, if there is one.
    pub(super) fn new(input: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { input, decoder, encoding, read: 0, ended: false, text: Vec::new(), given: 0 }
    }

    fn decode(&mut self) -> io::Result<()> {
        let available = self.input.fill_buf()?;
        let last = available.is_empty();
        self.text.resize(TEXT_BYTES, 0);
        self.given = 0;
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(available, &mut self.text, last);
        self.text.truncate(written);
        self.input.consume(read);
        self.read += read as u64;
        self.ended = last && result == DecoderResult::InputEmpty;
        match result {
            DecoderResult::Malformed(..) => {
                let (name, read) = (self.encoding.name(), self.read);
                let message = format!("it is not {name} before byte {read}");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            DecoderResult::OutputFull | DecoderResult::InputEmpty => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() && !self.ended {
            self.decode()?;
        }
        let rest = &self.text[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{UTF_16LE, WINDOWS_1252};

    use super::*;

    fn decoded(bytes: &[u8], encoding: &'static Encoding) -> io::Result<String> {
        // Characters arrive in pieces.
        let input = io::BufReader::with_capacity(3, bytes);
        let mut text = String::new();
        Decoding::new(input, encoding).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn other_encodings_become_utf_8() {
        assert_eq!(decoded(b"Au\xdfen 5 \x80", WINDOWS_1252).unwrap(), "Außen 5 €");
        let utf_16: Vec<u8> =
            "\u{feff}Außen 😀".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&utf_16, UTF_16LE).unwrap(), "Außen 😀");
        assert_eq!(decoded(b"", UTF_16LE).unwrap(), "");
    }

    #[test]
    fn what_is_cut_off_or_no_text_is_an_error() {
        let cut = decoded(b"a\0b", UTF_16LE).unwrap_err();
        assert!(cut.to_string().contains("not UTF-16LE before byte 3"), "{cut}");
        assert!(decoded(b"\x00\xdca\0", UTF_16LE).is_err(), "half of a surrogate pair");
    }
}
