//! The shared part of the embedded engines of annals.
//!
//! An engine provides tables: a [`Writer`], which runs transactions on a thread of its own, and
//! [`Snapshot`]s, which read one state of the store. [`Embedded`] turns them into a
//! [`PersistenceBackend`](annals_core::PersistenceBackend). The write path, the read path and the
//! meaning of the bytes are the same for every engine:
//!
//! * `write`: one thread commits everything that waits in its queue as one transaction and one block
//!   of the head, so batches form by themselves under load.
//! * `head`: the unsorted level in memory, shared by the writer and all readers.
//! * `compaction`: one thread flushes the head into sorted runs, merges runs, and removes expired
//!   rows. It works from snapshots and gives the writer short transactions.
//! * `read`: queries merge the head and the runs of one snapshot, page by page, on a pool of threads.
//!   Between two pages a stream holds a snapshot and no thread.
//! * `follow`: what arrived behind a position, from runs and the head.
//! * [`format`](mod@format): encoding and decoding of blocks and run indexes.
//!
//! * `reserve`: space that is kept back, so that a full disk can be cleaned up.
//!
//! Nothing here needs an async runtime or blocks one.
//!
//! ```
//! use annals_embedded::format::{Block, Layout, flush};
//!
//! // Two transactions in the order of arrival become one sorted run.
//! let (mut first, mut second) = (Block::new(), Block::new());
//! first.push(7, 1_740_081_234_000, "21.5");
//! first.push(1, 1_740_081_234_003, "null");
//! second.push(7, 1_740_081_233_000, "21.4");
//! let runs = flush([&first, &second], &|record| record, &Layout::default(), false)?;
//! let run = runs.main.unwrap();
//! let rows = Block::decode(&run.blocks[0])?;
//! assert_eq!(rows.iter().map(|row| row.2).collect::<Vec<_>>(), ["null", "21.4", "21.5"]);
//! # Ok::<(), annals_embedded::format::FormatError>(())
//! ```

mod backend;
mod compaction;
mod config;
mod coordination;
mod engine;
mod error;
mod follow;
pub mod format;
mod head;
mod ids;
mod new_file;
mod open_file;
mod read;
mod reserve;
mod state;
mod survey;
mod thread;
mod tuning;
mod write;

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

pub use backend::Embedded;
pub use compaction::{Conversion, adopt};
pub use config::{EmbeddedConfig, choose, timeout};
pub use coordination::Compacted;
pub use engine::{Engine, ExternalChange, Snapshot, Tables, Transaction, Visit, VisitName, Writer};
pub use error::{contain, is_full};
pub use ids::{ARRIVALS, RecordId, Run, RunId, RunOrder};
pub use new_file::{NewFile, beside, check_new_name, remove_unfinished_files};
pub use open_file::{FileIdentity, OpenFile};
pub use reserve::{Reserve, free_space};
pub use state::{LastBatch, State, Sum};
pub use survey::{Damage, Report, VisitRows, survey};
#[doc(hidden)]
pub use tuning::Tuning;

/// A hash map for the path of every row: faster than the default for short keys, and seeded at
/// random, so collisions cannot be prepared in advance.
type Map<K, V> = HashMap<K, V, RandomState>;

/// A set of the same kind.
type Set<K> = HashSet<K, RandomState>;
