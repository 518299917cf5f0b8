//! Sends queries to one AimX server, one at a time, over a connection that is opened when needed and
//! kept until an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals::{MAX_TIMESTAMP, RawRow};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::address::Address;
use super::fault::Fault;
use super::link::Link;
use super::wire::{self, Ask, HELLO_ID, Version};

/// The number of rows per request, unless the answer would be too large.
const PAGE_ROWS: u64 = 500;
/// With two rows the end of a millisecond can be seen, with one it cannot.
pub(crate) const SMALLEST_PAGE: u64 = 2;
/// The time for the connection and the hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Client {
    address: Address,
    token: Option<String>,
    timeout: Duration,
    session: Mutex<Option<Session>>,
    page: AtomicU64,
}

struct Session {
    link: Link,
    version: Version,
    last_id: u64,
}

impl Client {
    pub(crate) fn new(address: Address, token: Option<String>, timeout: Duration) -> Self {
        let page = AtomicU64::new(PAGE_ROWS);
        Self { address, token, timeout, session: Mutex::new(None), page }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The number of rows per request.
    pub(crate) fn page(&self) -> u64 {
        self.page.load(Ordering::Relaxed)
    }

    /// Limits later requests to half of `rows`.
    pub(crate) fn halve_page(&self, rows: u64) {
        self.page.fetch_min((rows / 2).max(SMALLEST_PAGE), Ordering::Relaxed);
    }

    /// Connects unless there is a connection.
    pub(crate) async fn connect(&self) -> Result<(), Fault> {
        let mut slot = self.session.lock().await;
        if slot.is_none() {
            *slot = Some(self.open().await?);
        }
        Ok(())
    }

    /// Closes the connection.
    pub(crate) async fn disconnect(&self) {
        *self.session.lock().await = None;
    }

    /// The newest row within the window of each record that matches `name`.
    pub(crate) async fn heads(
        &self,
        name: Option<&str>,
        start: u64,
        end: u64,
    ) -> Result<Vec<RawRow>, Fault> {
        let mut rows = self.ask(&bounded(name, 1, start, end)).await?;
        rows.dedup_by(|next, newest| next.record == newest.record);
        in_window(&rows, start, end)?;
        Ok(rows)
    }

    /// The newest `limit` rows of one record within the window, newest first.
    pub(crate) async fn window(
        &self,
        record: &Arc<str>,
        limit: u64,
        start: u64,
        end: u64,
    ) -> Result<Vec<RawRow>, Fault> {
        let mut rows = self.ask(&bounded(Some(record), limit, start, end)).await?;
        // Some servers match names without regard to case.
        rows.retain(|row| row.record == *record);
        in_window(&rows, start, end)?;
        if rows.len() as u64 > limit {
            return Err(Fault::Malformed("answered with more rows than it was asked for"));
        }
        Ok(rows)
    }

    async fn ask(&self, ask: &Ask<'_>) -> Result<Vec<RawRow>, Fault> {
        let mut slot = self.session.lock().await;
        // The connection is put back after a complete answer: a dropped future must not leave one
        // behind on which the next query reads this answer.
        let (session, rows) = match slot.take() {
            None => self.ask_on(self.open().await?, ask).await?,
            Some(kept) => match self.ask_on(kept, ask).await {
                // The server was restarted since the last query.
                Err(Fault::Closed) => self.ask_on(self.open().await?, ask).await?,
                answer => answer?,
            },
        };
        *slot = Some(session);
        Ok(rows)
    }

    async fn open(&self) -> Result<Session, Fault> {
        let greeted = timeout(self.timeout.min(HELLO_TIMEOUT), async {
            let mut link = Link::open(&self.address).await?;
            let (hello, token) = match self.address {
                // Only 3.0 listens on TCP. It has no tokens, so none is sent over the network.
                Address::Tcp(_) => (wire::hello()?, false),
                Address::Unix(_) => {
                    (wire::hello_to_either(self.token.as_deref())?, self.token.is_some())
                }
            };
            link.send(&hello).await?;
            let version = wire::welcome(&link.receive().await?, token)?;
            Ok(Session { link, version, last_id: HELLO_ID })
        });
        greeted.await.unwrap_or(Err(Fault::ConnectTimeout))
    }

    async fn ask_on(
        &self,
        mut session: Session,
        ask: &Ask<'_>,
    ) -> Result<(Session, Vec<RawRow>), Fault> {
        let answered = timeout(self.timeout, async {
            session.last_id += 1;
            let Session { link, version, last_id } = &mut session;
            link.send(&wire::query(*version, *last_id, ask)?).await?;
            loop {
                let frame = link.receive().await?;
                if let Some(rows) = wire::rows(*version, *last_id, &frame)? {
                    return Ok(rows);
                }
            }
        });
        let rows = answered.await.unwrap_or(Err(Fault::Timeout))?;
        Ok((session, rows))
    }
}

/// Omits bounds without effect, which some servers refuse.
fn bounded(name: Option<&str>, limit: u64, start: u64, end: u64) -> Ask<'_> {
    let start = Some(start).filter(|start| *start > 0);
    let end = Some(end).filter(|end| *end < MAX_TIMESTAMP);
    Ask { name, limit, start, end }
}

/// Without this check, a server that ignores the window would be asked for the same page for ever.
fn in_window(rows: &[RawRow], start: u64, end: u64) -> Result<(), Fault> {
    if rows.iter().all(|row| (start..=end).contains(&row.stored_at)) {
        Ok(())
    } else {
        Err(Fault::Malformed("answered with rows from outside of the time window"))
    }
}
