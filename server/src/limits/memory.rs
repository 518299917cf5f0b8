//! The memory of requests that write, which [`Config::with_memory`](crate::Config::with_memory)
//! bounds.
//!
//! A body takes room as its bytes arrive, never by what it announces. Once it is complete it waits
//! for room to be read as rows and stored. Whoever has that room waits for nothing else, so that the
//! wait ends.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::ClientKey;
use crate::config::{Config, MAX_ROWS};

/// The unit of the room for work.
const UNIT: usize = 1 << 10;
/// A row takes about as much beside its text: the row itself, twice while the list of rows grows,
/// and two allocations.
const ROW_BYTES: usize = 200;

/// The room of all requests together.
#[derive(Debug)]
pub(crate) struct Memory {
    bodies: Mutex<Bodies>,
    most: usize,
    work: Arc<Semaphore>,
    work_units: usize,
}

#[derive(Debug, Default)]
struct Bodies {
    used: usize,
    by_client: HashMap<ClientKey, usize>,
}

/// The room of one body, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct BodyRoom {
    memory: Arc<Memory>,
    client: ClientKey,
    bytes: usize,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All of it is taken.
    All,
    /// The client has its share, which is half.
    Share,
}

impl Memory {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let work_units = (config.work_memory() / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            bodies: Mutex::default(),
            most: config.body_memory().max(config.body_limit),
            work: Arc::new(Semaphore::new(work_units)),
            work_units,
        })
    }

    /// Room for the body of a client, none of it taken yet.
    pub(crate) fn body(self: &Arc<Self>, client: ClientKey) -> BodyRoom {
        BodyRoom { memory: self.clone(), client, bytes: 0 }
    }

    /// The bytes of all bodies that are here.
    pub(crate) fn body_bytes(&self) -> usize {
        self.bodies.lock().used
    }

    /// Waits for the room to make rows of a body and to store them.
    pub(crate) async fn work(&self, body: &[u8]) -> Option<OwnedSemaphorePermit> {
        // Each row is an object, so there are no more rows than opening braces.
        let rows = body.iter().filter(|byte| **byte == b'{').count().min(MAX_ROWS);
        let bytes = body.len().saturating_mul(2).saturating_add(rows * ROW_BYTES);
        let units = bytes.div_ceil(UNIT).min(self.work_units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.work.clone().acquire_many_owned(units).await.ok()
    }
}

impl BodyRoom {
    /// Takes room for `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let mut bodies = self.memory.bodies.lock();
        let of_client = bodies.by_client.get(&self.client).copied().unwrap_or(0);
        if bodies.used + bytes > self.memory.most {
            return Err(Full::All);
        }
        // A body alone always fits.
        if of_client > self.bytes && of_client + bytes > self.memory.most / 2 {
            return Err(Full::Share);
        }
        bodies.used += bytes;
        bodies.by_client.insert(self.client.clone(), of_client + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for BodyRoom {
    fn drop(&mut self) {
        let mut bodies = self.memory.bodies.lock();
        bodies.used -= self.bytes;
        if let Some(of_client) = bodies.by_client.get_mut(&self.client) {
            *of_client -= self.bytes;
            if *of_client == 0 {
                bodies.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_half_of_the_room_and_gives_it_back() {
        let memory = Memory::new(&Config::default().with_memory(400).with_body_limit(10));
        let one = ClientKey::Token("one".into());
        let mut first = memory.body(one.clone());
        let mut second = memory.body(one.clone());
        let mut other = memory.body(ClientKey::Unknown);
        assert_eq!(first.grow(40), Ok(()));
        assert_eq!(second.grow(11), Err(Full::Share));
        assert_eq!(second.grow(10), Ok(()));
        assert_eq!(other.grow(50), Ok(()));
        assert_eq!(other.grow(1), Err(Full::All));
        drop(first);
        assert_eq!((memory.body_bytes(), second.grow(40)), (60, Ok(())));
        drop((second, other));
        assert_eq!(memory.body_bytes(), 0);
        assert!(memory.bodies.lock().by_client.is_empty());
    }
}
