//! One table.

use super::{Kind, Layout};

#[derive(Debug)]
pub(super) struct Plain;

impl Layout for Plain {
    fn kind(&self) -> Kind {
        Kind::Plain
    }
}
