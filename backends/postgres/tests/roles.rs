//! Roles with few privileges: what they can do, and the errors for the rest.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use annals_core::{
    Batch, BatchId, ErrorKind, Grammar, PersistenceBackend, PersistenceError, QueryExt,
};
use annals_postgres::{PostgresBackend, PostgresConfig};
use common::{Place, batch, row};
use serde_json::json;

/// A role that can only connect.
struct Role {
    name: String,
    url: String,
}

impl Role {
    async fn new(place: &Place) -> Self {
        let name = format!("role_{}", place.schema);
        place.execute(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret'")).await;
        let (_, host) = place.url.rsplit_once('@').unwrap();
        let url = format!("postgres://{name}:secret@{host}?schema={}", place.schema);
        Self { name, url }
    }

    async fn grant(&self, place: &Place, what: &str) {
        place.execute(&format!("GRANT {what} TO \"{}\"", self.name)).await;
    }

    /// A server that outlives the test must not keep it.
    async fn end(self, place: &Place) {
        let name = self.name;
        place.execute(&format!("DROP OWNED BY \"{name}\"; DROP ROLE \"{name}\"")).await;
    }

    fn backend(&self) -> PostgresBackend {
        PostgresBackend::new(PostgresConfig::from_url(&self.url).unwrap())
    }
}

fn permission(error: &PersistenceError) {
    let source = match error {
        PersistenceError::PartialCleanup { source, .. } => source,
        other => other,
    };
    let PersistenceError::Backend(reported) = source else { panic!("{error:?}") };
    assert_eq!(reported.kind(), ErrorKind::Permission, "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

async fn a_role_without_create_is_told_what_it_needs() {
    let place = Place::new();
    let role = Role::new(&place).await;
    let error = role.backend().initialize().await.unwrap_err();
    permission(&error);
    assert!(error.to_string().contains("CREATE"), "{error}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'";
    assert_eq!(place.number(&schemas.replace("{name}", &place.schema)).await, 0);
    // If the schema exists, it creates the tables.
    place.execute("CREATE SCHEMA {s}").await;
    role.grant(&place, "USAGE, CREATE ON SCHEMA {s}").await;
    let backend = role.backend();
    backend.store("a", &json!(1), 1).await.unwrap();
    assert_eq!(backend.query_latest::<i64>("a", 1).await.unwrap(), [1]);
    assert_eq!(backend.cleanup(2).await.unwrap(), 1);
    role.end(&place).await;
}

async fn a_role_that_can_only_read_reads() {
    for options in ["", "partition_interval=1s"] {
        let place = Place::with_options(options);
        place.backend().store_batch(&batch(3, 300)).await.unwrap();
        let role = Role::new(&place).await;
        permission(&role.backend().query_latest::<i64>("*", 1).await.unwrap_err());
        role.grant(&place, "USAGE ON SCHEMA {s}").await;
        permission(&role.backend().query_latest::<i64>("*", 1).await.unwrap_err());
        role.grant(&place, "SELECT ON ALL TABLES IN SCHEMA {s}").await;
        let backend = role.backend();
        assert_eq!(backend.query_latest::<i64>("r*", 1).await.unwrap(), [297, 298, 299]);
        assert_eq!(backend.records("*", Grammar::Glob).await.unwrap().len(), 3);
        permission(&backend.store("r1", &json!(1), 1).await.unwrap_err());
        permission(&backend.store("new", &json!(1), 1).await.unwrap_err());
        permission(&backend.cleanup(50).await.unwrap_err());
        assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 300, "{options}");
        assert_eq!(place.number("SELECT count(*) FROM {s}.records").await, 3);
        role.end(&place).await;
    }
}

async fn a_role_that_can_change_rows_stores_and_sweeps() {
    for options in ["", "partition_interval=1s"] {
        let place = Place::with_options(options);
        place.backend().store_batch(&batch(3, 9_000)).await.unwrap();
        let role = Role::new(&place).await;
        role.grant(&place, "USAGE ON SCHEMA {s}").await;
        role.grant(&place, "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {s}").await;
        let backend = role.backend();
        let id = BatchId { writer: 1, number: 1 };
        let rows = Batch::new([row("r1", -1, 2_999), row("new", 1, 2_999)]).with_id(id);
        backend.store_batch(&rows).await.unwrap();
        backend.store_batch(&rows).await.unwrap();
        assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 9_002);
        let swept = backend.cleanup(1_500).await;
        let later = backend.store("r1", &json!(1), 1_000_000).await;
        if options.is_empty() {
            assert_eq!(swept.unwrap(), 4_500);
            later.unwrap();
            role.end(&place).await;
            continue;
        }
        // Only the owner drops and creates partitions.
        let refused = swept.unwrap_err();
        permission(&refused);
        assert!(refused.to_string().contains("owner"), "{refused}");
        permission(&later.unwrap_err());
        assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 9_002);
        assert_eq!(place.backend().cleanup(1_500).await.unwrap(), 4_500);
        place.backend().store("r2", &json!(1), 1_000_000).await.unwrap();
        backend.store("r1", &json!(1), 1_000_000).await.unwrap();
        role.end(&place).await;
    }
}

annals_test_postgres::server_tests! {
    async a_role_without_create_is_told_what_it_needs,
    async a_role_that_can_only_read_reads,
    async a_role_that_can_change_rows_stores_and_sweeps,
}
