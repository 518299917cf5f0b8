//! What is to be seen of the connections.

/// One pool of connections, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// What its connections are for.
    pub purpose: PoolPurpose,
    /// How many connections there may be.
    pub limit: usize,
    /// How many there are.
    pub open: usize,
    /// How many of them nobody uses.
    pub idle: usize,
    /// How many operations wait for one.
    pub waiting: usize,
}

/// What the connections of a pool are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolPurpose {
    /// Storing, and nothing else.
    Write,
    /// Queries (unless they have a server of their own), listings and sweeps.
    Read,
    /// Queries at the server of `read_url`.
    Replica,
}

impl PoolPurpose {
    /// `write`, `read` or `replica`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Replica => "replica",
        }
    }
}
