//! Maps for the way of every row.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// A hash map that hashes short keys in a fraction of the time that the standard library's takes. It
/// is seeded at random for each map, so that names that collide cannot be chosen beforehand.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// A set of the same kind.
pub(crate) type Set<K> = HashSet<K, RandomState>;
