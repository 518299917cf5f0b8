//! Reads what a server sends: how many rows, and what it notes.
//!
//! The format is that of the PostgreSQL documentation, "Message Formats": a byte for the kind, four for
//! the length that follows, itself included, and the content.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What servers sent through a [`Proxy`](crate::Proxy).
#[derive(Debug, Default)]
pub struct Traffic {
    rows: AtomicU64,
    notices: Mutex<Vec<String>>,
}

impl Traffic {
    /// The rows that passed.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The texts of the notices that passed since the last call.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The kind and the length of a message.
const HEADER: usize = 5;

/// Takes the bytes of one connection apart, in pieces of any size.
pub(crate) struct Decoder<'a> {
    traffic: &'a Traffic,
    header: Vec<u8>,
    /// Of the content of the present message.
    left: usize,
    /// The content, of those whose content counts.
    content: Vec<u8>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// The first byte may answer whether the server speaks TLS.
    Beginning,
    Messages,
    /// Nobody can read along.
    Encrypted,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(traffic: &'a Traffic) -> Self {
        let state = State::Beginning;
        Self { traffic, header: Vec::with_capacity(HEADER), left: 0, content: Vec::new(), state }
    }

    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        if self.state == State::Beginning {
            // No session begins with a notice or a parameter: it is `N` for no, or `S` for yes.
            (self.state, bytes) = match bytes {
                [] => return,
                [b'S', ..] => (State::Encrypted, bytes),
                [b'N', rest @ ..] => (State::Messages, rest),
                _ => (State::Messages, bytes),
            };
        }
        while self.state == State::Messages && !bytes.is_empty() {
            if self.header.len() < HEADER {
                let (begin, rest) = bytes.split_at(bytes.len().min(HEADER - self.header.len()));
                self.header.extend_from_slice(begin);
                bytes = rest;
                let Ok([_, length @ ..]) = <[u8; HEADER]>::try_from(&*self.header) else {
                    continue;
                };
                self.left = (u32::from_be_bytes(length) as usize).saturating_sub(length.len());
            }
            let (content, rest) = bytes.split_at(bytes.len().min(self.left));
            if self.header[0] == b'N' {
                self.content.extend_from_slice(content);
            }
            self.left -= content.len();
            bytes = rest;
            if self.left == 0 {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        match self.header.first() {
            Some(b'D') => {
                self.traffic.rows.fetch_add(1, Ordering::Relaxed);
            }
            Some(b'N') => {
                let notices = &self.traffic.notices;
                let notice = message(&self.content);
                notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
            }
            _ => {}
        }
        self.header.clear();
        self.content.clear();
    }
}

/// The field `M` of a notice: fields are a byte for the kind and text up to a zero.
fn message(content: &[u8]) -> String {
    let fields = content.split(|byte| *byte == 0);
    let text = fields.filter_map(|field| field.split_first()).find(|(kind, _)| **kind == b'M');
    text.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).unwrap_or(u32::MAX);
        [&[kind], &length.to_be_bytes()[..], content].concat()
    }

    #[test]
    fn rows_and_notices_are_found_wherever_the_bytes_are_cut() {
        let sent = [
            encoded(b'R', &[0; 4]),
            encoded(b'D', b"DDDDDDD"),
            encoded(b'N', b"SNOTICE\0Ma plan\0\0"),
            encoded(b'D', b""),
            encoded(b'Z', b"I"),
        ]
        .concat();
        for before in [&b""[..], b"N"] {
            let sent = [before, &sent].concat();
            for size in 1..sent.len() {
                let traffic = Traffic::default();
                let mut decoder = Decoder::new(&traffic);
                sent.chunks(size).for_each(|piece| decoder.read(piece));
                assert_eq!(traffic.rows(), 2, "in pieces of {size}");
                assert_eq!(traffic.take_notices(), ["a plan"], "in pieces of {size}");
            }
        }
    }

    #[test]
    fn an_encrypted_session_is_left_alone() {
        let traffic = Traffic::default();
        let mut decoder = Decoder::new(&traffic);
        decoder.read(b"S");
        decoder.read(&encoded(b'D', b""));
        assert_eq!(traffic.rows(), 0);
    }
}
