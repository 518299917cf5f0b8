//! The two servers: annals, and a Prometheus of its own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::PersistenceBackend;
use annals_server::{Config, router};
use serde_json::Value;

/// Both servers over the same samples. Prometheus ends with this.
pub(crate) struct Servers {
    /// The addresses that queries are relative to: `…/prometheus/api/v1` and `…/api/v1`.
    pub(crate) annals: String,
    pub(crate) prometheus: String,
    process: Child,
    _directory: tempfile::TempDir,
}

/// Starts annals on a free port and returns its address.
pub(crate) async fn annals(history: impl PersistenceBackend + 'static) -> String {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(Arc::new(history), Config::default()).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/prometheus")
}

impl Servers {
    /// Starts both.
    ///
    /// # Panics
    /// Without the programs `prometheus` and `promtool`, and if Prometheus does not start.
    pub(crate) async fn start(
        history: impl PersistenceBackend + 'static,
        open_metrics: &str,
    ) -> Self {
        let annals = annals(history).await;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("samples.txt"), open_metrics).unwrap();
        std::fs::write(path("prometheus.yml"), "global: {}\n").unwrap();
        let blocks = ["tsdb", "create-blocks-from", "openmetrics", "--quiet"];
        promtool(&[&blocks[..], &[&path("samples.txt"), &path("data")]].concat());
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", path("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--query.lookback-delta=1d"])
            .args(["--log.level=error"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| missing("prometheus", error.kind()));
        let prometheus = format!("http://127.0.0.1:{port}");
        let servers = Self { annals, prometheus, process, _directory: directory };
        let started = Instant::now();
        while reqwest::get(format!("{}/-/ready", servers.prometheus))
            .await
            .is_ok_and(|answer| answer.status().is_success())
            .then_some(())
            .is_none()
        {
            assert!(started.elapsed() < Duration::from_secs(60), "Prometheus does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        servers
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

/// Runs promtool and returns what it prints.
pub(crate) fn promtool(arguments: &[&str]) -> String {
    let output = Command::new("promtool").args(arguments).output();
    let output = output.unwrap_or_else(|error| missing("promtool", error.kind()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn missing(program: &str, kind: ErrorKind) -> ! {
    panic!("{program} cannot be run ({kind}): install Debian's package `prometheus`")
}

/// The answer to a GET as JSON.
pub(crate) async fn get(base: &str, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let answer = reqwest::get(format!("{base}/api/v1/{path}?{query}")).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}
