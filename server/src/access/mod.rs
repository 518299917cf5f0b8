//! Who asks, and what they may see.

mod reader;

pub(crate) use reader::Reader;
