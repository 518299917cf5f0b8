//! Seals: eight bytes behind a frame that depend on its bytes and on the place where it belongs.
//!
//! A frame that was changed no longer has its seal, and neither has one that stands in another's place.

use twox_hash::XxHash3_64;
use zstd::zstd_safe::get_frame_content_size;

use super::{FormatError, columns};
use crate::ids::RunId;

/// The length of a seal.
const SEAL: usize = 8;

/// What a frame may take before compression beyond its rows.
pub const FRAME_BYTES: u64 = 64 << 10;

/// Where bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The state of the store.
    State,
    /// The block of the head with this number.
    Head(u64),
    /// The index of a run.
    Index(RunId),
    /// A run's block, by its number.
    Block(RunId, u32),
}

impl Place {
    fn seed(self) -> u64 {
        let (kind, one, other) = match self {
            Self::State => (0, 0, 0),
            Self::Head(number) => (1, number, 0),
            Self::Index(run) => (2, run, 0),
            Self::Block(run, number) => (3, run, number),
        };
        let mut place = [kind; 13];
        place[1..9].copy_from_slice(&one.to_le_bytes());
        place[9..].copy_from_slice(&other.to_le_bytes());
        XxHash3_64::oneshot(&place)
    }

    fn seal(self, bytes: &[u8]) -> [u8; SEAL] {
        XxHash3_64::oneshot_with_seed(self.seed(), bytes).to_le_bytes()
    }
}

/// The bytes with their seal.
pub fn seal(place: Place, bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(bytes.len() + SEAL);
    sealed.extend_from_slice(bytes);
    sealed.extend_from_slice(&place.seal(bytes));
    sealed
}

/// The bytes without their seal.
///
/// # Errors
/// [`FormatError::Damaged`] if it is not the seal of these bytes at this place.
pub fn unseal(place: Place, sealed: &[u8]) -> Result<&[u8], FormatError> {
    match sealed.split_last_chunk::<SEAL>() {
        Some((bytes, seal)) if *seal == place.seal(bytes) => Ok(bytes),
        _ => Err(FormatError::Damaged("its bytes have changed, or belong elsewhere")),
    }
}

/// The size of a frame's content, as the frame says.
pub fn content_size(frame: &[u8]) -> Option<u64> {
    get_frame_content_size(frame).ok().flatten()
}

/// Refuses a frame whose content would be larger than `most` bytes, before memory is taken for it.
///
/// # Errors
/// [`FormatError::Damaged`].
pub fn check_size(frame: &[u8], most: u64) -> Result<(), FormatError> {
    // A block in columns bounds its sizes itself.
    if frame.first() == Some(&columns::VERSION) {
        return Ok(());
    }
    match content_size(frame) {
        Some(size) if size <= most => Ok(()),
        _ => Err(FormatError::Damaged("it is larger than it can be")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_bytes_at_its_place_only() {
        let places = [
            Place::State,
            Place::Head(1),
            Place::Head(1 << 32),
            Place::Index(1),
            Place::Block(1, 0),
            Place::Block(0, 1),
            Place::Block(1 << 32, 1),
        ];
        for place in places {
            for bytes in [&b""[..], b"x", &[7; 1_000]] {
                let sealed = seal(place, bytes);
                for other in places {
                    let read = unseal(other, &sealed);
                    assert_eq!(read.is_ok(), other == place, "{place:?} as {other:?}");
                }
                assert_eq!(unseal(place, &sealed).unwrap(), bytes);
                let mut flipped = sealed.clone();
                flipped[sealed.len() / 2] ^= 4;
                assert!(unseal(place, &flipped).is_err());
                assert!(unseal(place, &sealed[..sealed.len() - 1]).is_err());
            }
        }
    }

    /// 65 kB became 2.1 GB.
    #[test]
    fn a_frame_of_any_size_is_refused_beyond_what_it_may_be() {
        let huge = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        assert!(huge.len() < 8 << 10);
        assert!(check_size(&huge, 64 << 20).is_ok());
        assert!(check_size(&huge, (64 << 20) - 1).is_err());
        assert!(check_size(b"nonsense", u64::MAX).is_err());
    }
}
