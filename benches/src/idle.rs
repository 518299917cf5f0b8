//! How long one `store` takes when nothing else goes on, against a commit of one row by hand.

use std::time::Instant;

use crate::places::{Place, must_hold, record, time, value};
use crate::report::{Report, Samples};
use crate::{Failure, Options, raw};

/// Commits of either kind in each round, and how many of one kind follow each other: few, since a
/// disk is now faster and now slower.
const COMMITS: u64 = 300;
const TURN: u64 = 20;

/// One row after the other, by hand.
enum ByHand {
    Sqlite(rusqlite::Connection),
    Redb(redb::Database),
}

impl ByHand {
    fn open(engine: &str, place: &Place) -> Result<Option<Self>, Failure> {
        let file = place.beside("raw");
        Ok(match engine {
            "sqlite" => Some(Self::Sqlite(raw::sqlite::for_single_commits(&file)?)),
            "redb" => Some(Self::Redb(redb::Database::create(&file)?)),
            _ => None,
        })
    }

    /// Microseconds.
    fn commit(&self, at: u64) -> Result<f64, Failure> {
        match self {
            Self::Sqlite(connection) => raw::sqlite::single_commit(connection, at),
            Self::Redb(database) => raw::redb::single_commit(database, at),
        }
    }
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let rounds = options.rounds as u64;
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        let hand = ByHand::open(engine, &place)?;
        let (mut ours, mut by_hand) = (Samples::default(), Samples::default());
        for round in 0..rounds {
            let (mut waits, mut commits) = (Vec::new(), Vec::new());
            for first in (round * COMMITS..(round + 1) * COMMITS).step_by(TURN as usize) {
                for at in first..first + TURN {
                    let (name, value) = (record(0, 1), value(at));
                    let begun = Instant::now();
                    history.store(&name, &value, time(at)).await?;
                    waits.push(begun.elapsed().as_secs_f64() * 1e6);
                }
                if let Some(hand) = &hand {
                    for at in first..first + TURN {
                        commits.push(hand.commit(at)?);
                    }
                }
            }
            ours.0.push(Samples(waits).median());
            by_hand.0.push(Samples(commits).median());
        }
        must_hold(&*history, rounds * COMMITS).await?;
        history.close().await?;
        let what = format!("{engine}: store alone, median");
        if hand.is_none() {
            report.add(what, ours, "us");
        } else {
            report.compare(what, ours, "us", "a commit of one row by hand", &by_hand);
            report.add(format!("{engine} by hand: a commit of one row"), by_hand, "us");
        }
    }
    Ok(())
}
