//! A Chromium without a window, driven through chromedriver.

use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use thirtyfour::prelude::*;

/// How long anything on the page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser. It ends with this.
pub(crate) struct Browser {
    pub(crate) driver: WebDriver,
    process: Child,
}

impl Browser {
    /// Starts chromedriver and a browser of the given size.
    ///
    /// # Panics
    /// Without the programs `chromedriver` and `chromium`.
    pub(crate) async fn start(width: u32, height: u32) -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| missing(error.kind()));
        let port = port(&mut process);
        let mut wanted = DesiredCapabilities::chrome();
        for argument in
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--window-size={width},{height}")).unwrap();
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.unwrap();
        Self { driver, process }
    }

    /// Runs a script that returns a value.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::<Value>::new()).await;
        result.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let started = Instant::now();
        while self.run(&format!("return Boolean({expression})")).await != Value::Bool(true) {
            if started.elapsed() > PATIENCE {
                let text = self.run("return document.body.innerText").await;
                panic!("not so within {PATIENCE:?}: {expression}\n{}", text.as_str().unwrap_or(""));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Ends the browser.
    pub(crate) async fn stop(self) {
        // The driver's end is the browser's as well.
        let _quit = self.driver.clone().quit().await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

/// The port that chromedriver says it listens on.
fn port(process: &mut Child) -> u16 {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some((_, port)) = line.rsplit_once("successfully on port ") {
            return port.trim_end_matches('.').parse().unwrap();
        }
    }
    panic!("chromedriver does not start")
}

fn missing(kind: ErrorKind) -> ! {
    panic!(
        "chromedriver cannot be run ({kind}): install Debian's packages `chromium` and \
         `chromium-driver`"
    )
}
