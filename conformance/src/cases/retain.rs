//! RETAIN: core's retention, in front of a store that is forwarded.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    Forwarder, Grammar, ManualClock, MemoryBackend, PersistenceBackend, QueryParams, Retention,
    RetentionPolicy, forget_forwarder, unforwarded,
};

use crate::case::cases;
use crate::check::{During, Verdict, equal};
use crate::context::{Context, Store};

cases![
    retain_1_what_is_to_be_forwarded_stays,
    retain_1_other_records_do_not_wait,
    retain_1_rows_beyond_the_limit_go,
    retain_1_a_forwarder_that_is_forgotten_holds_nothing,
];

/// A store that can be forwarded, with rows of `a` and `b` at 1 to 10.
async fn twenty(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    let claims = store.claims();
    store.must_claim(claims.complete_follow, "complete_follow")?;
    store.must_claim(claims.idempotent_batches, "idempotent_batches")?;
    store.must_claim(claims.selective_cleanup, "selective_cleanup")?;
    for at in 1..=10 {
        store.put("a", at, at).await?;
        store.put("b", at, at).await?;
    }
    Ok(store)
}

type ToMemory = Forwarder<Arc<dyn PersistenceBackend>, MemoryBackend>;

fn forwarder(store: &Store, to: &MemoryBackend) -> ToMemory {
    Forwarder::new(store.backend.clone(), to.clone())
}

/// Sweeps at time 1,000 everything before 900, and returns how many rows went.
async fn sweep(store: &Store, policy: RetentionPolicy) -> Verdict<u64> {
    let policy = policy.keep_all(Duration::from_millis(100));
    let clock = Arc::new(ManualClock::new(1_000));
    let retention = Retention::new(store.backend.clone(), policy).during("making a retention")?;
    retention.with_clock(clock).sweep_now().await.during("sweeping")
}

async fn times(store: &Store, record: &str) -> Verdict<Vec<u64>> {
    let rows = store.rows(record, QueryParams::default()).await?;
    Ok(rows.iter().map(|(_, at, _)| *at).collect())
}

async fn retain_1_what_is_to_be_forwarded_stays(cx: &Context) -> Verdict {
    let (store, cloud) = (twenty(cx).await?, MemoryBackend::new());
    forwarder(&store, &cloud).run_once().await.during("forwarding")?;
    // The destination is away. One of these rows is late.
    store.put("a", 11, 500).await?;
    store.put("a", 12, 8).await?;
    store.put("b", 13, 600).await?;
    equal(
        "rows removed before they are forwarded",
        &sweep(&store, RetentionPolicy::new()).await?,
        &14,
    )?;
    equal("the times left of a", &times(&store, "a").await?, &[500, 10, 9, 8, 8])?;
    equal("the times left of b", &times(&store, "b").await?, &[600, 10, 9, 8])?;
    equal("rows removed again", &sweep(&store, RetentionPolicy::new()).await?, &0)?;
    let sent = forwarder(&store, &cloud).run_once().await.during("forwarding")?;
    equal("rows forwarded", &sent.rows, &3)?;
    equal("rows removed afterwards", &sweep(&store, RetentionPolicy::new()).await?, &9)?;
    let there = cloud.records("*", Grammar::Glob).await.during("listing")?;
    equal("rows there", &there.iter().map(|record| record.count).sum::<u64>(), &23)
}

async fn retain_1_other_records_do_not_wait(cx: &Context) -> Verdict {
    let (store, cloud) = (twenty(cx).await?, MemoryBackend::new());
    let begin = forwarder(&store, &cloud).with_pattern("a", Grammar::Glob).with_name("a only");
    begin.run_once().await.during("forwarding")?;
    store.put("a", 11, 2).await?;
    store.put("b", 12, 1).await?;
    let behind = unforwarded(&store.backend).await.during("asking what is to be forwarded")?;
    let behind: Vec<_> = behind.iter().map(|one| (one.name.as_str(), one.oldest)).collect();
    equal("what is to be forwarded", &behind, &[("a only", 2)])?;
    equal("rows removed", &sweep(&store, RetentionPolicy::new()).await?, &12)?;
    equal("the rows left of a", &times(&store, "a").await?.len(), &10)
}

async fn retain_1_rows_beyond_the_limit_go(cx: &Context) -> Verdict {
    let (store, cloud) = (twenty(cx).await?, MemoryBackend::new());
    forwarder(&store, &cloud).run_once().await.during("forwarding")?;
    for at in [300, 700, 950] {
        store.put("a", at, at).await?;
    }
    let policy = || RetentionPolicy::new().forward_limit(Duration::from_millis(500));
    equal("rows removed", &sweep(&store, policy()).await?, &21)?;
    equal("the times left", &times(&store, "a").await?, &[950, 700])?;
    // A limit shorter than the window changes nothing: the window counts.
    let policy = RetentionPolicy::new().forward_limit(Duration::from_millis(10));
    equal("rows removed by a short limit", &sweep(&store, policy).await?, &1)?;
    equal("the times left", &times(&store, "a").await?, &[950])
}

async fn retain_1_a_forwarder_that_is_forgotten_holds_nothing(cx: &Context) -> Verdict {
    let (store, cloud) = (twenty(cx).await?, MemoryBackend::new());
    store.must_claim(store.claims().erasure, "erasure")?;
    forwarder(&store, &cloud).with_name("gone").run_once().await.during("forwarding")?;
    store.put("a", 11, 1).await?;
    equal("rows removed while it counts", &sweep(&store, RetentionPolicy::new()).await?, &0)?;
    let forget = |name| {
        let backend = store.backend.clone();
        async move { forget_forwarder(&backend, name).await.during("forgetting a forwarder") }
    };
    equal("whether there was another", &forget("default").await?, &false)?;
    equal("whether there was one", &forget("gone").await?, &true)?;
    equal("whether there is one", &forget("gone").await?, &false)?;
    equal("rows removed when it is forgotten", &sweep(&store, RetentionPolicy::new()).await?, &21)
}
