//! Kills imports at random places of their input.

use std::io::Write;
use std::process::Stdio;

use crate::support::Place;

const ROWS: u64 = 20_000;

/// How many kills: ANNALS_IMPORT_KILLS, or `default`.
pub(crate) fn kills(default: usize) -> usize {
    let set = std::env::var("ANNALS_IMPORT_KILLS").ok();
    set.map_or(default, |text| text.parse().unwrap())
}

/// Rows of which several have the same record, time and value: each counts.
fn file() -> String {
    (0..ROWS)
        .map(|n| {
            let (record, value, at) = (n % 7, n % 3, 1_779_006_600_000 + n / 20);
            format!("{{\"record\":\"r{record}\",\"value\":{{\"n\":{value}}},\"stored_at\":{at}}}\n")
        })
        .collect()
}

/// Places in the input from its beginning to its end, in order, so that each import gets further.
fn places(kills: usize, bytes: usize) -> Vec<usize> {
    // A small generator (Knuth's MMIX): the places are the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut places: Vec<usize> = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * bytes as u128) >> 64) as usize
    })
    .take(kills)
    .collect();
    places.sort_unstable();
    places
}

/// Imports the file through a pipe. Each time the program is killed when it has been given the input
/// up to a place: it has read all but what a pipe holds, and is at work on it.
pub(crate) fn each_row_is_stored_once(place: &Place, backend: &str, kills: usize) {
    let file = file();
    let args = ["import", "--resume", "--backend", backend];
    for end in places(kills, file.len()) {
        let mut command = place.command(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&file.as_bytes()[..end]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let run = place.run_with_input(&args, &file).noted();
    assert!(run.out.contains(" stored"), "{run:?}");
    // From the file itself, the import knows all of it as well.
    let run = place.run_with_input(&args, &file).noted();
    assert_eq!(run.out, format!("0 rows stored, {ROWS} already there\n"));
    let exported = place.run(&["export", "--backend", backend]).ok().out;
    let mut expected: Vec<&str> = file.lines().collect();
    // By record, then time; rows of one time in their order.
    expected.sort_by_key(|line| (line[..14].to_owned(), line.split_once("stored_at").unwrap().1));
    let exported: Vec<&str> = exported.lines().collect();
    assert_eq!(exported.len(), expected.len(), "{backend}");
    assert!(exported == expected, "{backend}: the rows differ");
}
