//! What keeps clients from taking the room of others: memory for bodies and rows, and room for
//! queries.

mod limited;
mod memory;
mod queries;

pub(crate) use limited::limited;
pub(crate) use memory::{BodyRoom, Memory};
pub(crate) use queries::{Kind, Queries, Slot};
