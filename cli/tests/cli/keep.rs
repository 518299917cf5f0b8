//! `annals backup`, `restore`, `check`, `salvage` and `compact`.

#[cfg(unix)]
use crate::support::signal;
use crate::support::{FILES, Place};

fn filled(backend: &str) -> Place {
    let place = Place::new();
    let rows: Vec<_> =
        (0..300).map(|n| (format!("record::{}", n % 3), 1_740_081_234_000 + n)).collect();
    let rows: Vec<_> =
        rows.iter().map(|(record, at)| (&**record, r#"{"celsius":20.5}"#, *at)).collect();
    place.import(backend, &rows);
    place
}

#[test]
fn a_backup_is_a_history_and_comes_back() {
    for backend in FILES {
        let (place, scheme) = (filled(backend), backend.split_once(':').unwrap().0);
        let rows = place.rows(backend);
        let backup = place.run(&["--backend", backend, "backup", "copy"]).ok();
        assert_eq!(backup.out, "copy: 300 rows of 3 records, verified\n");
        place.run(&["--backend", backend, "backup", "copy"]).refused(2, "copy exists");
        let copy = format!("{scheme}:copy");
        assert_eq!(place.rows(&copy), rows);

        place.run(&["--backend", &copy, "erase", "record::1", "--yes"]).ok();
        let restored = format!("{scheme}:restored");
        place.run(&["--backend", &restored, "restore", "copy"]).ok();
        assert_eq!(place.rows(&restored).len(), 200);
        // What is there stays as it is.
        place.run(&["--backend", backend, "restore", "copy"]).refused(2, "exists");
        assert_eq!(place.rows(backend), rows);
    }
}

/// A backup that was killed left its unfinished file for ever.
#[test]
fn what_a_killed_backup_leaves_goes_with_the_next_one() {
    for backend in FILES {
        let (place, history) = (filled(backend), &backend[backend.find(':').unwrap() + 1..]);
        let unfinished = || place.names().into_iter().find(|name| name.starts_with(".annals-new-"));
        let mut killed = 0;
        while unfinished().is_none() {
            let copy = format!("copy-{killed}");
            let mut backup =
                place.command(&["--backend", backend, "backup", &copy]).spawn().unwrap();
            while unfinished().is_none() && backup.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            // As `kill -9` does.
            backup.kill().unwrap();
            backup.wait().unwrap();
            drop(std::fs::remove_file(place.path(&copy)));
            killed += 1;
        }
        place.run(&["--backend", backend, "backup", "other"]).ok();
        assert_eq!(place.names(), [history, "other"]);
    }
}

/// Ctrl-C left the unfinished file, too.
#[cfg(unix)]
#[test]
fn a_backup_that_is_stopped_leaves_nothing() {
    for backend in FILES {
        let (place, history) = (filled(backend), &backend[backend.find(':').unwrap() + 1..]);
        let is_unfinished = || place.names().iter().any(|name| name.starts_with(".annals-new-"));
        for number in 0.. {
            let copy = format!("copy-{number}");
            let mut backup =
                place.command(&["--backend", backend, "backup", &copy]).spawn().unwrap();
            while !is_unfinished() && backup.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            if backup.try_wait().unwrap().is_none() {
                signal(&backup, "INT");
            }
            let code = backup.wait().unwrap().code();
            assert!(!is_unfinished(), "{backend}: {code:?}");
            if code == Some(130) {
                break;
            }
            // It was complete by then.
            place.run(&["--backend", backend, "backup", &copy]).refused(2, "exists");
            std::fs::remove_file(place.path(&copy)).unwrap();
        }
        // With the log of a history that was not closed.
        assert!(place.names().iter().all(|name| name.starts_with(history)), "{:?}", place.names());
        assert_eq!(place.rows(backend).len(), 300);
    }
}

#[test]
fn a_log_of_another_file_is_no_part_of_what_is_restored() {
    let place = filled("sqlite:annals.db");
    place.run(&["backup", "copy.db"]).ok();
    place.write("restored.db-wal", [7; 5_000]);
    place.write("restored.db-shm", [7; 32_768]);
    let restore = place.run(&["--backend", "sqlite:restored.db", "restore", "copy.db"]);
    assert_eq!(restore.code, Some(0), "{restore:?}");
    assert!(restore.err.contains("is now restored.db-wal.old"), "{restore:?}");
    assert_eq!(place.rows("sqlite:restored.db").len(), 300);
}

/// A new history beside the log of one that was moved away made SQLite delete the log, with its rows.
#[test]
fn a_log_without_its_file_stays() {
    let place = filled("sqlite:annals.db");
    place.write("new.db-wal", [7; 5_000]);
    // Nor does it through a link that leads to the missing file.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("new.db", place.path("link.db")).unwrap();
        place.run(&["--backend", "sqlite:link.db", "import"]).refused(2, "move the log away");
        std::fs::remove_file(place.path("link.db")).unwrap();
    }
    for command in [
        &["--backend", "sqlite:new.db", "import"][..],
        &["--backend", "sqlite:new.db", "collect", "host", "--for", "1s"],
        &["copy", "sqlite:annals.db", "sqlite:new.db"],
        &["salvage", "sqlite:new.db"],
    ] {
        place.run(command).refused(2, "put the file back, or move the log away");
        assert_eq!(place.names(), ["annals.db", "new.db-wal"], "{command:?}");
        assert_eq!(std::fs::read(place.path("new.db-wal")).unwrap(), [7; 5_000]);
    }
}

/// SQLite took a history with such a name for the log of another one, and deleted it.
#[test]
fn a_history_is_not_called_like_a_file_beside_another() {
    for backend in FILES {
        let (place, scheme) = (filled(backend), backend.split_once(':').unwrap().0);
        let before = place.names();
        for name in ["annals.db-wal", "other-shm", "x.redb-journal", "x-reserve"] {
            let new = format!("{scheme}:{name}");
            for command in [
                &["--backend", backend, "backup", name][..],
                &["--backend", &new, "import"],
                &["--backend", &new, "restore", &before[0]],
                &["--backend", backend, "salvage", &new],
                &["copy", backend, &new],
            ] {
                place.run(command).refused(2, "choose another name");
            }
        }
        // The log of a history in use may be empty.
        place.write("other.db-wal", []);
        place
            .run(&["--backend", &format!("{scheme}:other.db-wal"), "import"])
            .refused(2, "another name");
        assert!(std::fs::read(place.path("other.db-wal")).unwrap().is_empty());
        std::fs::remove_file(place.path("other.db-wal")).unwrap();
        assert_eq!(place.rows(backend).len(), 300);
        assert_eq!(place.names(), before);
    }
    #[cfg(unix)]
    {
        let place = Place::new();
        std::os::unix::fs::symlink("other.db-wal", place.path("link.db")).unwrap();
        place.run(&["--backend", "sqlite:link.db", "import"]).refused(2, "another name");
        assert_eq!(place.names(), ["link.db"]);
    }
}

#[test]
fn a_redb_file_in_use_is_not_restored() {
    let place = filled("redb:annals.redb");
    let url = format!("redb:{}", place.path("annals.redb").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let owner = runtime.block_on(annals::connect(&url)).unwrap();
    let restore = ["--backend", "redb:restored.redb", "restore", "annals.redb"];
    place.run(&restore).refused(1, "already open, by another process");
    assert_eq!(place.names(), ["annals.redb"]);
    runtime.block_on(owner.close()).unwrap();
    place.run(&restore).ok();
    assert_eq!(place.rows("redb:restored.redb").len(), 300);
}

/// The log of a killed program was copied into the file and deleted, whatever was wrong with it.
#[test]
fn check_and_salvage_change_nothing() {
    let (place, killed) = (Place::new(), Place::new());
    let url = format!("sqlite:{}", place.path("annals.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let owner = annals::connect(&url).await.unwrap();
        owner.store("kiln", &1.into(), 1_740_081_240_000).await.unwrap();
        for name in place.names() {
            std::fs::copy(place.path(&name), killed.path(&name)).unwrap();
        }
        owner.close().await.unwrap();
    });
    let files = || {
        let content = |name: String| (std::fs::read(killed.path(&name)).unwrap(), name);
        killed.names().into_iter().map(content).collect::<Vec<_>>()
    };
    let before = files();
    assert_eq!(before.len(), 3);
    let to = format!("sqlite:{}", place.path("salvaged.db").display());
    for command in [&["check"][..], &["check", "--deep"], &["salvage", &to]] {
        let run = killed.run(command).ok();
        assert!(run.out.contains("1 row"), "{run:?}");
        assert!(files() == before, "{command:?}");
    }
}

/// It read like damage.
#[test]
fn the_engine_of_a_file_is_told() {
    for [wrong, right] in
        [["sqlite:annals.redb", "redb:annals.redb"], ["redb:annals.db", "sqlite:annals.db"]]
    {
        let place = filled(right);
        let message = format!("{wrong} is a file of the other engine; write {right}");
        for command in [&["query", "*"][..], &["check"], &["salvage", "sqlite:new.db"], &["import"]]
        {
            place.run(&[&["--backend", wrong], command].concat()).refused(1, &message);
        }
        let (copy, engine) =
            (&right[right.find(':').unwrap() + 1..], &right[..right.find(':').unwrap()]);
        let restore = ["--backend", &wrong.replace("annals", "new"), "restore", copy];
        let message = format!("restore it to {engine}:new");
        place.run(&restore).refused(2, &message);
    }
}

/// The check of a damaged redb file wrote into it, and then nobody could open it.
#[test]
fn asking_changes_nothing_in_a_damaged_redb_file() {
    let (place, file) = (filled("redb:annals.redb"), "annals.redb");
    place.run(&["--backend", "redb:annals.redb", "compact"]).ok();
    let sound = std::fs::read(place.path(file)).unwrap();
    let mut dead = 0;
    for at in (4096..sound.len()).step_by(512) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        place.write(file, &damaged);
        // A check that calls a file sound which the next command refuses is worth nothing.
        let mut refused = false;
        for command in [&["records"][..], &["query", "*"], &["check"], &["check", "--deep"]] {
            let run = place.run(&[&["--backend", "redb:annals.redb"], command].concat());
            refused |= run.code != Some(0) && command == ["records"];
            assert!(!refused || run.code != Some(0), "{at}: {run:?}");
            dead += u32::from(run.code != Some(0));
            assert!(run.code == Some(0) || run.err.contains("annals salvage"), "{at}: {run:?}");
            assert!(std::fs::read(place.path(file)).unwrap() == damaged, "{at}: {command:?}");
        }
    }
    assert!(dead > 0);
}

#[test]
fn a_sound_file_is_called_sound() {
    for backend in FILES {
        let place = filled(backend);
        for args in [&["check"][..], &["check", "--deep"]] {
            let run = place.run(&[&["--backend", backend], args].concat()).ok();
            let what = match args.len() {
                1 => "structure sound (--deep reads the values)",
                _ => "sound",
            };
            assert_eq!(run.out, format!("{what}: 300 rows of 3 records\n"));
        }
        let rows = place.rows(backend);
        place.run(&["--backend", backend, "compact"]).ok();
        place.run(&["--backend", backend, "check", "--deep"]).ok();
        assert_eq!(place.rows(backend), rows);
    }
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_copied() {
    let place = filled("sqlite:annals.db");
    place.run(&["compact"]).ok();
    let file = rusqlite::Connection::open(place.path("annals.db")).unwrap();
    let damaged = file.execute("UPDATE blocks SET block = zeroblob(length(block))", []).unwrap();
    assert!(damaged > 0);
    drop(file);
    place.run(&["query", "*"]).refused(1, "`annals salvage` copies what can be read");
    let check = place.run(&["check", "--deep"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.err.contains("damaged"), "{check:?}");
    assert!(check.err.contains("annals salvage"), "{check:?}");
    let salvage = place.run(&["salvage", "sqlite:salvaged.db"]);
    assert_eq!(salvage.code, Some(1), "{salvage:?}");
    let copied = place.rows("sqlite:salvaged.db").len();
    assert!(copied < 300);
    assert!(salvage.out.starts_with(&format!("{copied} rows copied")), "{salvage:?}");
}

#[test]
fn rows_are_not_copied_twice() {
    for backend in FILES {
        let place = filled(backend);
        let salvage = ["--backend", backend, "salvage", "sqlite:salvaged.db"];
        assert!(place.run(&salvage).ok().out.starts_with("300 rows copied"));
        let again = place.run(&salvage);
        assert_eq!((again.code, again.out.as_str()), (Some(2), ""), "{again:?}");
        assert!(again.err.contains("name an empty history"), "{again:?}");
        assert_eq!(place.rows("sqlite:salvaged.db").len(), 300);
    }
}

#[test]
fn an_empty_file_has_nothing_to_salvage() {
    for backend in FILES {
        let place = Place::new();
        place.write(&backend[backend.find(':').unwrap() + 1..], []);
        let salvage = place.run(&["--backend", backend, "salvage", "sqlite:salvaged.db"]);
        assert_eq!((salvage.code, &*salvage.out), (Some(1), ""), "{salvage:?}");
        assert!(!salvage.err.contains("buffer"), "{salvage:?}");
    }
}

/// A file whose end was missing could not be opened at all.
#[test]
fn what_is_left_of_a_file_that_was_cut_is_copied() {
    for backend in FILES {
        let (place, scheme) = (Place::new(), backend.split_once(':').unwrap().0);
        let values: Vec<_> = (0..20_000_u64).map(|n| (n * n * 7_919).to_string()).collect();
        let rows = (1_740_081_234_000_u64..).zip(&values).map(|(at, v)| ("kiln", &**v, at));
        place.import(backend, &rows.collect::<Vec<_>>());
        let (all, file) = (place.rows(backend), place.path(backend.split_once(':').unwrap().1));
        let len = std::fs::metadata(&file).unwrap().len() * 9 / 10;
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(len).unwrap();
        let to = format!("{scheme}:salvaged");
        let salvage = place.run(&["--backend", backend, "salvage", &to]);
        assert_eq!(salvage.code, Some(1), "{salvage:?}");
        assert!(salvage.err.contains(&format!("it ends after {len} of")), "{salvage:?}");
        let at_least = [" rows or more lost", "an unknown number of rows lost"];
        assert!(at_least.iter().any(|lost| salvage.err.contains(lost)), "{salvage:?}");
        let name = file.file_name().unwrap().to_str().unwrap();
        let restore = ["--backend", &format!("{scheme}:restored"), "restore", name];
        place.run(&restore).refused(1, &format!("{name}: "));
        assert!(!salvage.err.contains("thread '"), "{salvage:?}");
        let copied = place.rows(&to);
        assert!(salvage.out.starts_with(&format!("{} rows copied", copied.len())), "{salvage:?}");
        let mut all = all.iter().map(|row| (&row["value"], &row["stored_at"]));
        assert!(copied.iter().all(|row| all.any(|one| one == (&row["value"], &row["stored_at"]))));
    }
}

#[test]
fn a_cleanup_says_when_a_compaction_would_help() {
    let place = Place::new();
    let mut noise = 1_u64;
    let mut text = || {
        let letter = |_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + (noise >> 33) as u8 % 26)
        };
        format!("\"{}\"", (0..60_000).map(letter).collect::<String>())
    };
    let values: Vec<_> = (0..60).map(|_| text()).collect();
    let rows = (1_740_081_234_000_u64..).zip(&values).map(|(at, value)| ("log", &**value, at));
    place.import("sqlite:annals.db", &rows.collect::<Vec<_>>());
    let few = place.run(&["cleanup", "--older-than", "1740081234002", "--yes"]).ok();
    assert_eq!(few.out, "2\n");
    let most = place.run(&["cleanup", "--older-than", "1740081234059", "--yes"]);
    assert!(most.code == Some(0) && most.out == "57\n", "{most:?}");
    assert!(most.err.contains("annals compact"), "{most:?}");
    let size = || std::fs::metadata(place.path("annals.db")).unwrap().len();
    let before = size();
    place.run(&["compact"]).ok();
    assert!(size() < before / 4, "{before} before, {} now", size());
}

#[test]
fn what_these_commands_cannot_do_is_said() {
    let place = Place::new();
    let server = ["--backend", "postgres://me@127.0.0.1:1/plant"];
    for (args, text) in [
        (&["check"][..], "pg_amcheck"),
        (&["backup", "copy"], "pg_dump"),
        (&["restore", "copy"], "pg_restore"),
        (&["compact"], "VACUUM FULL"),
    ] {
        place.run(&[&server[..], args].concat()).refused(2, text);
    }
    for args in [&["check"][..], &["compact"], &["backup", "copy"], &["salvage", "sqlite:new.db"]] {
        place.run(args).refused(1, "there is no history");
    }
    assert_eq!(place.names(), Vec::<String>::new());
}
