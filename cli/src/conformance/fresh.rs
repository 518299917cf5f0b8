//! Stores without a path: each is a new backend that lives in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use annals::{PersistenceBackend, async_trait};
use annals_conformance::{Harness, HarnessResult, unique_name};

/// Opens one URL for each store and keeps the backend while the store is in use.
pub(super) struct Fresh {
    url: String,
    stores: Mutex<HashMap<String, Arc<dyn PersistenceBackend>>>,
}

impl Fresh {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), stores: Mutex::default() }
    }

    fn with_stores<T>(
        &self,
        act: impl FnOnce(&mut HashMap<String, Arc<dyn PersistenceBackend>>) -> T,
    ) -> T {
        act(&mut self.stores.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Harness for Fresh {
    fn name(&self) -> String {
        self.url.split(':').next().unwrap_or_default().to_owned()
    }

    async fn create(&self) -> HarnessResult<String> {
        let backend = annals::connect(&self.url).await?;
        let location = unique_name("store");
        self.with_stores(|stores| stores.insert(location.clone(), backend));
        Ok(location)
    }

    /// The same backend: there is nothing else that could be opened.
    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        let backend = self.with_stores(|stores| stores.get(location).cloned());
        backend.ok_or_else(|| format!("there is no store {location} in this process").into())
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        let _removed = self.with_stores(|stores| stores.remove(location));
        Ok(())
    }
}
