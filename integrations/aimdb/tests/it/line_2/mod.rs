//! AimDB 2.x.

// With both lines enabled each case is compiled twice, on purpose.
#![allow(clippy::duplicate_mod)]

mod example;
mod line;
#[cfg(feature = "contracts")]
mod migrations;
mod mistakes;
#[cfg(feature = "_test-aimdb-2")]
mod websocket;
#[cfg(feature = "_test-aimdb-2")]
mod wire;

#[path = "../cases/aggregate.rs"]
mod aggregate;
#[path = "../cases/burst.rs"]
mod burst;
#[path = "../cases/end.rs"]
mod end;
#[path = "../cases/faults.rs"]
mod faults;
#[path = "../cases/filters.rs"]
mod filters;
#[path = "../cases/first_values.rs"]
mod first_values;
#[path = "../cases/kinds.rs"]
mod kinds;
#[path = "../cases/outage.rs"]
mod outage;
#[path = "../cases/queries.rs"]
mod queries;
#[path = "../cases/steady.rs"]
mod steady;
