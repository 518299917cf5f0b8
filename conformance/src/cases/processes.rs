//! CONCURRENT-4: one store, several processes.

use annals_core::{Durability, Grammar, QueryParams};

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, skip};
use crate::child::{Role, role};
use crate::context::{Context, Store, joined};

cases![
    concurrent_4_initializing_again_changes_nothing,
    concurrent_4_processes_initialize_one_database_at_once,
    concurrent_4_processes_see_what_others_store,
    concurrent_4_a_second_process_gets_a_clear_error,
];

async fn concurrent_4_initializing_again_changes_nothing(cx: &Context) -> Verdict {
    let location = cx.location().await?;
    let backend = cx.harness().open(&location).await.during("opening a store")?;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { backend.initialize().await })
        })
        .collect();
    for task in tasks {
        joined(task.await)?.during("initializing one handle from many tasks")?;
    }
    let store = Store { location, backend };
    store.put("r", 1, 1).await?;
    store.initialize().await.during("initializing again")?;
    equal("the rows", &store.values("r", QueryParams::default()).await?, &[1])
}

async fn concurrent_4_processes_initialize_one_database_at_once(cx: &Context) -> Verdict {
    const PROCESSES: usize = 4;
    let claims = cx.fresh().await?;
    claims.must_claim(claims.claims().many_processes, "many_processes")?;
    drop(claims);
    // Nobody has opened this one.
    let location = cx.location().await?;
    let mut children = Vec::new();
    for process in 0..PROCESSES {
        children.push(cx.child(&location, Role::Open { record: format!("p{process}") }).await?);
    }
    let here: Vec<_> = (0..3)
        .map(|_| {
            let (suite, location) = (cx.suite.clone(), location.clone());
            tokio::spawn(async move {
                let backend = suite.harness.open(&location).await.during("opening a store")?;
                backend.initialize().await.during("initializing a store beside others")
            })
        })
        .collect();
    for task in here {
        joined(task.await)??;
    }
    for child in &mut children {
        equal("what a process says of the open store", &child.line().await?, &"opened")?;
    }
    let store = cx.open(&location).await?;
    let names = store.names("*", QueryParams::default()).await?;
    equal("the records, one from each process", &names, &["p0", "p1", "p2", "p3"])?;
    for child in children {
        child.end().await?;
    }
    Ok(())
}

/// What one process has stored, another that has the store open sees in every kind of read; a
/// record that one has emptied, another writes again.
async fn concurrent_4_processes_see_what_others_store(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().many_processes, "many_processes")?;
    // So that there is something to remember wrongly.
    store.put(role::SHARED, "first", 1).await?;
    store.all().await?;
    store.records("*", Grammar::Glob).await?;
    let mut child = cx.child(&store.location, Role::Share).await?;
    equal("what the other process says", &child.line().await?, &"stored")?;
    let expected: Vec<u64> = (0..role::SHARED_ROWS).rev().collect();
    for record in [role::SHARED, role::OTHER] {
        let latest = store.values(record, QueryParams::latest(1)).await?;
        equal(format!("the latest row of {record}"), &latest, &[role::SHARED_ROWS - 1])?;
        let range = store.values(record, QueryParams::range(10, u64::MAX)).await?;
        equal(format!("what another process stored to {record}"), &range, &expected)?;
    }
    let listed = store.records("*", Grammar::Glob).await?;
    let listed: Vec<_> = listed.iter().map(|r| (&*r.record, r.count)).collect();
    let rows = role::SHARED_ROWS;
    equal("the listing", &listed, &[(role::OTHER, rows), (role::SHARED, rows + 1)])?;
    store.put(role::SHARED, role::ANSWER, 1_000).await?;
    equal("what the other process says", &child.line().await?, &"seen")?;
    // The cut-off spares what the other process stores as soon as the store is empty.
    equal("the rows removed", &store.cleanup(2_000).await?, &(2 * rows + 2))?;
    equal("what the other process says", &child.line().await?, &"stored again")?;
    let again = [role::OTHER, role::SHARED];
    equal("the records", &store.names("*", QueryParams::default()).await?, &again)?;
    equal("the values", &store.values("*", QueryParams::default()).await?, &["again"; 2])?;
    child.end().await.map(drop)
}

async fn concurrent_4_a_second_process_gets_a_clear_error(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    if store.claims().many_processes {
        return skip("the backend claims many_processes");
    }
    if store.claims().durability == Durability::Volatile {
        return skip("a volatile store has no second process");
    }
    store.put("r", 1, 1).await?;
    let mut child = cx.child(&store.location, Role::Open { record: "second".to_owned() }).await?;
    let line = child.line().await?;
    let Some(message) = line.strip_prefix("refused ") else {
        return Err(failure("a second process opening the store", "an error", line));
    };
    let words = ["open", "use", "lock", "process"];
    let clear = words.iter().any(|word| message.contains(word));
    ensure(clear, "the error", format!("one that has one of {words:?}"), message)?;
    child.end().await?;
    store.put("r", 2, 2).await?;
    let values = store.values("*", QueryParams::default()).await?;
    equal("the rows of the first process", &values, &[2, 1])
}
