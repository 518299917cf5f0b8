//! The byte stream to an AimX server and its frames.
//!
//! On a Unix socket a frame is a line (both AimDB lines). On TCP it is its length as four bytes,
//! the most significant first, and then its bytes (`aimdb-tcp-connector`).

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::address::Address;
use super::fault::{Fault, MAX_ANSWER_BYTES};

/// The size of the read buffer.
const READ_BYTES: usize = 64 << 10;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Lines,
    Lengths,
}

/// A connection that carries frames.
pub(crate) struct Link {
    stream: BufReader<Box<dyn Duplex>>,
    framing: Framing,
}

impl Link {
    pub(crate) async fn open(address: &Address) -> Result<Self, Fault> {
        let (stream, framing): (Box<dyn Duplex>, _) = match address {
            Address::Unix(path) => (unix(path).await.map_err(Fault::Connect)?, Framing::Lines),
            Address::Tcp(target) => {
                let stream = tokio::net::TcpStream::connect(target).await;
                (Box::new(stream.map_err(Fault::Connect)?), Framing::Lengths)
            }
        };
        Ok(Self { stream: BufReader::with_capacity(READ_BYTES, stream), framing })
    }

    pub(crate) async fn send(&mut self, frame: &str) -> Result<(), Fault> {
        let bytes = match self.framing {
            Framing::Lines => [frame.as_bytes(), b"\n"].concat(),
            Framing::Lengths => {
                // A request is a pattern and four numbers, far below this length.
                let length = u32::try_from(frame.len()).map_err(|_| Fault::TooLarge)?;
                [&length.to_be_bytes(), frame.as_bytes()].concat()
            }
        };
        // A closed connection shows here or at the first read.
        self.stream.write_all(&bytes).await.map_err(closed_or_broken)?;
        self.stream.flush().await.map_err(closed_or_broken)
    }

    /// The next frame.
    pub(crate) async fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        match self.framing {
            Framing::Lines => self.receive_line().await,
            Framing::Lengths => self.receive_length().await,
        }
    }

    async fn receive_line(&mut self) -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        loop {
            let read =
                self.stream.fill_buf().await.map_err(|error| lost(error, line.is_empty()))?;
            if read.is_empty() {
                return Err(if line.is_empty() { Fault::Closed } else { Fault::CutOff });
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            if line.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(Fault::TooLarge);
            }
            line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.stream.consume(used);
            if end.is_some() {
                return Ok(line);
            }
        }
    }

    async fn receive_length(&mut self) -> Result<Vec<u8>, Fault> {
        let first = self.stream.fill_buf().await.map_err(|error| lost(error, true))?;
        if first.is_empty() {
            return Err(Fault::Closed);
        }
        let length = self.stream.read_u32().await.map_err(|error| lost(error, false))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_ANSWER_BYTES {
            return Err(Fault::TooLarge);
        }
        // The buffer grows with what arrives, not with the length in the header.
        let mut frame = Vec::new();
        let mut rest = (&mut self.stream).take(length as u64);
        rest.read_to_end(&mut frame).await.map_err(|error| lost(error, false))?;
        if frame.len() < length { Err(Fault::CutOff) } else { Ok(frame) }
    }
}

/// Classifies an error while reading: a server that died may reset the connection instead of closing
/// it.
fn lost(error: io::Error, before_the_answer: bool) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof if before_the_answer => {
            Fault::Closed
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => Fault::CutOff,
        _ => Fault::Io(error),
    }
}

fn closed_or_broken(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Fault::Closed,
        _ => Fault::Io(error),
    }
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> io::Result<Box<dyn Duplex>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn unix(_: &std::path::Path) -> io::Result<Box<dyn Duplex>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}
