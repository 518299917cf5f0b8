//! Checks of pods and containers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

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
        ensure(asked == path, || format!("a probe asks for {asked:?}"))?;
        let IntOrString::String(port) = &get.port else { return Err("a probe's port".into()) };
        ensure(container_port(container, port).is_some(), || format!("no port {port}"))?;
    }
    Ok(())
}

/// What a manifest says to the program.
pub struct Settings {
    pub listen: SocketAddr,
    pub grace_period: Duration,
}

/// Checks that the program accepts its environment and listens on the container's port.
pub fn settings(of: &str, container: &Container) -> Result<Settings, String> {
    let arguments: Vec<&str> = container.args.iter().flatten().map(String::as_str).collect();
    ensure(arguments == ["serve"], || format!("{of} runs {arguments:?}"))?;
    let given = variables(container)
        .map(|(name, value)| (name, value.unwrap_or("postgres://from@the/secret")));
    let settings = read_settings(given).map_err(|error| format!("{of}: {error}"))?;
    let port = container_port(container, "http").ok_or("no port http")?;
    let listen = settings.listen;
    ensure(i32::from(listen.port()) == port, || format!("it listens on {listen}"))?;
    ensure(!secrets(container).is_empty(), || format!("{of} has no secret"))?;
    Ok(settings)
}

/// The settings of `variables`, all of which the program must know and take.
pub fn read_settings<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Settings, String> {
    let variables: BTreeMap<&str, &str> = variables.into_iter().collect();
    ensure_reads("serve", variables.keys().copied())?;
    annals(&variables, &["serve", "--check"])?;
    let listen = variables.get("ANNALS_LISTEN").ok_or("no ANNALS_LISTEN")?;
    let grace = variables.get("ANNALS_GRACE_PERIOD").unwrap_or(&"25s");
    Ok(Settings {
        listen: listen.parse().map_err(|error| format!("{listen}: {error}"))?,
        grace_period: annals::duration::parse(grace).map_err(|error| error.to_string())?,
    })
}

/// Checks that a command reads all of these variables.
pub fn ensure_reads<'a>(
    command: &str,
    variables: impl IntoIterator<Item = &'a str>,
) -> Result<(), String> {
    let help = annals(&BTreeMap::new(), &[command, "--help"])?;
    for name in variables {
        let reads = help.contains(&format!("[env: {name}"));
        ensure(reads, || format!("annals {command} reads no {name}"))?;
    }
    Ok(())
}

/// What `annals` prints, or what it complains of.
fn annals(variables: &BTreeMap<&str, &str>, arguments: &[&str]) -> Result<String, String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_annals"));
    let output = program.env_clear().envs(variables).args(arguments).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
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
