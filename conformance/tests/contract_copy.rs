//! The suite carries a copy of the contract, so that it can be packaged. It must be the project's.

use std::fs;
use std::path::Path;

#[test]
fn the_packaged_contract_is_the_projects() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packaged = fs::read_to_string(here.join("contract.md")).unwrap();
    let original = fs::read_to_string(here.join("../docs/contract.md")).unwrap();
    assert!(packaged == original, "copy docs/contract.md to conformance/contract.md");
}
