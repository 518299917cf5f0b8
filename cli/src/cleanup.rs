//! `annals cleanup`: deletes old rows.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use annals::{
    CleanupPlan, CleanupRule, Erasure, Grammar, Pattern, PersistenceBackend, RetentionPolicy,
    Unforwarded,
};
use clap::Parser;

use crate::confirm::confirmed;
use crate::erase::print;
use crate::failure::Failure;
use crate::moment::{Moment, duration, now_ms, refuse_seconds, to_the_ms};
use crate::stderr::print_note;
use crate::store;

/// Delete values that are older than a given time
///
/// Prints the number of deleted values. Asks for confirmation on a terminal, never in a script.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Args {
    /// Delete values stored before T; a value stored exactly at T stays
    ///
    /// T is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z), or an age (24h,
    /// 7d, 1h30m). With --keep it is for the records that no rule matches.
    #[arg(long, value_name = "T", allow_negative_numbers = true, group = "what")]
    older_than: Option<Moment>,

    /// Keep the values of records that match PATTERN for AGE, or `forever`; may be repeated
    ///
    /// A record follows the first rule that matches it. A record that no rule matches keeps
    /// everything.
    #[arg(long, value_name = "PATTERN=AGE", value_parser = rule, group = "what")]
    keep: Vec<Rule>,

    /// Keep the newest N values of every record, whatever their age
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_newest: u64,

    /// Also delete values stored after T, those from the future with 0s; T as in --older-than
    #[arg(long, value_name = "T", allow_negative_numbers = true, group = "what")]
    newer_than: Option<Moment>,

    /// Delete old values that `annals forward` has still to send if they are older than AGE
    ///
    /// Without it they stay until they are sent.
    #[arg(long, value_name = "AGE", value_parser = duration)]
    forward_limit: Option<Duration>,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals cleanup --older-than 30d
  annals cleanup --older-than 2026-01-01T00:00:00Z --yes
  annals cleanup --keep 'debug::*=1d' --keep 'audit::*=forever' --keep '*=30d' \\
      --keep-newest 1
  annals cleanup --newer-than 0s";

/// How long some records are kept.
#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    /// `None`: forever.
    window: Option<Duration>,
}

fn rule(text: &str) -> Result<Rule, String> {
    // The last one: a pattern may contain `=`.
    let (pattern, age) = text.rsplit_once('=').ok_or("write PATTERN=AGE, as in 'debug::*=1d'")?;
    let pattern = Pattern::new(pattern, Grammar::Glob).map_err(|error| error.to_string())?;
    let window = match age {
        "forever" => None,
        age => Some(duration(age).map_err(|error| format!("{error}; or write forever"))?),
    };
    Ok(Rule { pattern, window })
}

impl Args {
    fn policy(&self) -> RetentionPolicy {
        let policy = RetentionPolicy::new().keep_newest(self.keep_newest);
        match self.forward_limit {
            Some(limit) => policy.forward_limit(limit),
            None => policy,
        }
    }

    /// Makes a plan wait for forwarders, and says for which.
    async fn wait_for_forwarders(
        &self,
        store: &Arc<dyn PersistenceBackend>,
        plan: CleanupPlan,
        now: u64,
    ) -> Result<CleanupPlan, Failure> {
        let behind = annals::unforwarded(store).await?;
        let limit = self.policy().forward_limit_at(now);
        let latest = plan.rules.iter().filter_map(|rule| rule.older_than).max().unwrap_or(0);
        for Unforwarded { name, oldest, .. } in behind.iter().filter(|one| one.oldest < latest) {
            let oldest = (*oldest).max(limit);
            if oldest < latest {
                print_note(&format!(
                    "values of {} or later stay: the forwarder \"{name}\" has not sent them \
                     (--forward-limit, or annals forward --forget)",
                    to_the_ms(oldest)
                ));
            }
        }
        Ok(plan.with_unforwarded(&behind, limit))
    }

    /// What goes because of its age; `None` if nothing does.
    fn plan(&self, now: u64) -> Option<CleanupPlan> {
        let mut policy = self.policy();
        for Rule { pattern, window } in &self.keep {
            policy = policy.with_rule(pattern.clone(), *window);
        }
        let mut plan = policy.plan(now);
        if let Some(older_than) = &self.older_than {
            plan.rules.push(CleanupRule::new(Pattern::all(), older_than.at_or_after(now)));
        }
        (!plan.rules.is_empty()).then_some(plan)
    }

    fn question(&self, place: &str, now: u64) -> String {
        let mut what = Vec::new();
        if let Some(older_than) = &self.older_than {
            let others = if self.keep.is_empty() { "" } else { " of other records" };
            let older_than = to_the_ms(older_than.at_or_after(now));
            what.push(format!("all values{others} stored before {older_than}"));
        }
        if !self.keep.is_empty() {
            what.push("the values that --keep does not keep".to_owned());
        }
        if let Some(newer_than) = &self.newer_than {
            let newer_than = to_the_ms(newer_than.at_or_before(now));
            what.push(format!("all values stored after {newer_than}"));
        }
        format!("Delete {} in {place}?", what.join(" and "))
    }
}

/// Erases all values stored at `first` or later, but for those that forwarders have still to send, and for
/// the rows in the year 9999 by which forwarders know what they have sent.
async fn erase_from(store: &Arc<dyn PersistenceBackend>, first: u64) -> Result<u64, Failure> {
    let kept = annals::forward_record("");
    if store.records(&format!("{kept}*"), Grammar::Glob).await?.is_empty() {
        return Ok(store.erase(&Erasure::new(Pattern::all()).with_start_time(first)).await?);
    }
    let behind = annals::unforwarded(store).await?;
    for Unforwarded { name, oldest, .. } in &behind {
        print_note(&format!(
            "values of {} or later stay: the forwarder \"{name}\" has not sent them (annals erase, or \
             annals forward --forget)",
            to_the_ms(*oldest)
        ));
    }
    let mut erased = 0;
    for record in store.records("*", Grammar::Glob).await? {
        let name = &record.record;
        if name.starts_with(&kept) {
            continue;
        }
        let waiting = behind.iter().filter(|one| one.pattern.matches(name));
        let end = waiting.map(|one| one.oldest).min();
        if end.is_none_or(|end| first < end) {
            // A name is a pattern that matches itself.
            let erasure = Erasure::new(Pattern::new(name, Grammar::Glob)?).with_start_time(first);
            erased += store.erase(&erasure.with_end_time(end.map(|end| end - 1))).await?;
        }
    }
    Ok(erased)
}

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    if args.forward_limit.is_some() && args.keep.is_empty() && args.older_than.is_none() {
        let message =
            "--forward-limit is about what --keep or --older-than deletes: say one of them";
        return Err(Failure::Usage(message.to_owned()));
    }
    if args.keep_newest > 0 && args.keep.is_empty() && args.older_than.is_none() {
        let message = "--keep-newest spares values from --keep or --older-than: say one of them";
        return Err(Failure::Usage(message.to_owned()));
    }
    refuse_seconds(&[("--newer-than", &args.newer_than)])?;
    for (option, moment) in [("--older-than", &args.older_than), ("--newer-than", &args.newer_than)]
    {
        if let Some(moment) = moment {
            moment.note_if_early(option);
        }
    }
    let now = now_ms();
    if let (Some(older), Some(newer)) = (&args.older_than, &args.newer_than)
        && older.at_or_after(now) > newer.at_or_before(now)
    {
        let message = "--newer-than is before --older-than: together they delete everything; \
                       `annals erase '*' --from T --to T` deletes what lies between";
        return Err(Failure::Usage(message.to_owned()));
    }
    let store = store::open_existing(backend).await?;
    let place = store::shown(backend);
    if !args.yes && io::stdin().is_terminal() && !confirmed(&args.question(&place, now))? {
        return Err(Failure::Failed("nothing was deleted".to_owned()));
    }
    let mut deleted = 0;
    // First: otherwise these would be the newest values that --keep-newest spares.
    if let Some(newer_than) = &args.newer_than {
        let first = newer_than.at_or_before(now).saturating_add(1);
        deleted += erase_from(&store, first).await?;
    }
    if let Some(plan) = args.plan(now) {
        let plan = args.wait_for_forwarders(&store, plan, now).await?;
        let removed = store.cleanup_plan(&plan).await;
        deleted += removed.map_err(|error| error.after_removing(deleted))?;
    }
    store.close().await?;
    print(deleted, "deleted")?;
    #[cfg(feature = "sqlite")]
    if deleted > 0 && backend.starts_with("sqlite:") {
        note_free_space(backend).await;
    }
    Ok(())
}

/// Free space that is worth a note: this much, and half of the file.
#[cfg(feature = "sqlite")]
const MUCH: u64 = 1 << 20;

/// Says when a compaction would help.
#[cfg(feature = "sqlite")]
async fn note_free_space(backend: &str) {
    use crate::file_store::FileStore;
    use crate::stderr::print_note;
    // The cleanup is done: whatever fails here is no failure of it.
    let (Ok(Some(path)), Ok(store)) = (store::file(backend), FileStore::open(backend, "").await)
    else {
        return;
    };
    let free = store.free_bytes().await.unwrap_or_default();
    drop(store.close().await);
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    if free >= MUCH && free >= size / 2 {
        print_note(&format!(
            "{} of {} in the file are free for new values; `annals compact` gives them back",
            indicatif::HumanBytes(free),
            indicatif::HumanBytes(size)
        ));
    }
}
