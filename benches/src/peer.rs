//! AimDB's own SQLite backend, in a process of its own: its SQLite and ours cannot be linked
//! together.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;

/// Builds the peer.
pub(crate) fn build() -> Result<(), Failure> {
    let built = cargo("build").status()?;
    if built.success() { Ok(()) } else { Err("the peer could not be built".into()) }
}

/// Runs the peer with `arguments`; answers the figure called `member`.
pub(crate) fn measure(arguments: &[String], member: &str) -> Result<f64, Failure> {
    let run = cargo("run").arg("--").args(arguments).stderr(Stdio::inherit()).output()?;
    if !run.status.success() {
        return Err(format!("the peer failed: {}", arguments.join(" ")).into());
    }
    let answer: Value = serde_json::from_slice(&run.stdout)?;
    answer[member].as_f64().ok_or_else(|| "the peer gave no figure".into())
}

fn cargo(command: &str) -> Command {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/aimdb/Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([command, "--quiet", "--release", "--manifest-path"]).arg(manifest);
    cargo
}
