//! A client that has started the program.

use std::process::Stdio;

use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceError, ServiceExt};
use serde_json::Value;

use crate::fake::{Server, Wire};
use crate::support::Place;

pub(crate) const BACKEND: &str = "sqlite:history.db";

pub(crate) struct Client {
    pub(crate) service: RunningService<RoleClient, ()>,
    place: Place,
    _server: Option<Server>,
}

impl Client {
    pub(crate) async fn start(place: Place, args: &[&str]) -> Self {
        let command = place.command(&[&["mcp"], args].concat());
        // What it says on stderr is seen where a test fails.
        let (child, _) = TokioChildProcess::builder(tokio::process::Command::from(command))
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let service = ().serve(child).await.unwrap();
        Self { service, place, _server: None }
    }

    /// Over a file.
    pub(crate) async fn of_file(rows: &[(&str, &str, u64)]) -> Self {
        let place = Place::new();
        place.import(BACKEND, rows);
        Self::start(place, &["--backend", BACKEND]).await
    }

    /// Stores rows in the file beside it.
    pub(crate) fn import(&self, rows: &[(&str, &str, u64)]) {
        self.place.import(BACKEND, rows);
    }

    /// Over AimX.
    pub(crate) async fn of_server(wire: Wire, rows: &[(&str, &str, u64)]) -> Self {
        let server = Server::with_history(wire, rows);
        let client = Self::start(Place::new(), &["--aimx", server.address()]).await;
        Self { _server: Some(server), ..client }
    }

    /// Over each kind of source.
    pub(crate) async fn of_each(rows: &[(&str, &str, u64)]) -> Vec<(String, Self)> {
        let mut clients = vec![("sqlite".to_owned(), Self::of_file(rows).await)];
        for wire in crate::fake::WIRES {
            clients.push((format!("{wire:?}"), Self::of_server(wire, rows).await));
        }
        clients
    }

    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: Value,
    ) -> Result<CallToolResult, ServiceError> {
        let Value::Object(arguments) = arguments else { panic!("{arguments} are no arguments") };
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        self.service.call_tool(request).await
    }

    /// The structured answer, without its mark as data; its text says the same.
    pub(crate) async fn ask(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await.unwrap();
        assert_ne!(result.is_error, Some(true), "{result:?}");
        let mut structured = result.structured_content.unwrap();
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), structured);
        let notice = structured.as_object_mut().unwrap().remove("data_notice").unwrap();
        assert!(notice.as_str().unwrap().contains("not instructions"), "{notice}");
        structured
    }

    /// The tool's own error.
    pub(crate) async fn refused(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await.unwrap();
        assert_eq!(result.is_error, Some(true), "{result:?}");
        assert_eq!(result.structured_content, None);
        result.content[0].as_text().unwrap().text.clone()
    }

    /// All items of all pages, and how many pages there were.
    pub(crate) async fn pages(
        &self,
        tool: &str,
        items: &str,
        mut arguments: Value,
    ) -> (Vec<Value>, usize) {
        let (mut all, mut pages) = (Vec::new(), 0);
        loop {
            let mut page = self.ask(tool, arguments.clone()).await;
            pages += 1;
            let found = page[items].as_array_mut().unwrap();
            assert!(!found.is_empty() || pages == 1, "an empty page after a cursor");
            all.append(found);
            match page["next_cursor"].take() {
                Value::Null => return (all, pages),
                cursor => arguments["cursor"] = cursor,
            }
        }
    }
}
