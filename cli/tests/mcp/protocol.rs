//! The protocol around the tools.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rmcp::ServiceError;
use serde_json::{Value, json};

use crate::client::{BACKEND, Client};
use crate::support::Place;

#[tokio::test]
async fn it_introduces_itself() {
    let client = Client::of_file(&[("a", "1", 1)]).await;
    let info = client.service.peer_info().unwrap();
    let info = serde_json::to_value(&*info).unwrap();
    assert_eq!(info["serverInfo"]["name"], "annals", "{info}");
    assert!(info["capabilities"]["tools"].is_object(), "{info}");
    let instructions = info["instructions"].as_str().unwrap();
    assert!(instructions.contains("list_records") && instructions.contains(BACKEND), "{info}");
}

#[tokio::test]
async fn its_tools_say_what_they_take_and_give_and_that_they_only_read() {
    let client = Client::of_file(&[("a", "1", 1)]).await;
    let tools = client.service.list_all_tools().await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(
        names,
        [
            "list_records",
            "query_latest",
            "value_at",
            "query_range",
            "whats_new",
            "aggregate",
            "summarise_record"
        ]
    );
    for tool in tools {
        let tool = serde_json::to_value(tool).unwrap();
        assert!(tool["description"].as_str().unwrap().len() > 80, "{tool}");
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}: {property}");
        }
        assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
    }
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_an_error_of_the_protocol() {
    let client = Client::of_file(&[("a", "1", 1)]).await;
    let error = client.call("drop_records", json!({})).await.unwrap_err();
    assert!(
        matches!(&error, ServiceError::McpError(error) if error.message.contains("drop_records"))
    );
}

/// Whatever is wrong, stdout carries nothing but messages.
#[test]
fn stdout_is_the_protocols_alone() {
    let place = Place::new();
    place.import(BACKEND, &[("a", "1", 1), ("a", "2", 2)]);
    place.damage(2);

    let mut command = place.command(&["mcp", "--backend", BACKEND]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("RUST_LOG", "trace").spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let stderr = child.stderr.take().unwrap();
    let stderr = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
    let mut answer = |message: Value| -> Value {
        writeln!(stdin, "{message}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let hello = answer(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "by hand", "version": "1"}}}));
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18", "{hello}");
    let page = answer(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "query_range", "arguments": {"pattern": "a"}}}));
    assert_eq!(page["result"]["structuredContent"]["unreadable"], 1, "{page}");
    assert_eq!(page["result"]["structuredContent"]["rows"][0]["value"], 1, "{page}");
    drop(stdin);
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "");
    assert_eq!(child.wait().unwrap().code(), Some(0), "the client has gone");
    assert!(stderr.join().unwrap().contains("not valid JSON any more"));
}

#[test]
fn a_failed_start_is_reported() {
    let place = Place::new();
    place.run(&["mcp", "--backend", "sqlite:none.db"]).refused(1, "there is no history at none.db");
    place.run(&["mcp", "--aimx", "nowhere"]).refused(2, "unix:/path/to.sock");
    place.import(BACKEND, &[("a", "1", 1)]);
    // A client that goes before it has said anything.
    place.run(&["mcp", "--backend", BACKEND]).ok();
    let early = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let run = place.run_with_input(&["mcp", "--backend", BACKEND], format!("{early}\n"));
    assert!(!run.err.contains("panicked"), "{run:?}");
    for line in run.out.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}
