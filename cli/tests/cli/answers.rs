//! Every command of docs/answers.md prints what the page says.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::support::{FILES, Place};

#[test]
fn the_page_about_answers_is_what_the_program_prints() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = std::fs::read_to_string(docs.join("answers.md")).unwrap();
    let rows = std::fs::read_to_string(docs.join("answers.ndjson")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_annals")).parent().unwrap();
    let path = format!("{}:{}", program.display(), env::var("PATH").unwrap());
    for backend in FILES {
        let place = Place::new();
        place.run_with_input(&["--backend", backend, "import"], &rows);
        let mut questions = 0;
        for block in page.split("```console\n$ ").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            let (command, printed) = block.split_once('\n').unwrap();
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).current_dir(place.path("."));
            shell.env("PATH", &path).env("ANNALS_BACKEND", backend).env_remove("COLUMNS");
            let output = shell.output().unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            assert_eq!(text(output.stderr), "", "{command}");
            assert_eq!(text(output.stdout), printed, "{backend}: {command}");
            questions += 1;
        }
        assert!(questions >= 10, "{questions}");
    }
}
