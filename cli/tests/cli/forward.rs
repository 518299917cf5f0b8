//! `annals forward`: each row once, whatever is killed or away.

use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{FILES, Place, Run, Stderr, signal};

const EDGE: &str = "sqlite:edge.db";
const CLOUD: &str = "sqlite:cloud.db";

fn forward(place: &Place, to: &str, more: &[&str]) -> Run {
    place.run(&[&["forward", "--from", EDGE, "--to", to], more].concat())
}

fn spawn(place: &Place, to: &str, more: &[&str]) -> Child {
    let mut command = place.command(&[&["forward", "--from", EDGE, "--to", to], more].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What both ends have of the records that are forwarded.
fn agree(place: &Place, to: &str) {
    let rows = |url: &str| place.run(&["export", "r*", "--backend", url]).ok().out;
    let (here, there) = (rows(EDGE), rows(to));
    assert_eq!(there.lines().count(), here.lines().count(), "{to}");
    assert!(there == here, "{to}: the rows differ");
}

fn rows(place: &Place, batches: u64, from: u64) {
    for batch in 0..batches {
        let input: String = (0..200_u64)
            .map(|n| {
                // Late ones, and several with the same record, time and value.
                let (record, value, at) = (n % 7, n % 3, 1_779_006_600_000 + n / 20 - from % 1_000);
                format!(
                    "{{\"record\":\"r{record}\",\"value\":[{value},{batch}],\"stored_at\":{at}}}\n"
                )
            })
            .collect();
        let run = place.run_with_input(&["import", "--backend", EDGE], input).noted();
        assert_eq!(run.out, "200 rows stored\n");
    }
}

#[test]
fn what_arrived_is_forwarded_once_and_to_each_destination() {
    let place = Place::new();
    place.import(EDGE, &[("r1", "1.50e+02", 7), ("r2", "{ \"a\" : 1 }", 7), ("r1", "2", 3)]);
    let once = |to: &str, more: &[&str], said: &str| {
        let run = forward(&place, to, &[&["--once"], more].concat());
        assert_eq!((run.code, &*run.out, &*run.err), (Some(0), "", said));
    };
    once(CLOUD, &[], "3 rows forwarded in 1 batch; both ends agree\n");
    agree(&place, CLOUD);
    once(CLOUD, &[], "0 rows forwarded in 0 batches; both ends agree\n");
    place.import(EDGE, &[("r1", "0", 0)]);
    once(CLOUD, &[], "1 row forwarded in 1 batch; both ends agree\n");
    agree(&place, CLOUD);
    // Another destination and another pattern need another name.
    let other = FILES[1];
    forward(&place, other, &["--once"]).refused(1, "needs a name of its own");
    forward(&place, CLOUD, &["r1", "--once"]).refused(2, "give the same pattern, or another name");
    once(other, &["r1", "--name", "other"], "3 rows forwarded in 1 batch; both ends agree\n");
    assert_eq!(place.rows(other).len(), 3);
    forward(&place, EDGE, &[]).refused(2, "are the same");
    let (scheme, file) = EDGE.split_once(':').unwrap();
    let absolute = format!("{scheme}:{}", place.path(file).display());
    forward(&place, &absolute, &["--name", "itself", "--once"]).refused(2, "are the same");
    std::fs::hard_link(place.path(file), place.path("linked")).unwrap();
    let linked = format!("{scheme}:linked");
    forward(&place, &linked, &["--name", "itself", "--once"]).refused(2, "are the same");
    std::fs::remove_file(place.path("linked")).unwrap();
    forward(&place, CLOUD, &["--backend", CLOUD]).refused(2, "leave --backend out");
    forward(&Place::new(), CLOUD, &[]).refused(1, "there is no history");
    // What has not been sent stays, wherever it lies.
    place.import(EDGE, &[("r9", "1", 4_000_000_000_000)]);
    let cleanup = ["--backend", EDGE, "cleanup", "--newer-than", "0s", "--yes"];
    let run = place.run(&cleanup);
    assert_eq!(run.out, "0\n");
    assert!(run.err.contains("has not sent them"), "{run:?}");
    once(CLOUD, &[], "1 row forwarded in 1 batch; both ends agree\n");
    assert_eq!(place.run(&cleanup).out, "1\n");
    // The row by which the source knows its forwarder lies in the future.
    let cleanup = ["--backend", EDGE, "cleanup", "--newer-than", "0s", "--yes"];
    assert_eq!(place.run(&cleanup).ok().out, "0\n");
    once(CLOUD, &[], "0 rows forwarded in 0 batches; both ends agree\n");
}

#[test]
fn rows_are_forwarded_as_they_arrive_until_ctrl_c() {
    let place = Place::new();
    place.import(EDGE, &[("r1", "1", 1)]);
    let mut child = spawn(&place, CLOUD, &["--report", "10ms"]);
    let mut said = Stderr::of(&mut child);
    said.wait_for("1 row forwarded in 1 batch; both ends agree");
    place.import(EDGE, &[("r1", "2", 2), ("r2", "2", 2)]);
    said.wait_for("3 rows forwarded in 2 batches; both ends agree");
    forward(&place, CLOUD, &["--once"]).refused(1, "both would send what arrives");
    let rest = said.rest();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rest.join().unwrap();
    agree(&place, CLOUD);
}

#[test]
fn a_forwarder_that_is_killed_anywhere_forwards_each_row_once() {
    let place = Place::new();
    rows(&place, 20, 0);
    // A small generator (Knuth's MMIX), so that the times differ from kill to kill.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let slow = ["--rate", "2000", "--batch-rows", "100", "--report", "10ms"];
    for kill in 0..20_u64 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = spawn(&place, CLOUD, &slow);
        let mut said = Stderr::of(&mut child);
        if kill == 0 {
            // Not even on a busy machine do all kills come before a batch that is not sent again.
            said.wait_for_line("a second batch", |line| {
                line.contains("00 rows forwarded in ") && line.contains(" batches; ")
            });
        }
        let rest = said.rest();
        thread::sleep(Duration::from_millis(20 + (state >> 33) % (30 + 20 * kill)));
        child.kill().unwrap();
        child.wait().unwrap();
        rest.join().unwrap();
        if kill % 5 == 0 {
            rows(&place, 1, kill);
        }
    }
    let run = forward(&place, CLOUD, &["--once"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    agree(&place, CLOUD);
    let forwarded: usize = run.err.split(' ').next().unwrap().parse().unwrap();
    assert!(forwarded < 24 * 200, "no kill came after a batch: {run:?}");
}

/// A redb file that another program has open is one that is away.
#[test]
fn a_destination_that_is_away_is_tried_again() {
    let place = Place::new();
    let to = FILES[1];
    place.import(EDGE, &[("r1", "1", 1)]);
    forward(&place, to, &["--once"]);
    place.import(EDGE, &[("r1", "2", 2)]);
    let holder = ["query", "--backend", to, "*", "--follow", "--cursor-file", "held"];
    let mut holder = place.command(&holder).stdout(Stdio::null()).spawn().unwrap();
    place.wait_for("held", &mut holder);
    let mut child = spawn(&place, to, &["--report", "50ms"]);
    let mut said = Stderr::of(&mut child);
    said.wait_for("forwarding is interrupted and tried again");
    said.wait_for("s behind; ");
    place.import(EDGE, &[("r2", "3", 0)]);
    signal(&holder, "INT");
    assert_eq!(holder.wait().unwrap().code(), Some(0));
    said.wait_for("2 rows forwarded in ");
    said.wait_for("both ends agree");
    let rest = said.rest();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rest.join().unwrap();
    agree(&place, to);
}

/// A backup of a source that was forwarded before and after, and the rows that the destination has.
fn backed_up(place: &Place, edge: &str) {
    let forward = || {
        let run = place.run(&["forward", "--from", edge, "--to", CLOUD, "--once"]);
        assert_eq!(run.code, Some(0), "{run:?}");
    };
    place.import(edge, &[("r1", "1", 1)]);
    forward();
    place.import(edge, &[("r1", "2", 2)]);
    place.run(&["--backend", edge, "backup", "copy"]).ok();
    place.import(edge, &[("r1", "3", 3), ("r2", "3", 3)]);
    forward();
}

/// What a restored source stored was taken for what the destination had, and lost.
#[test]
fn a_restored_source_is_forwarded_without_a_gap_and_without_a_double() {
    for edge in FILES {
        let place = Place::new();
        let scheme = edge.split_once(':').unwrap().0;
        backed_up(&place, edge);
        let restored = format!("{scheme}:restored");
        place.run(&["--backend", &restored, "restore", "copy"]).ok();
        for at in 10..15 {
            place.import(&restored, &[("r1", "10", at)]);
        }
        let once = || {
            let run = place.run(&["forward", "--from", &restored, "--to", CLOUD, "--once"]);
            assert_eq!(run.code, Some(0), "{run:?}");
            run.err.lines().last().unwrap().to_owned()
        };
        assert!(once().starts_with("5 rows forwarded in "), "{edge}");
        assert_eq!(once(), "0 rows forwarded in 0 batches; both ends agree");
        let rows = place.run(&["export", "r*", "--backend", CLOUD]).ok().json_lines();
        let mut times: Vec<u64> =
            rows.iter().map(|row| row["stored_at"].as_u64().unwrap()).collect();
        times.sort_unstable();
        assert_eq!(times, [1, 2, 3, 3, 10, 11, 12, 13, 14], "{edge}");
    }
}

/// Nothing in the file tells that it was put back, but the destination knows more than it.
#[test]
fn a_source_that_was_copied_back_is_refused() {
    let place = Place::new();
    backed_up(&place, EDGE);
    std::fs::copy(place.path("copy"), place.path("back.db")).unwrap();
    let back = "sqlite:back.db";
    place.import(back, &[("r1", "10", 10), ("r1", "11", 11)]);
    let before = place.rows(CLOUD);
    let once = ["forward", "--from", back, "--to", CLOUD, "--once"];
    let refused = place.run(&once).refused(1, "it was put back from an older copy");
    assert!(refused.err.contains("(--from-time, --name)"), "{refused:?}");
    assert_eq!(place.rows(CLOUD), before);
    // From then on, as the message says.
    let run = place.run(&[&once[..], &["--from-time", "10"]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(place.rows(CLOUD).len(), before.len() + 2);
    place.import(back, &[("r1", "0", 1)]);
    assert_eq!(place.run(&once).code, Some(0));
    assert_eq!(place.rows(CLOUD).len(), before.len() + 3);
}
