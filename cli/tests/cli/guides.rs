//! Each sample of docs/import.md and docs/export.md is a test: its files, its commands and what they
//! print.

use std::process::Command;

use crate::support::Place;

/// A fenced block: what follows the fence, and its text.
struct Block<'a> {
    info: &'a str,
    text: String,
}

/// The blocks under each heading.
fn sections(guide: &str) -> Vec<(&str, Vec<Block<'_>>)> {
    let mut sections = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            sections.push((line, Vec::new()));
        } else if let Some(info) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```");
            let text = text.flat_map(|line| [line, "\n"]).collect();
            if let Some((_, blocks)) = sections.last_mut() {
                blocks.push(Block { info, text });
            }
        }
    }
    sections
}

/// Runs a line of a `console` block in a shell, with the program on its path.
fn run(place: &Place, line: &str) -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_annals"));
    let path =
        format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(place.path("")).env("PATH", path);
    command.env_remove("ANNALS_BACKEND").env_remove("RUST_LOG");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!("{}{}", text(output.stderr), text(output.stdout))
}

/// Runs the samples of a page and returns how many commands there were. Each section has its own
/// folder, unless all `share` one.
fn follow(guide: &str, share: bool) -> u32 {
    let mut commands = 0;
    let mut place = Place::new();
    for (heading, blocks) in sections(guide) {
        if !share {
            place = Place::new();
        }
        for Block { info, text } in blocks {
            if let Some((_, name)) = info.split_once(' ') {
                place.write(name, text);
            } else if info == "console" {
                for step in text.split("$ ").skip(1) {
                    let (line, expected) = step.split_once('\n').unwrap();
                    assert_eq!(run(&place, line), expected, "{heading}: {line}");
                    commands += 1;
                }
            }
        }
    }
    commands
}

#[test]
fn each_sample_of_an_import_prints_what_it_shows() {
    let commands = follow(include_str!("../../../docs/import.md"), false);
    assert!(commands > 20, "{commands} commands were found");
}

#[test]
fn each_sample_of_an_output_prints_what_it_shows() {
    let commands = follow(include_str!("../../../docs/export.md"), true);
    assert!(commands > 10, "{commands} commands were found");
}
