//! What the page's files are served with.

use std::sync::Arc;

use annals_core::MemoryBackend;
use annals_server::{Config, router};

use crate::site::Site;

#[tokio::test]
async fn no_script_but_the_pages_own_may_run() {
    let site = Site::start(MemoryBackend::new()).await;
    let page = reqwest::get(site.url("")).await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let html = page.text().await.unwrap();
    assert!(
        !html.contains("<script>") && !html.contains(" style=") && !html.contains("http:"),
        "{html}"
    );
    let links = html.split('"').filter(|text| text.starts_with("page/"));
    for link in links {
        let file = reqwest::get(site.url(link)).await.unwrap();
        assert_eq!(file.status(), 200, "{link}");
        assert_eq!(file.headers()["content-security-policy"].to_str().unwrap(), policy);
    }
    assert_eq!(reqwest::get(site.url("page/other.js")).await.unwrap().status(), 404);
}

#[tokio::test]
async fn the_page_works_where_it_is_nested() {
    let inner = router(Arc::new(MemoryBackend::new()), Config::default()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let outer = axum::Router::new().nest("/my/history", inner);
    tokio::spawn(async move { axum::serve(listener, outer).await });
    let html = reqwest::get(format!("{base}/my/history")).await.unwrap().text().await.unwrap();
    assert!(html.contains("src=\"./history/page/app.js\""), "{html}");
    let script = reqwest::get(format!("{base}/my/history/page/app.js")).await.unwrap();
    assert_eq!(script.status(), 200);
}
