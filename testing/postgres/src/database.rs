//! The shared databases, one per locale.

use std::thread;

use tokio_postgres::{Client, NoTls};

use crate::Locale;

/// Any number that nobody else locks in a test server.
const LOCK: i64 = 0x616e_6e61_6c73_0001;

/// Creates the database of `locale` on the server at `url` unless it is there, and returns its
/// URL.
pub(crate) fn ensure(url: &str, locale: Locale) -> Result<String, String> {
    let (name, creation) = match locale {
        Locale::C => ("annals_test_c", "ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"),
        Locale::Icu => (
            "annals_test_icu",
            "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C' TEMPLATE template0",
        ),
    };
    create(url, name, creation)?;
    with_database(url, name)
}

/// As [`ensure`], for a database with an extension in it.
pub(crate) fn ensure_with(url: &str, extension: &'static str) -> Result<String, String> {
    let name = format!("annals_test_{extension}");
    create(url, &name, "ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0")?;
    let url = with_database(url, &name)?;
    blocking(&url, move |client| {
        Box::pin(async move {
            client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
            client.batch_execute(&format!("CREATE EXTENSION IF NOT EXISTS {extension}")).await
        })
    })?;
    Ok(url)
}

fn create(url: &str, name: &str, creation: &'static str) -> Result<(), String> {
    let name = name.to_owned();
    blocking(url, move |client| {
        Box::pin(async move {
            // CREATE DATABASE refuses to run in a transaction: the lock is the session's.
            client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
            let known = "SELECT 1 FROM pg_database WHERE datname = $1";
            if client.query_opt(known, &[&name]).await?.is_none() {
                client.batch_execute(&format!("CREATE DATABASE {name} {creation}")).await?;
            }
            Ok(())
        })
    })
}

/// What a statement with one row and one column of text answers.
pub(crate) fn one_text(url: &str, sql: &str) -> Result<String, String> {
    let sql = sql.to_owned();
    blocking(url, move |client| {
        Box::pin(async move { client.query_one(&sql, &[]).await?.try_get(0) })
    })
}

type Task<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + 'a>>;

/// Runs `task` on a connection of its own, on a thread of its own: the caller may be in a runtime.
fn blocking<T: Send + 'static>(
    url: &str,
    task: impl for<'a> FnOnce(&'a Client) -> Task<'a, T> + Send + 'static,
) -> Result<T, String> {
    let url = url.to_owned();
    let worker = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async move {
            let (client, connection) =
                tokio_postgres::connect(&url, NoTls).await.map_err(|error| describe(&error))?;
            let connection = tokio::spawn(connection);
            let result = task(&client).await.map_err(|error| describe(&error));
            drop(client);
            // The session's lock must be gone before the next one asks.
            let _ = connection.await;
            result
        })
    });
    worker.join().unwrap_or_else(|_| Err("the connecting thread panicked".to_owned()))
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(reported) => format!("the test server reports: {}", reported.message()),
        None => format!("the test server cannot be used: {error}"),
    }
}

/// `postgres://user:password@host/old?options` with another database.
fn with_database(url: &str, name: &str) -> Result<String, String> {
    let (base, options) = match url.split_once('?') {
        Some((base, options)) => (base, format!("?{options}")),
        None => (url, String::new()),
    };
    let authority = base.find("://").map(|at| at + 3).ok_or("the server's URL has no scheme")?;
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    Ok(format!("{}/{name}{options}", &base[..end]))
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_is_replaced() {
        let replaced = |url| with_database(url, "x").unwrap();
        assert_eq!(replaced("postgres://u:p@h:1/db?a=b"), "postgres://u:p@h:1/x?a=b");
        assert_eq!(replaced("postgres://h"), "postgres://h/x");
        assert_eq!(replaced("postgres:///db"), "postgres:///x");
    }
}
