//! Decodes text that is not UTF-8.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// Reads text as UTF-8. Bytes that the encoding does not have are an error: nothing is replaced.
pub(super) struct Decoding<R> {
    input: R,
    decoder: Decoder,
    encoding: &'static Encoding,
    /// The number of bytes decoded.
    read: u64,
    ended: bool,
}

impl<R: BufRead> Decoding<R> {
    /// Without the byte order mark, if there is one.
    pub(super) fn new(input: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { input, decoder, encoding, read: 0, ended: false }
    }
}

impl<R: BufRead> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let available = self.input.fill_buf()?;
            let last = available.is_empty();
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(available, buffer, last);
            self.input.consume(read);
            self.read += read as u64;
            self.ended = last && result == DecoderResult::InputEmpty;
            match result {
                DecoderResult::Malformed(..) => {
                    let (name, read) = (self.encoding.name(), self.read);
                    let message = format!("it is not {name} before byte {read}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                _ if written > 0 => return Ok(written),
                DecoderResult::OutputFull => {
                    let message = "the buffer is too small for a character";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                DecoderResult::InputEmpty => {}
            }
        }
        Ok(0)
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
