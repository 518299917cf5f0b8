use crate::support::{FILES, Place};

#[test]
fn embedded_backends_run_the_suite_beside_their_file_and_leave_nothing() {
    for backend in FILES {
        let place = Place::new();
        place.import(backend, &[("mine", "1", 1)]);
        let names = place.names();
        let run = place.run(&["conformance", backend, "--filter", "range_"]).ok();
        assert!(run.out.starts_with("clause "), "{run:?}");
        assert!(run.out.contains("RANGE-2"), "{run:?}");
        assert!(run.out.contains(" passed, 0 failed, 0 skipped\n"), "{run:?}");
        assert_eq!(place.names(), names);
        assert_eq!(place.rows(backend).len(), 1);
    }
}

/// The suite starts this program again to kill it.
#[test]
fn the_cases_that_kill_a_process_are_run() {
    let place = Place::new();
    let args = ["conformance", FILES[0], "--filter", "durable_1_", "--output", "ndjson"];
    let cases = place.run(&args).ok().json_lines();
    assert!(!cases.is_empty());
    for case in &cases {
        assert_eq!(case["result"], "ok", "{case}");
        assert_eq!(case["clause"], "DURABLE-1", "{case}");
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn the_memory_backend_needs_no_place() {
    let place = Place::new();
    let run = place.run(&["conformance", "memory:", "--filter", "latest_"]).ok();
    assert!(run.out.contains("LATEST-1"), "{run:?}");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let place = Place::new();
    place.run(&["conformance", "sqlite:missing/h.db"]).refused(1, "there is no folder missing");
    assert_eq!(place.names(), [""; 0]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let place = Place::new();
    let mut command = place.command(&["conformance", FILES[0]]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    // The places are made after the signals are listened to.
    while place.names().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    }
    crate::support::signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(place.names(), [""; 0]);
}
