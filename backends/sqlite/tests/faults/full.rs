//! A disk without room.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use annals_core::{Order, PersistenceBackend, QueryParams, Value};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{Dice, Medium, Place};
use serde_json::json;
use tokio::runtime::Builder;

use crate::bed::Sqlite;
use crate::vfs;

/// The log had taken all space and was not copied into the file, which had enough: every later store
/// failed, or the one that found no space did.
pub(crate) fn a_log_that_took_all_space_starts_over() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let medium = Arc::new(Medium::modelled());
        vfs::register();
        let files = Place::<Sqlite>::new(medium.clone());
        let config = SqliteConfig::new(files.path()).with_vfs(vfs::NAME);
        let history = SqliteBackend::open(config).unwrap();
        // Room within the file: what is short is room for the log.
        let mut dice = Dice::new(1);
        let text: String = (0..200_000).map(|_| char::from(b'0' + dice.below(64) as u8)).collect();
        history.store("a", &json!(text), 0).await.unwrap();
        assert_eq!(history.cleanup(1).await.unwrap(), 1);
        medium.set_room(Some(2 << 20));
        let log = format!("{}-wal", files.path());
        let (mut last, mut begun_again) = (Vec::new(), 0);
        for number in 1..900 {
            history.store("a", &json!(number), number).await.unwrap();
            // The log has new salts each time it starts over.
            let mut header = Vec::new();
            File::open(&log).unwrap().take(24).read_to_end(&mut header).unwrap();
            begun_again += u32::from(header != last);
            last = header;
        }
        assert!(begun_again > 1, "the log never took all the room");
        let params = QueryParams::default().with_order(Order::OldestFirst);
        let rows = history.query("a", params).await.unwrap();
        let values: Vec<Value> = rows.into_iter().map(|row| row.value).collect();
        assert_eq!(values, (1..900).map(Value::from).collect::<Vec<_>>());
        history.close().await.unwrap();
    });
}
