//! Stores with a path: each in a new folder beside the path in the URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::{PersistenceBackend, async_trait};
use annals_conformance::{Harness, HarnessResult, unique_name};

use super::gate::Gate;
use crate::failure::Failure;

/// Stores in files, with the options of one URL.
#[derive(Debug)]
pub(super) struct Files {
    scheme: String,
    options: String,
    /// Whether the backend has the option `max_value_bytes`.
    sized: bool,
    folder: PathBuf,
    gate: Gate,
}

impl Files {
    pub(super) fn new(url: &str, path: &Path, gate: Gate) -> Result<Self, Failure> {
        let scheme = url.split(':').next().unwrap_or_default().to_owned();
        let sized = matches!(&*scheme, "sqlite" | "redb");
        let options = url.split_once('?').map_or("", |(_, options)| options).to_owned();
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !parent.is_dir() {
            return Err(Failure::Failed(format!(
                "there is no folder {}; create it, or name a file in another one",
                parent.display()
            )));
        }
        let folder = parent.join(unique_name(".annals-conformance"));
        Ok(Self { scheme, options, sized, folder, gate })
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Opens the store in a folder that exists: a late child process must not create it again.
    async fn connect(
        &self,
        location: &str,
        option: Option<String>,
    ) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        let _pass = self.gate.pass().await?;
        if !Path::new(location).is_dir() {
            return Err("the store was removed".into());
        }
        Ok(annals::connect(&self.url(location, option)).await?)
    }

    /// The URL of the file in a store's folder, with the options and one more that replaces its
    /// namesake.
    fn url(&self, location: &str, option: Option<String>) -> String {
        let path = location.replace('%', "%25").replace('?', "%3F");
        let options = self.options.split('&').filter(|pair| !pair.is_empty());
        let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let replaced = option.as_deref().map(name_of);
        let mut options: Vec<_> =
            options.filter(|pair| Some(name_of(pair)) != replaced).map(str::to_owned).collect();
        options.extend(option);
        format!("{}:{path}/history?{}", self.scheme, options.join("&"))
    }
}

#[async_trait]
impl Harness for Files {
    fn name(&self) -> String {
        self.scheme.clone()
    }

    async fn create(&self) -> HarnessResult<String> {
        let _pass = self.gate.pass().await?;
        let folder = self.folder.join(unique_name("store"));
        std::fs::create_dir(&folder)?;
        let folder = folder.into_os_string().into_string();
        folder.map_err(|_| "the folder's path is not UTF-8".into())
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        self.connect(location, None).await
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        Ok(std::fs::remove_dir_all(location)?)
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        if !self.sized {
            return Ok(None);
        }
        let option = format!("max_value_bytes={max_value_bytes}");
        Ok(Some(self.connect(location, Some(option)).await?))
    }

    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        let mut bytes = 0;
        for file in std::fs::read_dir(location)? {
            bytes += file?.metadata()?.len();
        }
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_the_options_of_the_url_and_one_more() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("history.db");
        let url = "sqlite:history.db?max_value_bytes=5&durability=process";
        let files = Files::new(url, &named, Gate::default()).unwrap();
        assert_eq!(files.folder().parent(), Some(folder.path()));
        assert_eq!(
            files.url("/a%b?", None),
            "sqlite:/a%25b%3F/history?max_value_bytes=5&durability=process"
        );
        assert_eq!(
            files.url("/x", Some("max_value_bytes=9".to_owned())),
            "sqlite:/x/history?durability=process&max_value_bytes=9"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("missing/history.db");
        assert!(Files::new("sqlite:missing/history.db", &named, Gate::default()).is_err());
        assert!(!folder.path().join("missing").exists());
    }
}
