//! Checks `deploy/kubernetes` and `docker-compose.yml` against the program.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test may panic")]

mod compose;
mod pods;
mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use pods::{
    container_port, ensure, ensure_reads, hardened, labels, probes, secrets, selector_matches,
    settings, variables,
};
use reading::{Files, files, read};

/// Checks everything that a manifest assumes of another one, or of the program.
fn check(files: &Files) -> Result<(), String> {
    let manifests = read(files)?;
    let [deployment] = &manifests.deployments[..] else { return Err("one Deployment".into()) };
    let [service] = &manifests.services[..] else { return Err("one Service".into()) };
    let [cron_job] = &manifests.cron_jobs[..] else { return Err("one CronJob".into()) };
    let [patch] = &manifests.patches[..] else { return Err("one patch".into()) };
    let spec = deployment.spec.as_ref().ok_or("a Deployment without spec")?;
    let labels = labels(&spec.template);
    let pod = pods::pod(&spec.template)?;
    let [container] = &pod.containers[..] else { return Err("one container".into()) };

    hardened("the Deployment", pod)?;
    probes(container)?;
    let config = settings("the Deployment", container)?;
    let grace = Duration::from_secs(pod.termination_grace_period_seconds.unwrap_or(30) as u64);
    ensure(grace >= config.grace_period + Duration::from_secs(3), || {
        format!("the pod is killed after {grace:?}, and drains for {:?}", config.grace_period)
    })?;
    ensure(spec.replicas == Some(3), || "three replicas".to_owned())?;

    let selector = |selector: &Option<BTreeMap<String, String>>| {
        selector.as_ref().is_some_and(|selector| {
            !selector.is_empty()
                && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        })
    };
    ensure(selector(&spec.selector.match_labels), || "the Deployment selects others".to_owned())?;
    let ports = service.spec.as_ref().ok_or("a Service without spec")?;
    ensure(selector(&ports.selector), || "the Service selects nothing".to_owned())?;
    let named = |port: &IntOrString| match port {
        IntOrString::String(name) => container_port(container, name).is_some(),
        IntOrString::Int(_) => false,
    };
    for port in ports.ports.iter().flatten() {
        ensure(port.target_port.as_ref().is_some_and(named), || {
            format!("the Service's port {:?} leads nowhere", port.target_port)
        })?;
    }
    for budget in &manifests.budgets {
        let budget = budget.spec.as_ref().ok_or("a PodDisruptionBudget without spec")?;
        let chosen = budget.selector.as_ref().ok_or("a PodDisruptionBudget for all")?;
        ensure(selector(&chosen.match_labels), || "the budget selects nothing".to_owned())?;
    }
    for policy in &manifests.policies {
        let policy = policy.spec.as_ref().ok_or("a NetworkPolicy without spec")?;
        let chosen = policy.pod_selector.as_ref().ok_or("a NetworkPolicy for nobody")?;
        ensure(selector(&chosen.match_labels), || "the policy selects nothing".to_owned())?;
        for port in policy.ingress.iter().flatten().flat_map(|rule| rule.ports.iter().flatten()) {
            ensure(port.port.as_ref().is_some_and(named), || {
                format!("the policy opens {:?}, which is no port", port.port)
            })?;
        }
    }

    let changed = patch.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let changed = changed.ok_or("a patch of nothing")?;
    ensure(patch.metadata.name == deployment.metadata.name, || "a patch of another".to_owned())?;
    let [changed] = &changed.containers[..] else { return Err("one patched container".into()) };
    ensure(changed.name == container.name, || "a patch of another container".to_owned())?;
    let changed: Vec<_> = variables(changed).collect();
    ensure(changed == [("ANNALS_RETENTION", Some("forever"))], || format!("{changed:?}"))?;

    let job = cron_job.spec.as_ref().and_then(|spec| spec.job_template.spec.as_ref());
    let template = &job.ok_or("a CronJob without job")?.template;
    ensure(!selector_matches(&ports.selector, template), || {
        "the Service finds the CronJob".into()
    })?;
    sweep(pods::pod(template)?, container)
}

/// Checks that the CronJob runs a valid `annals cleanup`, in the same image, on the same database.
fn sweep(pod: &PodSpec, service: &Container) -> Result<(), String> {
    hardened("the CronJob", pod)?;
    let [container] = &pod.containers[..] else { return Err("one container in the job".into()) };
    ensure(container.image == service.image, || "the job has another image".to_owned())?;
    let arguments: Vec<&str> = container.args.iter().flatten().map(String::as_str).collect();
    let ["cleanup", "--older-than", age, "--yes"] = arguments[..] else {
        return Err(format!("the job runs {arguments:?}"));
    };
    let window = variables(service).find(|(name, _)| *name == "ANNALS_RETENTION");
    ensure(window == Some(("ANNALS_RETENTION", Some(age))), || {
        format!("the replicas keep {window:?}, the job {age}")
    })?;
    ensure_reads("cleanup", variables(container).map(|(name, _)| name))?;
    ensure(secrets(container) == secrets(service), || "the job has another secret".to_owned())
}

#[test]
fn the_manifests_hold_together() {
    check(&files()).unwrap();
}

/// The check above refuses each of these mistakes and says where it is.
#[test]
fn a_mistake_is_found() {
    for (file, right, wrong, says) in [
        ("base/deployment.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem", "unknown"),
        ("base/deployment.yaml", "livenessProbe", "livenesProbe", "unknown"),
        ("base/deployment.yaml", "replicas: 3", "replicas: \"3\"", "invalid type"),
        ("base/deployment.yaml", "replicas: 3", "replicas: 3\n  replicas: 3", "duplicate"),
        (
            "base/deployment.yaml",
            "terminationGracePeriodSeconds: 30",
            "terminationGracePeriodSeconds: 20",
            "killed",
        ),
        ("base/deployment.yaml", "ANNALS_RETENTION", "ANNALS_RETENTON", "ANNALS_RETENTON"),
        ("base/deployment.yaml", "value: 25s", "value: 12s", "--grace-period"),
        ("base/deployment.yaml", "value: 0.0.0.0:8080", "value: 0.0.0.0:8081", "8081"),
        ("base/deployment.yaml", "path: /livez", "path: /healthz", "/healthz"),
        ("base/deployment.yaml", "- serve", "- server", "server"),
        ("base/deployment.yaml", "port: http", "port: web", "web"),
        ("base/deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "root"),
        ("base/deployment.yaml", "- ALL", "- NET_RAW", "NET_RAW"),
        ("base/service.yaml", "targetPort: http", "targetPort: web", "web"),
        (
            "base/service.yaml",
            "component: service\n  ports",
            "component: web\n  ports",
            "Service selects",
        ),
        ("base/networkpolicy.yaml", "port: http", "port: web", "web"),
        ("base/networkpolicy.yaml", "policyTypes", "policyType", "unknown"),
        ("base/poddisruptionbudget.yaml", "maxUnavailable", "maxUnavailabel", "unknown"),
        ("base/kustomization.yaml", "  - service.yaml\n", "", "in no kustomization"),
        ("base/kustomization.yaml", "resources", "resorces", "resorces"),
        ("cronjob/kustomization.yaml", "- cronjob.yaml", "- cron.yaml", "cron.yaml"),
        ("cronjob/no-sweeps.yaml", "forever", "1d", "1d"),
        ("cronjob/cronjob.yaml", "concurrencyPolicy", "concurencyPolicy", "unknown"),
        ("cronjob/cronjob.yaml", "- 90d", "- 30d", "30d"),
        ("cronjob/cronjob.yaml", "ANNALS_BACKEND", "ANNALS_DATABASE", "ANNALS_DATABASE"),
        ("cronjob/cronjob.yaml", "key: url", "key: uri", "secret"),
    ] {
        let mut files = files();
        let text = files.get_mut(file).unwrap();
        assert!(text.contains(right), "{file} has no {right}");
        *text = text.replacen(right, wrong, 1);
        let found = check(&files).expect_err(&format!("{wrong} in {file} goes unseen"));
        assert!(found.contains(says), "{wrong} in {file}: {found}");
    }
    let mut files = files();
    let secret = "apiVersion: v1\nkind: Secret\nstringData:\n  url: postgres://a:b@c/d\n";
    files.insert("base/secret.yaml".to_owned(), secret.to_owned());
    assert!(check(&files).unwrap_err().contains("v1 Secret"));
}
