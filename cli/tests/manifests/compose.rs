//! Checks `docker-compose.yml` and the image against the program, the workspace and the README.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::pods::{ensure, read_settings};
use crate::reading::folder;

fn root(file: &str) -> String {
    fs::read_to_string(folder().join("../..").join(file)).unwrap()
}

/// Checks what the file assumes of the program, the README and itself.
fn check(text: &str, readme: &str) -> Result<(), String> {
    let file: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let services = file["services"].as_object().ok_or("no services")?;
    for (name, service) in services {
        for other in service["depends_on"].as_object().into_iter().flatten() {
            ensure(services.contains_key(other.0), || format!("{name} waits for {}", other.0))?;
            let checked =
                services.get(other.0).is_some_and(|other| other.get("healthcheck").is_some());
            ensure(checked, || format!("nobody knows when {} is healthy", other.0))?;
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source =
                volume.as_str().and_then(|volume| volume.split(':').next()).unwrap_or_default();
            let there = match source.strip_prefix("./") {
                Some(path) => folder().join("../..").join(path).is_file(),
                None => file["volumes"].get(source).is_some(),
            };
            ensure(there, || format!("{name}: there is no volume {source}"))?;
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            let local = port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:"));
            ensure(local, || format!("{name} listens to the outside: {port}"))?;
        }
    }
    let default = text.split("TIMESCALEDB_PORT:-").nth(1).and_then(|rest| rest.split('}').next());
    let url = format!("annals:annals@127.0.0.1:{}/annals", default.unwrap_or_default());
    ensure(readme.contains(&url), || format!("the README does not say {url}"))?;

    let service = &file["services"]["service"];
    let environment = service["environment"].as_object().ok_or("no environment")?;
    let variables =
        environment.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let config = read_settings(variables)?;
    let stop = service["stop_grace_period"].as_str().and_then(|time| time.strip_suffix('s'));
    let stop = Duration::from_secs(stop.and_then(|time| time.parse().ok()).unwrap_or(10));
    ensure(stop > config.grace_period, || format!("it is killed after {stop:?}"))
}

#[test]
fn the_compose_file_holds_together() {
    check(&root("docker-compose.yml"), &root("README.md")).unwrap();
}

#[test]
fn a_mistake_in_the_compose_file_is_found() {
    for (right, wrong, says) in [
        ("ANNALS_BACKEND:", "DATABASE_URL:", "reads no DATABASE_URL"),
        ("postgres://annals", "mysql://annals", "mysql"),
        ("stop_grace_period: 30s\n\nvolumes", "stop_grace_period: 20s\n\nvolumes", "killed"),
        (
            "      timescaledb:\n        condition",
            "      timescale:\n        condition",
            "timescale",
        ),
        ("127.0.0.1:${ANNALS_POSTGRES_PORT", "${ANNALS_POSTGRES_PORT", "outside"),
        ("deploy/pgbouncer/userlist", "deploy/pgbouncer/users", "users"),
        ("\nvolumes:\n  timescaledb:", "\nvolumes:\n  timescale:", "volume timescaledb"),
        ("TIMESCALEDB_PORT:-54321", "TIMESCALEDB_PORT:-5432", "README"),
    ] {
        let text = root("docker-compose.yml");
        assert!(text.contains(right), "there is no {right}");
        let found = check(&text.replacen(right, wrong, 1), &root("README.md"));
        let found = found.expect_err(&format!("{wrong} goes unseen"));
        assert!(found.contains(says), "{wrong}: {found}");
    }
}

/// Checks that the build of the image has every member of the workspace, since cargo reads them all.
fn check_image(cargo: &str, ignored: &str, image: &str) -> Result<(), String> {
    let members = cargo.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (members, _) = members.ok_or("no members")?;
    for member in members.split('"').skip(1).step_by(2).filter(|member| *member != ".") {
        let folder = member.split('/').next().unwrap_or_default();
        let sent = ignored.lines().any(|line| line.strip_prefix('!') == Some(folder));
        ensure(sent, || format!("{folder} is kept from the build"))?;
    }
    let cli = root("cli/Cargo.toml");
    let needed = cli.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next());
    let rust = format!("rust:{}-", needed.ok_or("no rust-version")?);
    ensure(image.contains(&rust), || format!("the image is not built with {rust}"))
}

#[test]
fn the_image_is_built_with_all_it_needs() {
    let (cargo, ignored) = (root("Cargo.toml"), root(".dockerignore"));
    check_image(&cargo, &ignored, &root("Dockerfile")).unwrap();
    let found = check_image(&cargo, &ignored.replace("!testing", ""), &root("Dockerfile"));
    assert!(found.unwrap_err().contains("testing"));
    let found = check_image(&cargo, &ignored, &root("Dockerfile").replace("rust:1", "rust:0"));
    assert!(found.unwrap_err().contains("rust:1"));
}
