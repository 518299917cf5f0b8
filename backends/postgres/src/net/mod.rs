//! Connections: hosts, passwords and TLS go in, pooled sessions come out.
//!
//! [`Pools`] keeps one pool for storing, one for everything else and one for a read replica. A
//! [`Session`] is a connection in use: every step on it has a limit, and it returns to its pool only
//! when nothing is under way on it.

mod connector;
mod hosts;
mod password;
mod pool;
mod role;
mod session;
mod tls;
mod verifiers;

pub(crate) use pool::Pools;
pub use pool::{PoolPurpose, PoolState};
pub(crate) use session::{Parameter, Session, first_column, int8, int8s};
