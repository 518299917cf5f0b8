//! Records that start with their newest stored value. A program of its own: in a debug build AimDB
//! treats a thousand records in one process as a mistake.
#![allow(clippy::unwrap_used, clippy::duplicate_mod, dead_code)]

#[path = "../it/fixture.rs"]
mod fixture;

#[cfg(feature = "aimdb-1")]
mod line_1;
#[cfg(feature = "aimdb-2")]
mod line_2;
