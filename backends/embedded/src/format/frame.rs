//! Compressed bytes with a checksum: one zstd frame (<https://www.rfc-editor.org/rfc/rfc8878>) with its
//! content size. The content begins with the version of the format.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{compress_bound, get_frame_content_size};

use super::FormatError;

/// The version of blocks and run indexes.
const VERSION: u8 = 1;

/// zstd's fastest ordinary level. Short JSON values become smaller than at levels 2 to 4, and level 6
/// takes three times as long for 6 % less.
const LEVEL: i32 = 1;

/// A block of zstd takes at least four bytes and expands to at most 128 KiB, so no frame expands to
/// more than this many times its size.
const GREATEST_RATIO: usize = (128 << 10) / 4;

/// Larger buffers were needed for a single huge value and are not kept.
const KEPT_BYTES: usize = 1 << 20;

/// zstd's context and its buffers: making them takes longer than compressing a small block.
struct Context<T> {
    zstd: Option<T>,
    content: Vec<u8>,
    packed: Vec<u8>,
}

impl<T> Context<T> {
    const fn new() -> RefCell<Self> {
        RefCell::new(Self { zstd: None, content: Vec::new(), packed: Vec::new() })
    }

    fn tidy(&mut self) {
        for buffer in [&mut self.content, &mut self.packed] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }
}

thread_local! {
    static COMPRESS: RefCell<Context<Compressor<'static>>> = const { Context::new() };
    static DECOMPRESS: RefCell<Context<Decompressor<'static>>> = const { Context::new() };
}

/// Compresses what `write` appends.
pub(super) fn compress(write: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, FormatError> {
    COMPRESS.with_borrow_mut(|context| {
        // A failed call may have left bytes.
        context.tidy();
        context.content.push(VERSION);
        write(&mut context.content);
        let Context { zstd, content, packed } = context;
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(Compressor::new(LEVEL)?),
        };
        zstd.include_checksum(true)?;
        packed.reserve(compress_bound(content.len()));
        zstd.compress_to_buffer(content, packed)?;
        let frame = packed.to_vec();
        context.tidy();
        Ok(frame)
    })
}

/// Decompresses a frame and calls `read` with its content.
pub(super) fn decompress<T>(
    frame: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    let size = get_frame_content_size(frame).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size
        .filter(|size| size / GREATEST_RATIO <= frame.len())
        .ok_or(FormatError::Damaged("it is not a frame, or its size is impossible"))?;
    DECOMPRESS.with_borrow_mut(|context| {
        let Context { zstd, content, .. } = context;
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(Decompressor::new()?),
        };
        content
            .try_reserve(size)
            .map_err(|_| FormatError::Damaged("it claims more memory than there is"))?;
        zstd.decompress_to_buffer(frame, content)
            .map_err(|_| FormatError::Damaged("it does not decompress"))?;
        let read = match content.as_slice() {
            [VERSION, content @ ..] => read(content),
            _ => Err(FormatError::Damaged("it has another version")),
        };
        context.tidy();
        read
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        compress(|out| out.extend_from_slice(content)).unwrap()
    }

    fn unpacked(frame: &[u8]) -> Result<Vec<u8>, FormatError> {
        decompress(frame, |content| Ok(content.to_vec()))
    }

    #[test]
    fn what_goes_in_comes_out_whatever_the_buffers_held_before() {
        let zeros = vec![0; 20 << 20];
        for content in [&b""[..], b"x", &zeros, b"after a huge one", b""] {
            assert_eq!(unpacked(&packed(content)).unwrap(), content);
        }
    }

    #[test]
    fn the_greatest_ratio_is_above_that_of_the_most_even_content() {
        let even = vec![b' '; 64 << 20];
        let ratio = even.len() / packed(&even).len();
        assert!((GREATEST_RATIO / 4..GREATEST_RATIO).contains(&ratio), "{ratio}");
    }

    #[test]
    fn bytes_that_are_no_frame_are_damaged_and_the_next_frame_is_read() {
        let sound = packed(b"some content that is long enough to be compressed, compressed");
        let mut flipped = sound.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let other_version = zstd::bulk::compress(&[VERSION + 1, 0], 1).unwrap();
        let empty = zstd::bulk::compress(&[], 1).unwrap();
        // A frame of one segment that says it holds 2^62 bytes.
        let huge = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1u64 << 62).to_le_bytes(), &[1, 0, 0]];
        for bytes in [&b""[..], b"nonsense", &flipped, &other_version, &empty, &huge.concat()] {
            assert!(matches!(unpacked(bytes), Err(FormatError::Damaged(_))), "{bytes:?}");
        }
        for end in 0..sound.len() {
            assert!(unpacked(&sound[..end]).is_err(), "{end}");
        }
        assert!(unpacked(&sound).is_ok());
    }
}
