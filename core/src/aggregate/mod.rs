//! Aggregates: a question about history enters, buckets leave.
//!
//! [`Aggregate`] is the question and [`Bucket`] the answer; the other types are for backends that
//! compute buckets themselves. The semantics are in `docs/contract.md`, sections SAMPLE, BUCKET,
//! FUNCTION, FILL and GROUP.
//!
//! 1. [`Plan`] checks the question and resolves window, time zone and functions.
//! 2. A [`Series`] takes what is known of one record, oldest first: rows as text, samples, or
//!    [`Partial`]s of many rows at once.
//! 3. [`Series::finish`] makes buckets of it: values that reach into a bucket, filling, order.
//!
//! Buckets leave one by one ([`Bucket`]) or, where there are many small ones, in columns ([`BucketColumns`]).
//!
//! [`BucketStream::fold`] does this for any stream of rows, and is what
//! [`aggregate_stream`](crate::PersistenceBackend::aggregate_stream) does by default.

mod bucket;
mod columns;
mod finish;
mod flat;
mod function;
mod locator;
mod member;
mod partial;
mod path;
mod percentile;
mod plan;
mod series;
mod spec;
mod spread;
mod stream;
mod sum;
mod width;

pub use bucket::{Bucket, BucketValue};
pub use columns::{BucketColumns, BucketPage};
pub use function::Function;
pub use locator::{Locator, Span};
pub use member::{Found, Member, State};
pub use partial::Partial;
pub use path::Sample;
pub use percentile::Percentile;
pub use plan::{MAX_BUCKETS, Needs, Plan};
pub use series::Series;
pub use spec::{Aggregate, Fill, Interpolation};
pub use stream::{BucketStream, by_rows};
pub use width::Width;

#[cfg(test)]
mod tests;
