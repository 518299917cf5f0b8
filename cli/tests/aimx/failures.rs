//! Every way in which a server or the way to it can fail: one sentence, and exit code 1.

use std::os::unix::net::UnixListener;

use super::query;
use crate::fake::{Action, Server, WIRES, Wire};
use crate::support::{Place, Run};

fn frame(text: &str) -> Action {
    Action::Frame(text.to_owned())
}

fn refused(run: Run, text: &str) {
    let run = run.refused(1, text);
    assert_eq!(run.err.lines().count(), 1, "{run:?}");
}

#[test]
fn no_server_is_there() {
    let place = Place::new();
    let at = |address: &str| place.run(&["query", "--aimx", address, "*"]);
    refused(at("unix:none.sock"), "there is no socket at none.sock; is the AimDB program running?");
    // A socket whose program is dead.
    drop(UnixListener::bind(place.path("dead.sock")).unwrap());
    refused(at("unix:dead.sock"), "nothing listens at unix:dead.sock");
    // The port is free again when its listener has gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    refused(at(&format!("tcp:127.0.0.1:{port}")), "nothing listens at tcp:127.0.0.1:");
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    let place = Place::new();
    let run = |args: &[&str]| place.run(&[&["query", "*"], args].concat());
    run(&["--aimx", "aimdb.sock"]).refused(2, "unix:/path/to.sock or tcp:HOST:PORT");
    run(&["--aimx", "tcp:host"]).refused(2, "the port is missing");
    run(&["--aimx", "serial:/dev/ttyACM0"]).refused(2, "serial line is not supported");
    run(&["--aimx", "unix:a.sock", "--grammar", "topic"]).refused(2, "cannot be used with");
    run(&["--timeout", "5s"]).refused(2, "--aimx <ADDRESS>");
    run(&["--aimx", "unix:a.sock", "--timeout", "5"]).refused(2, "it has no unit");
    place.run(&["query", "", "--aimx", "unix:a.sock"]).refused(1, "there is no socket");
    let server = Server::with_history(Wire::One, &[]);
    query(&server, &[""]).refused(2, "invalid pattern");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let give_up = |wire| {
        let mute = Server::start(wire, |_| Action::Silence);
        refused(query(&mute, &["*", "--timeout", "100ms"]), "did not answer the hello in time");
        // Long enough for a hello on a machine that has much to do.
        let mute = Server::that_answers(wire, || Action::Silence);
        let run = query(&mute, &["*", "--timeout", "2s"]);
        refused(run, "did not answer in time; --timeout gives it longer");
    };
    std::thread::scope(|scope| WIRES.map(|wire| scope.spawn(move || give_up(wire))).map(|_| ()));
}

/// Nothing less than all values of a millisecond can be asked for.
#[test]
fn values_of_one_time_that_fit_in_no_answer_are_not_left_out() {
    let value = format!("\"{}\"", "x".repeat(40_000));
    let rows = [("r", &*value, 1), ("r", &*value, 1), ("r", "0", 0)];
    let server = Server::with_history(Wire::ThreeOverTcp, &rows);
    refused(query(&server, &["r"]), "over TCP AimDB does so when the answer is larger");
    assert_eq!(query(&server, &["r", "--latest", "1"]).ok().json_lines().len(), 1);
}

#[test]
fn a_server_that_closes_is_told_from_one_that_closes_within_its_answer() {
    for wire in WIRES {
        let closing = Server::start(wire, |_| Action::Close);
        refused(query(&closing, &["*"]), "closed the connection instead of answering");
        let closing = Server::that_answers(wire, || Action::Close);
        refused(query(&closing, &["*"]), "closed the connection instead of answering");
    }
    let half = r#"{"id":2,"result":{"count":1,"val"#;
    for (wire, bytes) in [
        (Wire::One, half.into()),
        (Wire::Three, half.into()),
        (Wire::ThreeOverTcp, [&[0, 0, 1, 0], half.as_bytes()].concat()),
        (Wire::ThreeOverTcp, vec![0, 0]),
    ] {
        let cutting = Server::that_answers(wire, move || Action::Bytes(bytes.clone()));
        refused(query(&cutting, &["*"]), "closed the connection before its answer was complete");
    }
}

#[test]
fn an_answer_without_end_is_not_read_without_end() {
    let endless = Server::that_answers(Wire::One, || Action::Bytes(vec![b'x'; (64 << 20) + 1]));
    refused(query(&endless, &["*"]), "larger than 64 MiB; narrow the pattern");
    let boasting = Server::that_answers(Wire::ThreeOverTcp, || Action::Bytes(vec![0xff; 4]));
    refused(query(&boasting, &["*"]), "larger than 64 MiB; narrow the pattern");
}

#[test]
fn an_answer_that_is_not_aimx_is_refused() {
    for (wire, answer, text) in [
        (Wire::One, "HTTP/1.1 400 Bad Request", "sent what is not AimX"),
        (Wire::One, r#"{"id":7,"result":{"count":0,"values":[]}}"#, "sent what is not AimX"),
        (Wire::One, r#"{"id":2,"result":[]}"#, "in a shape that is not AimDB's"),
        (Wire::Three, r#"{"t":"reply","id":2,"ok":{"rows":[]}}"#, "in a shape that is not AimDB's"),
        (Wire::Three, r#"{"t":"reply","id":3,"ok":{"records":[]}}"#, "sent what is not AimX"),
        (
            Wire::One,
            r#"{"id":2,"result":{"count":1,"values":[{"record":"a","value":1,"stored_at":9}]}}"#,
            "from outside of the time window",
        ),
    ] {
        let server = Server::that_answers(wire, move || frame(answer));
        refused(query(&server, &["*", "--to", "8"]), text);
    }
    for wire in [Wire::One, Wire::ThreeOverTcp] {
        let odd = Server::start(wire, |_| frame("220 mail.example.org ESMTP"));
        refused(query(&odd, &["*"]), "sent what is not AimX");
    }
}

/// It would be asked the same for ever.
#[test]
fn a_server_that_takes_no_notice_of_the_limit_is_found_out() {
    let row = r#"{"record":"a","value":1,"stored_at":9}"#;
    let rows = vec![row; 501].join(",");
    let server = Server::that_answers(Wire::One, move || {
        Action::Frame(format!(r#"{{"id":2,"result":{{"count":501,"values":[{rows}]}}}}"#))
    });
    refused(query(&server, &["a"]), "more rows than it was asked for");
}

#[test]
fn a_servers_own_error_is_passed_on() {
    let error = |code: &str, message: &str| {
        format!(r#"{{"id":2,"error":{{"code":"{code}","message":"{message}"}}}}"#)
    };
    for (answer, text) in [
        (
            error("not_configured", "Persistence not configured. Call .with_persistence()"),
            "keeps no history: persistence is not configured there",
        ),
        (
            error("query_error", "sqlite: query failed\\nbusy"),
            "refuses: sqlite: query failed busy (query_error)",
        ),
        (error("method_not_found", "Unknown method"), "does not know the method record.query"),
        (error("permission_denied", "no"), "denies record.query"),
    ] {
        let server = Server::that_answers(Wire::One, move || Action::Frame(answer.clone()));
        refused(query(&server, &["*"]), text);
    }
    for (code, text) in [
        ("internal", "failed without saying why: it keeps no history"),
        ("denied", "denies record.query"),
        ("not_found", "does not know the method record.query"),
    ] {
        for wire in [Wire::Three, Wire::ThreeOverTcp] {
            let answer = format!(r#"{{"t":"reply","id":2,"err":"{code}"}}"#);
            let server = Server::that_answers(wire, move || Action::Frame(answer.clone()));
            refused(query(&server, &["*"]), text);
        }
    }
}

#[test]
fn a_server_of_another_version_is_named() {
    for (wire, welcome, text) in [
        (
            Wire::Three,
            r#"{"t":"reply","id":1,"ok":{"version":"2.0","server":"aimdb"}}"#,
            "speaks AimX 2.0; this program speaks 1.0 and 3.0",
        ),
        (
            Wire::ThreeOverTcp,
            r#"{"t":"reply","id":1,"err":"version_mismatch"}"#,
            "does not speak AimX 1.0 or 3.0; over TCP this program speaks 3.0",
        ),
        (
            Wire::One,
            r#"{"error":"unsupported_version","message":"Server supports version 0.9"}"#,
            "does not speak AimX 1.0 or 3.0",
        ),
    ] {
        refused(query(&Server::start(wire, move |_| frame(welcome)), &["*"]), text);
    }
}

/// Frames between the question and its answer that 3.0 allows.
#[test]
fn other_frames_of_a_server_are_ignored() {
    let server = Server::that_answers(Wire::Three, || {
        frame(
            "{\"t\":\"event\",\"sub\":\"1\",\"seq\":1,\"data\":{}}\n{\"t\":\"pong\"}\n\
             {\"t\":\"reply\",\"id\":2,\"ok\":{\"records\":[],\"total\":0}}",
        )
    });
    assert_eq!(query(&server, &["a", "--latest", "1"]).ok().out, "");
}
