//! Reads the manifests strictly.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file of `deploy/kubernetes`.
pub type Files = BTreeMap<String, String>;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

pub fn files() -> Files {
    let mut files = Files::new();
    for part in ["base", "cronjob"] {
        for entry in fs::read_dir(folder().join(part)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let text = fs::read_to_string(folder().join(part).join(&name)).unwrap();
            files.insert(format!("{part}/{name}"), text);
        }
    }
    files
}

/// Reads one manifest; a member that the kind does not have is an error.
pub fn strict<T: DeserializeOwned>(file: &str, value: &Value) -> Result<T, String> {
    let mut unknown = Vec::new();
    let read = serde_ignored::deserialize(value, |path| unknown.push(path.to_string()));
    let read = read.map_err(|error| format!("{file}: {error}"))?;
    match unknown.is_empty() {
        true => Ok(read),
        false => Err(format!("{file}: unknown: {}", unknown.join(", "))),
    }
}

/// The part of a kustomization that is used here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    api_version: String,
    kind: String,
    resources: Vec<String>,
    #[serde(default)]
    patches: Vec<Patch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    path: String,
}

#[derive(Default)]
pub struct Manifests {
    pub deployments: Vec<Deployment>,
    pub services: Vec<Service>,
    pub budgets: Vec<PodDisruptionBudget>,
    pub policies: Vec<NetworkPolicy>,
    pub cron_jobs: Vec<CronJob>,
    pub patches: Vec<Deployment>,
}

pub fn read(files: &Files) -> Result<Manifests, String> {
    let mut manifests = Manifests::default();
    let mut patches = Vec::new();
    let mut used = Vec::new();
    for (file, text) in files {
        let value: Value =
            serde_saphyr::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        let kind = format!("{} {}", text_of(&value, "apiVersion"), text_of(&value, "kind"));
        let is_patch = file.ends_with("no-sweeps.yaml");
        match kind.as_str() {
            "apps/v1 Deployment" if is_patch => manifests.patches.push(strict(file, &value)?),
            "apps/v1 Deployment" => manifests.deployments.push(strict(file, &value)?),
            "v1 Service" => manifests.services.push(strict(file, &value)?),
            "policy/v1 PodDisruptionBudget" => manifests.budgets.push(strict(file, &value)?),
            "networking.k8s.io/v1 NetworkPolicy" => manifests.policies.push(strict(file, &value)?),
            "batch/v1 CronJob" => manifests.cron_jobs.push(strict(file, &value)?),
            "kustomize.config.k8s.io/v1beta1 Kustomization" => {
                let part = file.split('/').next().unwrap();
                let read: Kustomization =
                    serde_json::from_value(value).map_err(|error| format!("{file}: {error}"))?;
                assert!(read.api_version.ends_with("v1beta1") && read.kind == "Kustomization");
                used.extend(read.resources.iter().map(|name| format!("{part}/{name}")));
                patches.extend(read.patches.iter().map(|patch| format!("{part}/{}", patch.path)));
            }
            // A Secret here would be a secret in the repository.
            kind => return Err(format!("{file}: {kind} is not expected here")),
        }
    }
    used.extend(patches);
    for name in &used {
        if name != "cronjob/../base" && !files.contains_key(name) {
            return Err(format!("{name} is named by a kustomization and is not there"));
        }
    }
    for file in files.keys().filter(|file| !file.ends_with("kustomization.yaml")) {
        if !used.contains(file) {
            return Err(format!("{file} is in no kustomization"));
        }
    }
    Ok(manifests)
}

pub fn text_of<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}
