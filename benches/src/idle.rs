//! How long one `store` takes when nothing else goes on, against a commit of one row by hand.

use std::time::Instant;

use crate::places::{Place, must_hold, record, time, value};
use crate::report::{Report, Samples};
use crate::{Failure, Options, raw};

/// Commits in each turn.
const COMMITS: u64 = 300;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        let (mut ours, mut by_hand) = (Samples::default(), Samples::default());
        for round in 0..options.rounds as u64 {
            let mut waits = Vec::new();
            for at in round * COMMITS..(round + 1) * COMMITS {
                let (name, value) = (record(0, 1), value(at));
                let begun = Instant::now();
                history.store(&name, &value, time(at)).await?;
                waits.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            ours.0.push(Samples(waits).median());
            let file = place.beside(&format!("raw-{round}"));
            let commits = match &**engine {
                "sqlite" => raw::sqlite::single_commits(&file, COMMITS)?,
                "redb" => raw::redb::single_commits(&file, COMMITS)?,
                _ => continue,
            };
            by_hand.0.push(Samples(commits).median());
        }
        must_hold(&*history, options.rounds as u64 * COMMITS).await?;
        history.close().await?;
        let what = format!("{engine}: store alone, median");
        if by_hand.0.is_empty() {
            report.add(what, ours, "us");
        } else {
            report.compare(what, ours, "us", "a commit of one row by hand", &by_hand);
            report.add(format!("{engine} by hand: a commit of one row"), by_hand, "us");
        }
    }
    Ok(())
}
