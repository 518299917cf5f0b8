//! The page in a real browser.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic")]

mod browser;
mod headers;
mod site;

use annals_core::{Batch, MemoryBackend, PersistenceBackend, Row, StoreExt};
use annals_server::{Access, Config, GrammarName, Grant, Right, TokenLimits, Tokens};
use fantoccini::key::Key;
use serde_json::json;

use crate::browser::Browser;
use crate::site::{HOSTILE, Site, hour, now};

/// Chooses the record whose name is shown in full in the list.
async fn choose(browser: &Browser, name: &str) {
    let search = browser.find("#search").await;
    search.clear().await.unwrap();
    search.send_keys(name).await.unwrap();
    let quoted = json!(name);
    browser
        .until(&format!("[...document.querySelectorAll('.row')].some(r => r.title === {quoted})"))
        .await;
    let click = "[...document.querySelectorAll('.row')].find(r => r.title === NAME).click()";
    browser.run(&click.replace("NAME", &quoted.to_string())).await;
    browser.until(&format!("location.hash.length > 1 && [...document.querySelectorAll('.row[aria-selected=true]')].some(r => r.title === {quoted})")).await;
}

/// The value of a series at the end of the window, as the legend has it.
const LEGEND: &str = "[...document.querySelectorAll('#legend tbody tr')].map(r => [r.cells[0].innerText.trim(), r.cells[1].innerText])";

/// Whether anything of a colour of the series is drawn in the first chart.
const INK: &str = "(() => { const c = document.querySelector('canvas.chart'); if (!c) return 0; \
    const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; \
    for (let i = 0; i < d.length; i += 4) { const [r, g, b] = [d[i], d[i+1], d[i+2]]; \
    if (Math.max(r, g, b) - Math.min(r, g, b) > 60) n += 1; } return n; })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_found_drawn_zoomed_and_shared_by_url() {
    let site = Site::start(hour().await).await;
    let browser = Browser::start(1200, 900).await;
    browser.driver.goto(&site.url("")).await.unwrap();
    browser.until("document.querySelectorAll('.row').length > 0").await;
    assert_eq!(browser.run("return document.getElementById('count').innerText").await, "4 records");

    choose(&browser, "host::cpu0").await;
    choose(&browser, "host::cpu1").await;
    browser.until(&format!("{INK} > 500")).await;
    browser
        .until(&format!("{LEGEND}.length === 2 && {LEGEND}.every(([, value]) => value !== '')"))
        .await;
    assert_eq!(browser.run("return document.querySelectorAll('canvas.chart').length").await, 1);

    // Dragging over the middle half of the chart zooms in.
    let hash = browser.run("return location.hash").await;
    let chart = browser.find("canvas.chart").await;
    browser.drag(chart, (-200, 0), (300, 5)).await;
    browser.until("location.hash.includes('from=')").await;
    let span = "(p => Number(p.get('to')) - Number(p.get('from')))(new URLSearchParams(location.hash.slice(1)))";
    let span = browser.run(&format!("return {span}")).await.as_f64().unwrap();
    assert!((300_000.0..2_000_000.0).contains(&span), "{span}");
    browser.until(&format!("{INK} > 500")).await;

    // The address is the view: another tab shows the same.
    let zoomed = browser.driver.current_url().await.unwrap();
    browser.driver.back().await.unwrap();
    browser.until(&format!("location.hash === {hash}")).await;
    browser.driver.goto("about:blank").await.unwrap();
    browser.driver.goto(zoomed.as_str()).await.unwrap();
    browser.until(&format!("{INK} > 500 && {LEGEND}.length === 2")).await;

    // The value at the cursor, with the keyboard alone.
    let chart = browser.find("canvas.chart").await;
    browser.run("document.querySelector('canvas.chart').focus()").await;
    chart.send_keys(&char::from(Key::Home).to_string()).await.unwrap();
    browser.until("document.getElementById('at').innerText !== 'Last'").await;
    browser.until(&format!("{LEGEND}.every(([, value]) => Number(value) > 0)")).await;
    chart.send_keys("+").await.unwrap();
    browser.until(&format!("location.href !== {}", json!(zoomed.as_str()))).await;

    // What is drawn, as a table.
    browser.run("document.querySelector('#table-details summary').click()").await;
    browser.until("document.querySelectorAll('#values tbody tr').length > 5").await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_a_band_and_new_values_come_into_view() {
    let site = Site::start(hour().await).await;
    let browser = Browser::start(1200, 900).await;
    browser.driver.goto(&site.url("")).await.unwrap();
    choose(&browser, "door::front").await;
    browser.until(&format!("JSON.stringify({LEGEND}).includes('closed')")).await;
    assert_eq!(browser.run("return document.querySelectorAll('canvas.band').length").await, 1);
    site.history.put("door::front", &json!({ "state": "ajar" })).await.unwrap();
    browser.until(&format!("JSON.stringify({LEGEND}).includes('ajar')")).await;

    choose(&browser, "host::cpu0").await;
    browser.until(&format!("{LEGEND}.length === 2")).await;
    site.history.put("host::cpu0", &json!({ "percent": 123456 })).await.unwrap();
    browser
        .until("[...document.querySelectorAll('#legend td')].some(c => c.innerText === '123,456')")
        .await;
    browser.stop().await;
}

/// A limited token drew the beginning of the window as if it were all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_token_sees_all_of_the_window_in_fewer_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.json");
    let add = |name: &str, right, limits| {
        let pattern = "*".to_owned();
        let grant = Grant { rights: vec![right], pattern, grammar: GrammarName::Glob };
        Tokens::add(&file, name, vec![grant], limits).unwrap().reveal().to_owned()
    };
    let few = TokenLimits {
        rows_per_answer: Some(50),
        concurrent_queries: Some(1),
        ..TokenLimits::default()
    };
    let limited = add("limited", Right::Read, few);
    let writer = add("writer", Right::Write, TokenLimits::default());
    let history = hour().await;
    for number in 0..120_u64 {
        history
            .put_at("plant::ramp", &json!(number), now() - 3_000_000 + number * 24_000)
            .await
            .unwrap();
    }
    let config = Config::default().with_access(Access::Tokens(Tokens::open(&file).unwrap()));
    let site = Site::with(history, config).await;
    let browser = Browser::start(1200, 900).await;
    browser.driver.goto(&site.url("")).await.unwrap();
    // One without the right, and one that there is not: the page says so and asks for another.
    for (token, says) in [(&*writer, "may not read"), ("none", "does not know")] {
        browser.until("!document.querySelector('#token-form').hidden").await;
        let input = browser.find("#token").await;
        input.clear().await.unwrap();
        input.send_keys(token).await.unwrap();
        browser.run("document.querySelector('#token-form button').click()").await;
        let alert = format!("document.querySelector('#alert').innerText.includes('{says}')");
        browser.until(&alert).await;
        // A refusal is final until another token is given: the page does not ask again and again.
        let asked = "return performance.getEntriesByType('resource').filter(r => r.name.includes('/v1/')).length";
        let asked = browser.run(asked).await.as_u64().unwrap();
        assert!(asked < 20, "{asked} requests");
    }
    let input = browser.find("#token").await;
    input.clear().await.unwrap();
    input.send_keys(&limited).await.unwrap();
    browser.run("document.querySelector('#token-form button').click()").await;
    browser.until("document.querySelector('#count').innerText === '5 records'").await;
    choose(&browser, "plant::ramp").await;
    // Mean, minimum and maximum of the ramp, and its last values.
    let cells = "[...document.querySelectorAll('#legend tbody td')].map(cell => cell.innerText)";
    browser.until(&format!("{cells}.slice(1, 4).join() === '59.5,0,119'")).await;
    browser.until(&format!("Number({cells}[0]) >= 117")).await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_and_values_are_text() {
    let site = Site::start(hour().await).await;
    let browser = Browser::start(1200, 900).await;
    browser.driver.goto(&site.url("")).await.unwrap();
    browser.until("document.querySelectorAll('.row').length > 0").await;
    choose(&browser, HOSTILE).await;
    let quoted = json!(HOSTILE).to_string();
    browser.until(&format!("document.querySelector('#legend').innerText.includes({quoted})")).await;
    browser.until("document.querySelectorAll('canvas.band').length === 1").await;
    browser.run("document.querySelector('#table-details summary').click()").await;
    browser.until(&format!("document.querySelector('#values').innerText.includes({quoted})")).await;
    assert_eq!(browser.run("return document.querySelectorAll('img').length").await, 0);
    // An alert would make this call fail.
    assert_eq!(browser.driver.title().await.unwrap(), "annals");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_records_are_searched_with_few_elements() {
    let history = MemoryBackend::new();
    let at = now();
    let row = |number: u64| {
        let name = format!("plant{}::line{}::sensor{number}", number % 10, number % 100);
        Row::new(&name, &json!({ "value": number }), at).unwrap()
    };
    let rows: Vec<Row> = (0..10_000).map(row).collect();
    history.store_batch(&Batch::new(rows)).await.unwrap();
    let site = Site::start(history).await;
    let browser = Browser::start(1200, 900).await;
    browser.driver.goto(&site.url("")).await.unwrap();
    browser.until("document.getElementById('count').innerText === '10,000 records'").await;
    browser.until("document.querySelectorAll('.row').length === 10").await;

    let search = browser.find("#search").await;
    search.send_keys("plant").await.unwrap();
    browser
        .until("document.getElementById('count').innerText === '10,000 of 10,000 records'")
        .await;
    let rows = "return document.querySelectorAll('.row').length";
    assert!(browser.run(rows).await.as_u64().unwrap() < 100, "all rows are in the document");
    // To the end of the tree with the keyboard.
    let tree = browser.find("#tree").await;
    browser.run("document.getElementById('tree').focus()").await;
    tree.send_keys(&char::from(Key::End).to_string()).await.unwrap();
    browser
        .until("document.querySelector('.row.active')?.title === 'plant9::line9::sensor9909'")
        .await;
    assert!(browser.run(rows).await.as_u64().unwrap() < 100, "all rows are in the document");

    let took = browser
        .run("const s = document.getElementById('search'); const t = performance.now(); \
              s.value = 'sensor777'; s.dispatchEvent(new Event('input')); return performance.now() - t")
        .await;
    assert!(took.as_f64().unwrap() < 2_000.0, "a search takes {took} ms");
    browser.until("document.getElementById('count').innerText === '11 of 10,000 records'").await;
    choose(&browser, "plant7::line77::sensor7777").await;
    browser.until(&format!("{LEGEND}.some(([, value]) => value === '7,777')")).await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_is_said_and_found_again() {
    let mut site = Site::start(hour().await).await;
    let browser = Browser::start(1200, 900).await;
    browser.driver.goto(&site.url("")).await.unwrap();
    choose(&browser, "host::cpu0").await;
    browser.until(&format!("{INK} > 500")).await;
    site.go_away().await;
    browser.until("!document.getElementById('alert').hidden").await;
    let text = browser.run("return document.getElementById('alert').innerText").await;
    assert!(text.as_str().unwrap().contains("cannot be reached"), "{text}");
    // What was drawn stays.
    assert!(browser.run(&format!("return {INK}")).await.as_u64().unwrap() > 500);
    site.come_back().await;
    browser.until("document.getElementById('alert').hidden").await;
    site.history.put("host::cpu0", &json!({ "percent": 654321 })).await.unwrap();
    browser
        .until("[...document.querySelectorAll('#legend td')].some(c => c.innerText === '654,321')")
        .await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_fits_small_and_large_screens() {
    let site = Site::start(hour().await).await;
    let series = "#range=1h&s=n:percent:host::cpu0&s=n:percent:host::cpu1&s=t:state:door::front";
    for (width, height) in [(500, 700), (3840, 2160)] {
        let browser = Browser::start(width, height).await;
        browser.driver.goto(&site.url(series)).await.unwrap();
        browser.until(&format!("{INK} > 300 && {LEGEND}.length === 3")).await;
        // Nothing is wider than the screen.
        let wide =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(wide).await, 0, "{width} pixels");
        browser.stop().await;
    }
}
