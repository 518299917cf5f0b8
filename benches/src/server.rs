//! A server in a process of its own, asked over HTTP.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Response;

use crate::{Failure, process};

/// A server, gone when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Server {
    /// Starts a program with a free port as the value of its last option, and waits until `probe` answers.
    pub(crate) async fn start(command: &mut Command, probe: &str) -> Result<Self, Failure> {
        let program = command.get_program().to_owned();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let process = command
            .arg(format!("127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", Path::new(&program).display()))?;
        let mut server = Self { process, address: format!("http://127.0.0.1:{port}") };
        while reqwest::get(server.url(probe)).await.is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("{} ended: {status}", Path::new(&program).display()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// `annals serve`, built beforehand.
    pub(crate) async fn annals(url: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("annals");
        let mut command = Command::new(program);
        command.args(["--backend", url, "serve", "--listen"]);
        Self::start(&mut command, "/livez").await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn mebibytes(&self) -> Result<f64, Failure> {
        Ok(process::kibibytes_of(self.process.id())? as f64 / 1_024.0)
    }

    pub(crate) fn peak_mebibytes(&self) -> Result<f64, Failure> {
        Ok(process::peak_kibibytes_of(self.process.id())? as f64 / 1_024.0)
    }
}

/// The bytes of an answer that was successful.
pub(crate) async fn body(answer: Response) -> Result<Vec<u8>, Failure> {
    let answer = answer.error_for_status()?;
    Ok(answer.bytes().await?.into())
}
