//! The harness for stores that live in their process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use annals_core::PersistenceBackend;
use async_trait::async_trait;

use crate::harness::{Harness, HarnessResult, unique_name};

/// Makes backends with a function and keeps each for as long as its store is in use.
///
/// Opening a store again gives the same backend: there is nothing else that could be opened. A
/// backend that claims durability fails the cases about it here, as it should.
pub(crate) struct InMemory<F> {
    name: String,
    make: F,
    stores: Mutex<HashMap<String, Arc<dyn PersistenceBackend>>>,
}

impl<F> InMemory<F> {
    pub(crate) fn new(name: String, make: F) -> Self {
        Self { name, make, stores: Mutex::default() }
    }

    fn with_stores<T>(
        &self,
        act: impl FnOnce(&mut HashMap<String, Arc<dyn PersistenceBackend>>) -> T,
    ) -> T {
        act(&mut self.stores.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl<F, B> Harness for InMemory<F>
where
    F: Fn() -> B + Send + Sync + 'static,
    B: PersistenceBackend + 'static,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn create(&self) -> HarnessResult<String> {
        let location = unique_name("memory");
        let backend: Arc<dyn PersistenceBackend> = Arc::new((self.make)());
        self.with_stores(|stores| stores.insert(location.clone(), backend));
        Ok(location)
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        let backend = self.with_stores(|stores| stores.get(location).cloned());
        backend.ok_or_else(|| format!("there is no store {location} in this process").into())
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        let _removed = self.with_stores(|stores| stores.remove(location));
        Ok(())
    }
}
