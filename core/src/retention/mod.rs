//! Sweeps that let go what a policy does not keep.

mod policy;
mod sweep;

#[cfg(test)]
mod tests;

pub use policy::RetentionPolicy;
pub use sweep::{Retention, RetentionHandle, RetentionStats};
