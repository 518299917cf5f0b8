//! A Chromium without a window, driven through chromedriver.

use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long anything on the page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser. It ends with this.
pub(crate) struct Browser {
    pub(crate) driver: Client,
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
        let size = format!("--window-size={width},{height}");
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &size];
        let wanted =
            json!({ "browserName": "chrome", "goog:chromeOptions": { "args": arguments } });
        let driver = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Self { driver, process }
    }

    /// Runs a script that returns a value.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await;
        result.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The first element that a CSS selector finds.
    pub(crate) async fn find(&self, selector: &str) -> Element {
        self.driver.find(Locator::Css(selector)).await.unwrap()
    }

    /// Drags the mouse by so many pixels, from a place relative to the middle of an element.
    pub(crate) async fn drag(&self, element: Element, from: (i64, i64), by: (i64, i64)) {
        let ((x, y), (right, down)) = (from, by);
        let duration = Some(Duration::from_millis(100));
        let actions = MouseActions::new("mouse".to_owned())
            .then(PointerAction::MoveToElement { element, duration, x: x as f64, y: y as f64 })
            .then(PointerAction::Down { button: 0 })
            .then(PointerAction::MoveBy { duration, x: right as f64, y: down as f64 })
            .then(PointerAction::Up { button: 0 });
        self.driver.perform_actions(actions).await.unwrap();
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
        let _closed = self.driver.clone().close().await;
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
