//! Checks of pods and containers.

use std::collections::BTreeMap;

use annals_example_cloud_service::{Config, PATHS};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub fn pod(template: &PodTemplateSpec) -> Result<&PodSpec, String> {
    template.spec.as_ref().ok_or_else(|| "a template without pod".to_owned())
}

pub fn labels(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default()
}

pub fn selector_matches(
    selector: &Option<BTreeMap<String, String>>,
    template: &PodTemplateSpec,
) -> bool {
    let labels = labels(template);
    selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

pub fn hardened(of: &str, pod: &PodSpec) -> Result<(), String> {
    let whole =
        pod.security_context.as_ref().ok_or_else(|| format!("{of}: no security context"))?;
    ensure(whole.run_as_non_root == Some(true), || format!("{of} may run as root"))?;
    ensure(pod.automount_service_account_token == Some(false), || format!("{of} has a token"))?;
    ensure(pod.enable_service_links == Some(false), || format!("{of} has service links"))?;
    for container in &pod.containers {
        let context = container.security_context.as_ref();
        let context = context.ok_or_else(|| format!("{of}: no security context"))?;
        let dropped = context.capabilities.as_ref().and_then(|all| all.drop.as_ref());
        ensure(
            context.read_only_root_filesystem == Some(true)
                && context.allow_privilege_escalation == Some(false)
                && dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL")),
            || format!("{of}: {context:?}"),
        )?;
        let resources =
            container.resources.as_ref().ok_or_else(|| format!("{of}: no resources"))?;
        let bounded = |quantities: &Option<BTreeMap<String, _>>, name| {
            quantities.as_ref().is_some_and(|quantities| quantities.contains_key(name))
        };
        ensure(
            bounded(&resources.requests, "cpu")
                && bounded(&resources.requests, "memory")
                && bounded(&resources.limits, "memory"),
            || format!("{of}: {resources:?}"),
        )?;
    }
    Ok(())
}

pub fn probes(container: &Container) -> Result<(), String> {
    for (probe, path) in
        [(&container.liveness_probe, "/livez"), (&container.readiness_probe, "/readyz")]
    {
        let get = probe.as_ref().and_then(|probe| probe.http_get.as_ref());
        let get = get.ok_or_else(|| format!("no probe of {path}"))?;
        let asked = get.path.as_deref().unwrap_or_default();
        ensure(asked == path && PATHS.contains(&asked), || format!("a probe asks for {asked:?}"))?;
        let IntOrString::String(port) = &get.port else { return Err("a probe's port".into()) };
        ensure(container_port(container, port).is_some(), || format!("no port {port}"))?;
    }
    Ok(())
}

/// Checks that the program accepts its environment and listens on the container's port.
pub fn settings(of: &str, container: &Container) -> Result<Config, String> {
    let given = variables(container)
        .map(|(name, value)| (name, value.unwrap_or("postgres://from@the/secret")));
    let config = read_settings(given).map_err(|error| format!("{of}: {error}"))?;
    let port = container_port(container, "http").ok_or("no port http")?;
    ensure(i32::from(config.listen.port()) == port, || format!("it listens on {}", config.listen))?;
    ensure(!secrets(container).is_empty(), || format!("{of} has no secret"))?;
    Ok(config)
}

/// The settings of `variables`, all of which the program must know.
pub fn read_settings<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Config, String> {
    let (known, variables) = (Config::variables(), Vec::from_iter(variables));
    for (name, _) in &variables {
        ensure(known.iter().any(|known| known == name), || format!("the program reads no {name}"))?;
    }
    Config::from_variables(variables).map_err(|error| error.to_string())
}

/// Names and values; a value from a secret is `None`.
pub fn variables(container: &Container) -> impl Iterator<Item = (&str, Option<&str>)> {
    container
        .env
        .iter()
        .flatten()
        .map(|variable| (variable.name.as_str(), variable.value.as_deref()))
}

/// The secrets, and their keys.
pub fn secrets(container: &Container) -> Vec<(String, String)> {
    let sources = container.env.iter().flatten().filter_map(|name| name.value_from.as_ref());
    let secrets = sources.filter_map(|source| source.secret_key_ref.as_ref());
    secrets.map(|secret| (secret.name.clone(), secret.key.clone())).collect()
}

pub fn container_port(container: &Container, name: &str) -> Option<i32> {
    let mut ports = container.ports.iter().flatten();
    Some(ports.find(|port| port.name.as_deref() == Some(name))?.container_port)
}

pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
