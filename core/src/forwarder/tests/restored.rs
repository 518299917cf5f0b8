//! Sources that were restored from a backup.

use super::*;

/// The source with rows of which the destination has `forwarded`, and a backup of it that was made
/// before all of that was forwarded.
async fn backed_up(forwarded: u64) -> (MemoryBackend, MemoryBackend, MemoryBackend) {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    let forwarder = Forwarder::new(edge.clone(), cloud.clone());
    let mut backup = None;
    for at in 0..forwarded {
        edge.put_at("a", &at, at).await.unwrap();
        if at == 4 {
            forwarder.run_once().await.unwrap();
        }
        if at == 6 {
            backup = Some(edge.restored());
        }
    }
    forwarder.run_once().await.unwrap();
    (edge, cloud, backup.unwrap())
}

fn values(rows: Vec<(String, u64, Value)>) -> Vec<Value> {
    let mut values: Vec<Value> = rows.into_iter().map(|row| row.2).collect();
    values.reverse();
    values
}

/// The numbers of a restored source were given before: rows that arrived under them were taken for rows
/// that the destination had, and lost.
#[tokio::test]
async fn a_restored_source_goes_on_where_the_destination_is() {
    // All of the backup, or a part of it, arrived before the restore.
    let (_, cloud, restored) = backed_up(10).await;
    for at in 100..104_u64 {
        restored.put_at("a", &at, at).await.unwrap();
    }
    let forwarder = Forwarder::new(restored.clone(), cloud.clone());
    let stats = forwarder.run_once().await.unwrap();
    assert_eq!(stats.rows, 4);
    let expected: Vec<u64> = (0..10).chain(100..104).collect();
    assert_eq!(values(rows(&cloud).await), expected);
    // And once more, from a backup of the restored one, in the middle of it.
    let again = restored.restored();
    restored.put_at("a", &104, 104).await.unwrap();
    forwarder.run_once().await.unwrap();
    again.put_at("a", &200, 200).await.unwrap();
    Forwarder::new(again.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!(values(rows(&cloud).await).last(), Some(&Value::from(200)));
    assert_eq!(rows(&cloud).await.len(), 16);
    let stats = Forwarder::new(again, cloud).run_once().await.unwrap();
    assert_eq!(stats.rows, 0);
}

#[tokio::test]
async fn what_a_restored_source_had_not_sent_is_sent() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    for at in 0..10_u64 {
        edge.put_at("a", &at, at).await.unwrap();
    }
    // The destination has acknowledged four rows; the source does not know that.
    let killed = Cut::new(&cloud, &[Fault::KilledAfter]);
    Forwarder::new(edge.clone(), killed).with_batch_rows(4).run_once().await.unwrap_err();
    let restored = edge.restored();
    restored.put_at("a", &10, 10).await.unwrap();
    let stats = Forwarder::new(restored.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!((stats.rows, rows(&cloud).await), (7, rows(&restored).await));
}

/// A backup from before the first time does not know that it was forwarded later.
#[tokio::test]
async fn a_backup_that_was_never_forwarded_is_not_forwarded_twice() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    edge.put_at("a", &1, 1).await.unwrap();
    let (restored, copy) = (edge.restored(), edge.copied());
    edge.put_at("a", &2, 2).await.unwrap();
    Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    restored.put_at("a", &3, 3).await.unwrap();
    Forwarder::new(restored, cloud.clone()).run_once().await.unwrap();
    assert_eq!(values(rows(&cloud).await), [1, 2, 3]);
    // A copy that nothing tells from the original is noticed by what the destination has of it.
    copy.put_at("a", &4, 4).await.unwrap();
    let refused = Forwarder::new(copy, cloud.clone()).run_once().await;
    assert!(matches!(refused, Err(ForwardError::PutBack { .. })), "{refused:?}");
    assert_eq!(rows(&cloud).await.len(), 3);
}

/// Another restore of the same backup has sent its rows already, all of them or some.
#[tokio::test]
async fn restores_of_one_backup_send_its_rows_once() {
    for rows_of_backup in [0, 3, 7] {
        let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
        for at in 0..4_u64 {
            edge.put_at("a", &at, at).await.unwrap();
        }
        if rows_of_backup > 0 {
            Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
        }
        for at in 4..10_u64 {
            edge.put_at("a", &at, at).await.unwrap();
        }
        let (one, other) = (edge.restored(), edge.restored());
        if rows_of_backup == 7 {
            let killed = Cut::new(&cloud, &[Fault::KilledAfter]);
            let one = Forwarder::new(one.clone(), killed).with_batch_rows(3);
            one.run_once().await.unwrap_err();
        } else {
            one.put_at("a", &"one", 20).await.unwrap();
            Forwarder::new(one.clone(), cloud.clone()).with_batch_rows(3).run_once().await.unwrap();
        }
        other.put_at("a", &"other", 30).await.unwrap();
        Forwarder::new(other.clone(), cloud.clone()).with_batch_rows(4).run_once().await.unwrap();
        // And the first one goes on.
        one.put_at("a", &"more", 40).await.unwrap();
        Forwarder::new(one.clone(), cloud.clone()).run_once().await.unwrap();
        let forwarded = rows(&cloud).await;
        let mut distinct = forwarded.clone();
        distinct.dedup();
        assert_eq!(distinct, forwarded, "{rows_of_backup}");
        let expected = 10 + if rows_of_backup == 7 { 2 } else { 3 };
        assert_eq!(forwarded.len(), expected, "{rows_of_backup}: {forwarded:?}");
    }
}

/// The histories before the one that was backed up are not known: rows were sent again, or lost.
#[tokio::test]
async fn what_was_restored_twice_without_being_forwarded_between_is_refused() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    edge.put_at("a", &1, 1).await.unwrap();
    let never_forwarded = edge.restored();
    Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    let forwarded = edge.restored();
    for restored in [never_forwarded, forwarded] {
        restored.put_at("a", &10, 10).await.unwrap();
        let twice = restored.restored();
        twice.put_at("a", &20, 20).await.unwrap();
        let before = rows(&cloud).await;
        let refused = Forwarder::new(twice.clone(), cloud.clone()).run_once().await;
        assert!(matches!(refused, Err(ForwardError::PutBack { .. })), "{refused:?}");
        assert_eq!(rows(&cloud).await, before);
        let from = Forwarder::new(twice, cloud.clone()).with_from_time(10);
        assert_eq!(from.run_once().await.unwrap().rows, 2);
    }
}

#[tokio::test]
async fn a_source_that_was_put_back_by_other_means_is_refused() {
    let (_, cloud, restored) = backed_up(10).await;
    let put_back = restored.without_origin();
    for at in 100..104_u64 {
        put_back.put_at("a", &at, at).await.unwrap();
    }
    let before = rows(&cloud).await;
    let forwarder = Forwarder::new(put_back.clone(), cloud.clone());
    let refused = forwarder.run_once().await;
    assert!(matches!(refused, Err(ForwardError::PutBack { .. })), "{refused:?}");
    assert_eq!(rows(&cloud).await, before);
    // From a time on everything is forwarded that is there, and later everything that arrives.
    let anew = || Forwarder::new(put_back.clone(), cloud.clone()).with_from_time(102);
    assert_eq!(anew().run_once().await.unwrap().rows, 2);
    put_back.put_at("a", &"late", 3).await.unwrap();
    assert_eq!(forwarder.run_once().await.unwrap().rows, 1);
    assert_eq!(anew().run_once().await.unwrap().rows, 0);
    // Without rows that the source does not know of, there is nothing to tell apart.
    let (edge, cloud, _) = backed_up(10).await;
    let put_back = edge.restored().without_origin();
    put_back.put_at("a", &100, 100).await.unwrap();
    let stats = Forwarder::new(put_back.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!((stats.rows, rows(&cloud).await), (1, rows(&put_back).await));
}
