//! The integration against the published AimDB crates: every case runs on each enabled line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "aimdb-1")]
mod line_1;
#[cfg(feature = "aimdb-2")]
mod line_2;

mod fixture;
