//! A server that asks for tokens.

use std::path::PathBuf;
use std::sync::Arc;

use annals_core::PersistenceBackend;
use annals_server::{Access, Config, GrammarName, Grant, Right, TokenLimits, Tokens};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::backend::Controlled;
use crate::running::Running;

/// A server with tokens.
pub struct Guarded {
    pub service: Running,
    pub file: PathBuf,
    _folder: TempDir,
}

pub fn grant(rights: &[Right], pattern: &str) -> Grant {
    Grant { rights: rights.to_vec(), pattern: pattern.to_owned(), grammar: GrammarName::Glob }
}

impl Guarded {
    /// A server with rows of two plants, and the tokens of these names, grants and limits.
    pub async fn new(tokens: Vec<(&str, Vec<Grant>, TokenLimits)>) -> (Self, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.json");
        let mut secrets = Vec::new();
        for (name, grants, limits) in tokens {
            secrets.push(Tokens::add(&file, name, grants, limits).unwrap().reveal().to_owned());
        }
        let backend = Arc::new(Controlled::default());
        for (name, at) in [("plant1::a", 1), ("plant1::b", 2), ("plant2::a", 3)] {
            backend.memory.store(name, &at.into(), at).await.unwrap();
        }
        let access = Access::Tokens(Tokens::open(&file).unwrap());
        let config = Config::default().with_access(access).with_earliest(0);
        let service = Running::start(config, None, backend).await;
        (Self { service, file, _folder: folder }, secrets)
    }

    pub async fn get(&self, path: &str, token: &str) -> Response {
        self.service.get(path).bearer_auth(token).send().await.unwrap()
    }

    pub async fn names(&self, path: &str, token: &str) -> (Vec<String>, bool) {
        let answer = self.get(path, token).await;
        assert_eq!(answer.status(), 200, "{path}");
        let restricted = answer.headers().contains_key("annals-restricted");
        let text = answer.text().await.unwrap();
        let name = |value: &Value| value["record"].as_str().unwrap().to_owned();
        let names = match text.starts_with('[') {
            true => serde_json::from_str::<Vec<Value>>(&text).unwrap().iter().map(name).collect(),
            false => text.lines().map(|line| name(&serde_json::from_str(line).unwrap())).collect(),
        };
        (names, restricted)
    }

    pub fn write(&self, record: &str, token: &str) -> RequestBuilder {
        self.service.post(format!(r#"{{"record":"{record}","value":1}}"#)).bearer_auth(token)
    }
}

pub fn unlimited() -> TokenLimits {
    TokenLimits::default()
}
