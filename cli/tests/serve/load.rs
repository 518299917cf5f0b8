//! Clients that retry until they are acknowledged.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// The rows of one batch.
pub const ROWS: u64 = 20;

#[derive(Serialize)]
struct Row {
    record: String,
    /// The number of the batch, and of the row in it.
    value: (u64, u64),
    stored_at: u64,
}

fn rows(record: &str, batch: u64, stored_at: u64) -> Vec<Row> {
    (0..ROWS).map(|row| Row { record: record.to_owned(), value: (batch, row), stored_at }).collect()
}

/// The progress of the clients, and the signal to stop them.
pub struct Progress {
    pub acknowledged: watch::Sender<u64>,
    pub stop: watch::Sender<bool>,
}

impl Progress {
    pub fn new() -> Self {
        Self { acknowledged: watch::Sender::new(0), stop: watch::Sender::new(false) }
    }

    /// Waits until this many more batches are acknowledged.
    pub async fn more(&self, batches: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        let until = *acknowledged.borrow() + batches;
        acknowledged.wait_for(|acknowledged| *acknowledged >= until).await.unwrap();
    }
}

/// The result of a client.
#[derive(Debug, Default)]
pub struct Account {
    pub batches: u64,
    /// Attempts that were not acknowledged and were retried with the same id.
    pub again: u64,
}

/// Sends one batch after the other to `replicas` in turn, each until it is acknowledged.
///
/// After anything but an acknowledgement the outcome is unknown: the same batch goes to the next
/// replica with the same id.
pub async fn client(number: u128, replicas: Vec<String>, now: u64, progress: &Progress) -> Account {
    let http = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let record = format!("client::{number}");
    let mut account = Account::default();
    let mut turns = replicas.iter().cycle().skip(number as usize);
    while !*progress.stop.borrow() {
        let batch = account.batches + 1;
        let rows = rows(&record, batch, now + batch);
        // Sometimes the acknowledgement itself is lost.
        let mut unheard = u32::from(batch % 7 == 0);
        loop {
            let request = http
                .post(format!("{}/v1/rows", turns.next().unwrap()))
                .header("annals-writer", format!("{:032x}", number + 1))
                .header("annals-batch", batch);
            match request.json(&rows).send().await.map(|answer| answer.status()) {
                Ok(StatusCode::OK) if unheard > 0 => unheard -= 1,
                Ok(StatusCode::OK) => break,
                Ok(status) if !status.is_server_error() => panic!("{status}"),
                Ok(_) | Err(_) => account.again += 1,
            }
            // Back off, or the clients would take the processor from the replicas.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        account.batches += 1;
        progress.acknowledged.send_modify(|acknowledged| *acknowledged += 1);
    }
    account
}

/// What a client that does not wait for the store knows.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The acknowledged rows: the number of the batch, and of the row in it.
    pub rows: Vec<(u64, u64)>,
    /// The last batch it sent. A batch without an answer may be stored or not.
    pub last: u64,
}

/// Sends rows to one replica, which accepts them before they are stored, until it stops listening.
/// Nothing is retried.
pub async fn impatient_client(replica: String, now: u64) -> Accepted {
    let http = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let mut accepted = Accepted::default();
    loop {
        accepted.last += 1;
        let batch = accepted.last;
        let request = http.post(format!("{replica}/v1/rows")).header("prefer", "respond-async");
        let rows = match request.json(&rows("impatient", batch, now + batch)).send().await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => ROWS,
            // The queue is full, or closed.
            Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                let problem: Value = answer.json().await.unwrap();
                problem["accepted"].as_u64().unwrap()
            }
            Ok(answer) => panic!("{}", answer.status()),
            Err(error) if error.is_connect() => return accepted,
            Err(_) => 0,
        };
        accepted.rows.extend((0..rows).map(|row| (batch, row)));
        // Back off, as above.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
