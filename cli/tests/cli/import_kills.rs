//! An import that is killed anywhere and repeated stores each row once.

use crate::kills::{each_row_is_stored_once, kills};
use crate::support::{FILES, Place};

#[test]
fn an_import_that_is_killed_anywhere_stores_each_row_once() {
    for backend in FILES {
        let place = Place::new();
        each_row_is_stored_once(&place, backend, kills(4));
    }
}
