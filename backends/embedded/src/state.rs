//! What a store says about itself: the next ids, the range of the head, and sums over the small tables.
//!
//! An identity tells one history from another: a random number that a store gets when it is created, and
//! a new one when it is restored from a backup, where numbers of blocks are given a second time.
//!
//! A [`Sum`] has the number of a table's entries and the sum of their hashes. It changes with each entry
//! that is added or removed, whatever their order, so keeping it costs nothing, and a table that lost,
//! gained or changed an entry no longer has it. The state is [sealed](crate::format::seal) and stored in
//! every transaction that changes it.

use annals_core::{BackendError, ErrorKind, Origin, Result};
use twox_hash::XxHash3_128;

use crate::format::{FormatError, Place, seal, unseal};
use crate::ids::{RecordId, Run, RunId};

/// The version of the encoding.
const VERSION: u8 = 2;

/// The version that has no identity.
const WITHOUT_IDENTITY: u8 = 1;

/// The number of a table's entries, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sum {
    count: u64,
    hash: u128,
}

impl Sum {
    /// The number of entries.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn add(&mut self, hash: u128) {
        self.count = self.count.wrapping_add(1);
        self.hash = self.hash.wrapping_add(hash);
    }

    fn subtract(&mut self, hash: u128) {
        self.count = self.count.wrapping_sub(1);
        self.hash = self.hash.wrapping_sub(hash);
    }

    /// Counts a name.
    pub fn add_name(&mut self, name: &str, record: RecordId) {
        self.add(name_hash(name, record));
    }

    pub(crate) fn remove_name(&mut self, name: &str, record: RecordId) {
        self.subtract(name_hash(name, record));
    }

    /// Counts a run.
    pub fn add_run(&mut self, run: &Run) {
        self.add(run_hash(run));
    }

    pub(crate) fn remove_run(&mut self, run: &Run) {
        self.subtract(run_hash(run));
    }

    /// Counts a writer.
    pub fn add_writer(&mut self, writer: u128, last: LastBatch) {
        self.add(writer_hash(writer, last));
    }

    pub(crate) fn remove_writer(&mut self, writer: u128, last: LastBatch) {
        self.subtract(writer_hash(writer, last));
    }
}

fn name_hash(name: &str, record: RecordId) -> u128 {
    XxHash3_128::oneshot_with_seed(u64::from(record), name.as_bytes())
}

fn run_hash(run: &Run) -> u128 {
    let Run { id, order, rows, first, last, bytes, sealed } = *run;
    let part = u64::from(order.part) << 1 | u64::from(sealed);
    XxHash3_128::oneshot_with_seed(id, &numbers([order.head, part, rows, first, last, bytes]))
}

fn writer_hash(writer: u128, last: LastBatch) -> u128 {
    let [high, low] = [(writer >> 64) as u64, writer as u64];
    XxHash3_128::oneshot(&numbers([high, low, last.number, last.block]))
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The last batch of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastBatch {
    /// Its number.
    pub number: u64,
    /// The number of the head's block that was next when it was stored. It orders writers by their last
    /// use.
    pub block: u64,
}

/// What a store says about itself.
///
/// No number is allocated twice, because decoded blocks are cached by these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The identity of the history; 0 until the file is opened for writing.
    pub history: u64,
    /// Where the history comes from, if it was restored from a backup.
    pub origin: Option<Origin>,
    /// The next record's id.
    pub next_record: u64,
    /// The next block's number.
    pub next_block: u64,
    /// The next run's id.
    pub next_run: u64,
    /// The number of the head's first block; that of the next block if the head is empty. The head has
    /// every block in between.
    pub head: u64,
    /// The size of the largest block that the head ever had, before compression.
    pub largest_block: u64,
    /// The names.
    pub names: Sum,
    /// The runs.
    pub runs: Sum,
    /// The writers.
    pub writers: Sum,
}

/// How a state says that it was not restored.
const NO_ORIGIN: Origin = Origin { history: 0, arrival: 0, restores: 0 };

impl State {
    /// The state of an empty store.
    pub const FIRST: Self = {
        let empty = Sum { count: 0, hash: 0 };
        Self {
            history: 0,
            origin: None,
            next_record: 1,
            next_block: 1,
            next_run: 1,
            head: 1,
            largest_block: 0,
            names: empty,
            runs: empty,
            writers: empty,
        }
    };

    /// Gives the history an identity, unless it has one.
    pub fn identify(&mut self) {
        if self.history == 0 {
            self.history = fastrand::u64(1..);
        }
    }

    /// Gives a copy another identity than the history it was made from.
    pub fn renew_identity(&mut self) {
        let restores = self.origin.map_or(1, |origin| origin.restores.saturating_add(1));
        let copied = Origin { history: self.history, arrival: self.last_block(), restores };
        self.history = 0;
        self.identify();
        self.origin = (copied.history != 0).then_some(copied);
    }

    /// The number of the last block that was appended to the head, 0 if there was none.
    pub fn last_block(&self) -> u64 {
        self.next_block.saturating_sub(1)
    }

    /// The numbers of the head's first and last block, if it has any.
    pub fn head_bounds(&self) -> Option<(u64, u64)> {
        (self.head < self.next_block).then(|| (self.head, self.next_block - 1))
    }

    /// Allocates a record id.
    pub(crate) fn allocate_record(&mut self, engine: &'static str) -> Result<RecordId> {
        let id = RecordId::try_from(self.next_record).map_err(|_| {
            BackendError::new(engine, "store", ErrorKind::Other, "all record ids are used up")
        })?;
        self.next_record += 1;
        Ok(id)
    }

    pub(crate) fn allocate_block(&mut self) -> u64 {
        self.next_block += 1;
        self.next_block - 1
    }

    pub(crate) fn allocate_run(&mut self) -> RunId {
        self.next_run += 1;
        self.next_run - 1
    }

    /// The bytes that an engine stores.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let Self { next_record, next_block, next_run, head, largest_block, .. } = *self;
        bytes.extend(numbers([next_record, next_block, next_run, head, largest_block]));
        for sum in [self.names, self.runs, self.writers] {
            bytes.extend(sum.count.to_le_bytes());
            bytes.extend(sum.hash.to_le_bytes());
        }
        let origin = self.origin.unwrap_or(NO_ORIGIN);
        bytes.extend(numbers([self.history, origin.history, origin.arrival, origin.restores]));
        seal(Place::State, &bytes)
    }

    /// Reads what [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let damaged = || FormatError::Damaged("the state of the store has another version");
        let (version, content) = unseal(Place::State, bytes)?.split_first().ok_or_else(damaged)?;
        let (numbers, rest) = content.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(damaged());
        }
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
        let (numbers, identity) = match (*version, numbers.split_last_chunk::<4>()) {
            (WITHOUT_IDENTITY, _) => (&numbers[..], [0; 4]),
            (VERSION, Some((numbers, identity))) => (numbers, *identity),
            _ => return Err(damaged()),
        };
        let sum = |[count, low, high]: [u64; 3]| Sum {
            count,
            hash: u128::from(high) << 64 | u128::from(low),
        };
        let numbers: [u64; 14] = numbers.try_into().map_err(|_| damaged())?;
        let [next_record, next_block, next_run, head, largest_block, a, b, c, d, e, f, g, h, i] =
            numbers;
        let [history, origin, arrival, restores] = identity;
        let origin = Origin { history: origin, arrival, restores };
        Ok(Self {
            history,
            origin: (origin != NO_ORIGIN).then_some(origin),
            next_record,
            next_block,
            next_run,
            head,
            largest_block,
            names: sum([a, b, c]),
            runs: sum([d, e, f]),
            writers: sum([g, h, i]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunOrder;

    fn state() -> State {
        let mut state = State { next_record: 2, next_block: 9, head: 4, ..State::FIRST };
        state.names.add_name("a", 1);
        state.writers.add_writer(u128::MAX - 5, LastBatch { number: 3, block: 8 });
        state.largest_block = 1 << 40;
        state.identify();
        state
    }

    #[test]
    fn a_state_comes_back_and_a_changed_one_does_not() {
        let state = state();
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes).unwrap(), state);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(State::decode(&flipped).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(State::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_state_without_an_identity_is_read() {
        let state = state();
        let encoded = state.encode();
        let content = unseal(Place::State, &encoded).unwrap();
        let before = [&[WITHOUT_IDENTITY], &content[1..113]].concat();
        let read = State::decode(&seal(Place::State, &before)).unwrap();
        assert_eq!(read, State { history: 0, ..state });
        let mut identified = read;
        identified.identify();
        let once = identified.history;
        identified.identify();
        assert!(once != 0 && identified.history == once);
    }

    #[test]
    fn a_copy_knows_where_it_comes_from() {
        let (mut one, mut other) = (state(), state());
        let restores = one.origin.map_or(1, |origin| origin.restores + 1);
        let origin = Origin { history: one.history, arrival: 8, restores };
        (other.history, other.origin) = (one.history, one.origin);
        one.renew_identity();
        other.renew_identity();
        assert_eq!([one.origin, other.origin], [Some(origin); 2]);
        assert!(one.history != other.history && one.history != origin.history);
        assert_eq!(State::decode(&one.encode()).unwrap(), one);
    }

    #[test]
    fn a_sum_depends_on_every_entry_and_not_on_their_order() {
        let (mut one, mut other) = (Sum::default(), Sum::default());
        one.add_name("a", 1);
        one.add_name("b", 2);
        other.add_name("b", 2);
        other.add_name("a", 1);
        assert_eq!(one, other);
        // Names that have changed their ids.
        let mut changed = Sum::default();
        changed.add_name("a", 2);
        changed.add_name("b", 1);
        assert_ne!(one, changed);
        one.remove_name("a", 1);
        one.remove_name("b", 2);
        assert_eq!(one, Sum::default());
    }

    #[test]
    fn every_field_of_a_run_counts() {
        let run = Run {
            id: 1,
            order: RunOrder { head: 2, part: 0 },
            rows: 3,
            first: 4,
            last: 5,
            bytes: 6,
            sealed: true,
        };
        let part = RunOrder { head: 2, part: 1 };
        let head = RunOrder { head: 3, part: 0 };
        let changed = [
            Run { id: 2, ..run },
            Run { order: part, ..run },
            Run { order: head, ..run },
            Run { rows: 4, ..run },
            Run { first: 3, ..run },
            Run { last: 6, ..run },
            Run { bytes: 7, ..run },
            Run { sealed: false, ..run },
        ];
        for other in changed {
            assert_ne!(run_hash(&run), run_hash(&other), "{other:?}");
        }
    }
}
