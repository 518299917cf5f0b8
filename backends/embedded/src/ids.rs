//! Numbers that stand for records and runs, and what is known of a run.

/// The number that stands for a record's name. It is never reused for another name.
pub type RecordId = u32;

/// The number of a run. It is never reused for another run.
pub type RunId = u64;

/// The entry of a run in the table of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Its position among the runs in order of arrival.
    pub order: RunOrder,
    /// The number of its rows.
    pub rows: u64,
    /// The smallest time in it, in Unix milliseconds.
    pub first: u64,
    /// The greatest time in it, in Unix milliseconds.
    pub last: u64,
    /// The size of its values before compression.
    pub bytes: u64,
    /// Whether its index and blocks are [sealed](crate::format::seal). Those of schema version 3 are not.
    pub sealed: bool,
}

/// The order of arrival among runs. Of two rows with the same record and time, the one in the run
/// with the greater order arrived later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunOrder {
    /// The last block of the head whose rows it contains.
    pub head: u64,
    /// 0 for the older rows, 1 for the newest rows of each record where a run was split.
    pub part: u8,
}

/// The number of the block of a run that says when its rows arrived. No other block has it: a run has
/// fewer rows.
pub const ARRIVALS: u32 = u32::MAX;
