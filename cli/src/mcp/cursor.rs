//! The cursor of a page: the position where it ended, as text.

use annals::bytes::{fnv1a, from_hexadecimal, hexadecimal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The last row that was returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) record: String,
    pub(super) stored_at: u64,
    /// The number of rows of the record with this time that were returned, in all pages.
    pub(super) at_this_time: u64,
    /// The number of rows of the record that were returned, in all pages.
    pub(super) of_record: u64,
    /// The window of the first page: an age such as `24h` is another time now.
    pub(super) window: (Option<u64>, Option<u64>),
}

#[derive(Serialize, Deserialize)]
struct Bound<P> {
    /// The fingerprint of the question that it continues.
    question: u64,
    position: P,
}

/// Makes a cursor of a position in the answer to `question`.
pub(super) fn write<P: Serialize>(
    question: &impl Serialize,
    position: P,
) -> Result<String, String> {
    let bound = Bound { question: fingerprint(question)?, position };
    let json = serde_json::to_vec(&bound).map_err(|error| error.to_string())?;
    // Names may contain characters that are lost in copying; hexadecimal digits are not.
    Ok(hexadecimal(&json))
}

/// Reads a cursor that was made for `question`.
pub(super) fn read<P: DeserializeOwned>(
    question: &impl Serialize,
    cursor: &str,
) -> Result<P, String> {
    let Bound { question: made_for, position } =
        decode(cursor).ok_or("`cursor` is not a cursor of this server")?;
    if made_for == fingerprint(question)? {
        Ok(position)
    } else {
        Err("`cursor` belongs to another question: repeat all other parameters as they were, or \
             begin without a cursor"
            .to_owned())
    }
}

fn decode<P: DeserializeOwned>(cursor: &str) -> Option<Bound<P>> {
    serde_json::from_slice(&from_hexadecimal(cursor)?).ok()
}

/// The same in every build, so that a cursor outlives its process. It need not be hard to forge,
/// since a cursor gives access to nothing more than the tools do.
fn fingerprint(question: &impl Serialize) -> Result<u64, String> {
    let text = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    Ok(fnv1a(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_for_its_question_only() {
        let position = Position {
            record: "a\n\u{202e}é".to_owned(),
            stored_at: u64::MAX,
            at_this_time: 2,
            of_record: 3,
            window: (None, Some(7)),
        };
        let cursor = write(&"a question", position.clone()).unwrap();
        assert_eq!(read::<Position>(&"a question", &cursor).unwrap(), position);
        let refusal = read::<Position>(&"another", &cursor).unwrap_err();
        assert!(refusal.contains("another question"), "{refusal}");
        for cursor in ["", "7b", "zz", "7", "é", &cursor[2..]] {
            let refusal = read::<Position>(&"a question", cursor).unwrap_err();
            assert!(refusal.contains("not a cursor"), "{cursor}: {refusal}");
        }
    }
}
