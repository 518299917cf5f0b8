//! Why forwarding ends.

use crate::error::PersistenceError;

/// Why forwarding cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The source does not number what arrives, or does not know batches again.
    #[error(
        "this source cannot be forwarded: it has to claim complete_follow and idempotent_batches, as \
         the built-in backends do"
    )]
    Source,
    /// The destination may store a batch twice or in part.
    #[error(
        "nothing can be forwarded to this destination: it has to claim atomic_batches and \
         idempotent_batches, as the built-in backends do"
    )]
    Destination,
    /// The source was forwarded under this name, but not to this destination.
    #[error(
        "the destination does not have what was forwarded before under the name \"{name}\": each \
         destination needs a name of its own. If this one was put back from an older copy, forget the \
         forwarder and begin with rows from the time of that copy on (those that are there already would \
         be there twice: erase them first)"
    )]
    AnotherDestination {
        /// The name.
        name: String,
    },
    /// The source was put back from an older copy: the destination has batches of it that the source
    /// does not know, or it was restored more than once since it was forwarded. Numbers may have been
    /// given a second time, so it is unknown which of its rows the destination lacks. Nothing was
    /// forwarded.
    #[error(
        "the source is not the one that was forwarded under the name \"{name}\": it was put back from an \
         older copy, or restored twice, and which of its rows are missing in the destination cannot be \
         told; give a time, and rows from then on are forwarded (those that are there already would be \
         there twice: erase them first), or give another name and forward everything to an empty \
         destination"
    )]
    PutBack {
        /// The name.
        name: String,
    },
    /// Under this name another pattern is forwarded.
    #[error(
        "under the name \"{name}\" the pattern \"{pattern}\" is forwarded: give the same pattern, or \
         another name"
    )]
    AnotherPattern {
        /// The name.
        name: String,
        /// The pattern that it was begun with.
        pattern: String,
    },
    /// What the source keeps about its progress cannot be read.
    #[error("the record \"{record}\" of the source does not say what was forwarded")]
    Damaged {
        /// The record.
        record: String,
    },
    /// A store failed, and repeating the call does not help.
    #[error(transparent)]
    Store(#[from] PersistenceError),
}
