//! `annals copy`: copies history from one store to another.
//!
//! Rows leave the source in the order of a query, oldest first ([`missing`] says which of them the
//! destination has already), and go to the destination in batches. Then the destination is read
//! back, and both ends are compared ([`proof`]).

mod missing;
mod proof;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use annals::{
    Batch, BatchId, JsonText, Order, PersistenceBackend, PersistenceError, QueryParams, RecordName,
    Row,
};
use clap::Parser;
use futures::StreamExt;

use crate::backend::{Backend, NamedBy};
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::moment::{Moment, to_the_second, window};
use crate::output::{Column, Format, Header, Line, Printer, counted, shown_name};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::stderr::print_note;
use crate::store::{self, new_writer};
use missing::There;
use proof::{Compared, Digests, canonical, compare, is_own};

/// The size of a batch, in rows and in bytes of values.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;

/// Copy history from one store to another, and prove that both have the same
///
/// Rows that the destination has already are not copied again: a copy that was stopped goes on, and
/// a later one brings what is new. Where the destination has another value at the same time, because
/// one side was corrected, nothing is copied. At the end the destination is read back. One line for each
/// record has its `count`, `first`, `last`, a `hash` of all its times and values in their order,
/// and whether both ends agree. Only one copy into a destination may run at a time. The records
/// annals.forward.*, by which a history knows what was forwarded from it, are neither copied nor
/// compared.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The URL of the history to read, as for --backend
    source: String,

    /// The URL of the history to write; what is missing of it is created
    destination: String,

    /// Which records [default: all]; * matches any run of characters
    pattern: Option<String>,

    /// Only values stored at T or later: Unix milliseconds, RFC 3339, or an age such as 24h
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    from: Option<Moment>,

    /// Only values stored at T or earlier; T as in --from
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    to: Option<Moment>,

    /// Copy nothing, only compare
    #[arg(long)]
    verify: bool,

    /// How wildcards in PATTERN work
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR")]
    grammar: Grammar,

    /// The format of the output [default: table on a terminal, ndjson otherwise]
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

const EXAMPLES: &str = "\
Examples:
  annals copy sqlite:history.db postgres://db/plant
  annals copy redb:a.redb sqlite:b.db 'host::*' --from 30d
  annals copy sqlite:history.db redb:copy.redb --verify

If the source is written to meanwhile, the copy is its state at the beginning: run it again for the \
rest. If the destination is written to, limit the copy with --to, or its newer rows are a \
difference. The exit code is 1 if the ends differ.";

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    if backend.named_by == NamedBy::Option {
        let why = "copy takes both places as arguments; leave --backend out";
        return Err(Failure::Usage(why.to_owned()));
    }
    if store::is_same(&args.source, &args.destination)? {
        return Err(Failure::Usage("the source and the destination are the same".to_owned()));
    }
    // Every record, in any grammar.
    let (pattern, grammar) = match &args.pattern {
        Some(pattern) => (pattern.as_str(), args.grammar),
        None => ("*", Grammar::Glob),
    };
    let (start_time, end_time) = window(args.from.as_ref(), args.to.as_ref());
    let params = QueryParams::default()
        .with_start_time(start_time)
        .with_end_time(end_time)
        .with_order(Order::OldestFirst)
        .with_grammar(grammar.into());
    let source = store::open_to_read(&args.source).await?;
    let destination = match args.verify {
        true => store::open_to_read(&args.destination).await?,
        false => store::open(&args.destination).await?,
    };
    let mut signals = Signals::listen()?;
    let mut copy = Copy {
        source: &*source,
        destination: &*destination,
        pattern,
        params,
        digests: Digests::default(),
        undecided: Vec::new(),
        is_out_of_order: false,
        conflicts: None,
        rows: Vec::new(),
        bytes: 0,
        writer: new_writer(),
        batches: 0,
        copied: 0,
        progress: Progress::new(None),
    };
    let work = async {
        match args.verify {
            true => copy.digests = Digests::of(&*source, pattern, params).await?,
            false => copy.run().await?,
        }
        Ok::<_, Failure>(Digests::of(&*destination, pattern, params).await?)
    };
    let there = tokio::select! {
        biased;
        () = signals.next() => Err(Failure::Interrupted(
            "stopped; run the same command to go on".to_owned(),
        )),
        there = work => there,
    };
    copy.progress.clear();
    let (digests, copied, conflicts) = (copy.digests, copy.copied, copy.conflicts);
    let there = there?;
    source.close().await?;
    destination.close().await?;
    report(&args, &digests, copied, conflicts, &there)
}

/// A running copy.
struct Copy<'a> {
    source: &'a dyn PersistenceBackend,
    destination: &'a dyn PersistenceBackend,
    pattern: &'a str,
    params: QueryParams,
    /// What the source has.
    digests: Digests,
    /// Rows of one time that are missing, while the destination has other values at that time.
    undecided: Vec<Row>,
    /// Whether the destination has a value that follows one of these.
    is_out_of_order: bool,
    /// The first row that was not copied for such a value, and how many there are.
    conflicts: Option<(RecordName, u64, u64)>,
    /// The next batch, and the bytes of its values.
    rows: Vec<Row>,
    bytes: usize,
    writer: u128,
    batches: u64,
    copied: u64,
    progress: Progress,
}

impl Copy<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let known = self.destination.records(self.pattern, self.params.grammar).await?;
        let known: HashSet<String> = known.into_iter().map(|summary| summary.record).collect();
        let mut rows = self.source.query_stream(self.pattern, self.params).await?;
        let mut current: Option<(Arc<str>, RecordName, There)> = None;
        while let Some(row) = rows.next().await.transpose()? {
            if is_own(&row.record) {
                continue;
            }
            let Some(value) = canonical(&row.json) else {
                self.digests.unreadable += 1;
                continue;
            };
            let is_same_record = current.as_ref().is_some_and(|(record, ..)| *record == row.record);
            if !is_same_record
                || self.undecided.first().is_some_and(|one| one.stored_at != row.stored_at)
            {
                self.leave_undecided();
            }
            if !is_same_record {
                let there = match known.contains(&*row.record) {
                    true => There::of(self.destination, &row.record, self.params).await?,
                    false => There::nothing(),
                };
                let name = RecordName::new(&*row.record)?;
                current = Some((row.record.clone(), name, there));
            }
            let Some((record, name, there)) = &mut current else { continue };
            self.digests.add(record, row.stored_at, &value);
            if there.has(row.stored_at, &value).await? {
                // What is missing would come behind this one.
                self.is_out_of_order |= !self.undecided.is_empty();
            } else {
                let value = JsonText::from_text(&*row.json, usize::MAX)?;
                self.undecided.push(Row { record: name.clone(), value, stored_at: row.stored_at });
            }
            if there.has_others() || self.is_out_of_order {
                continue;
            }
            self.bytes += self.undecided.iter().map(|row| row.value.len()).sum::<usize>();
            self.rows.append(&mut self.undecided);
            if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.send().await?;
            }
        }
        self.leave_undecided();
        self.send().await
    }

    /// The destination has a value at this time that the source lacks, as one of them was corrected, or later
    /// ones of several values. With the missing ones behind them, the ends would never agree.
    fn leave_undecided(&mut self) {
        self.is_out_of_order = false;
        let count = self.undecided.len() as u64;
        if let Some(row) = self.undecided.drain(..).next() {
            self.conflicts.get_or_insert((row.record, row.stored_at, 0)).2 += count;
        }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.batches += 1;
        let rows = std::mem::take(&mut self.rows);
        let (count, id) = (rows.len(), BatchId { writer: self.writer, number: self.batches });
        let batch = Batch::new(rows).with_id(id);
        store::send(self.destination, &batch).await.map_err(|error| refused(&error, &batch))?;
        self.copied += count as u64;
        self.progress.at(0, self.copied);
        Ok(())
    }
}

fn refused(error: &PersistenceError, batch: &Batch) -> Failure {
    let row = match error {
        PersistenceError::InvalidRow { index, .. } => batch.rows().get(*index),
        _ => None,
    };
    let row = row.map_or(String::new(), |row| {
        format!(" (the row of {} at {})", shown_name(row.record.as_str()), row.stored_at)
    });
    Failure::Failed(format!("the destination: {error}{row}; run the same command to go on"))
}

/// Prints the proof.
fn report(
    args: &Args,
    source: &Digests,
    copied: u64,
    conflicts: Option<(RecordName, u64, u64)>,
    there: &Digests,
) -> Result<(), Failure> {
    let left = conflicts.as_ref().map_or(0, |(.., count)| *count);
    let compared = compare(source, there);
    let columns = [
        Column::name("record"),
        Column::number("count"),
        Column::fixed("first"),
        Column::fixed("last"),
        Column::fixed("agrees"),
        Column::rest("hash"),
    ];
    let members = ["record", "count", "first", "last", "hash", "agrees", "at_destination"];
    let mut printer = Printer::new(args.output, Header::new(&members, columns)).without_count();
    compared.iter().try_for_each(|line| printer.line(line))?;
    printer.finish()?;
    let mut parts = vec![counted(compared.len() as u64, "record"), counted(source.rows(), "row")];
    if !args.verify {
        parts.push(format!("{copied} copied"));
        parts.push(format!("{} already there", source.rows() - copied - left));
    }
    let differ = compared.iter().filter(|line| !line.agrees).count() as u64;
    if differ == 0 && source.unreadable == 0 {
        let proof = match compared[..] {
            [] => "neither end has such rows",
            _ => "both ends agree",
        };
        print_note(&format!("{}; {proof}", parts.join(", ")));
        return Ok(());
    }
    print_note(&parts.join(", "));
    let mut why = Vec::new();
    if let Some(first) = compared.iter().find(|line| !line.agrees) {
        why.push(format!(
            "the ends differ in {}, the first {} ({}, {} at the destination)",
            counted(differ, "record"),
            shown_name(&first.record),
            counted(first.count, "row"),
            first.at_destination
        ));
    }
    if conflicts.is_none() && compared.iter().any(|line| line.at_destination > line.count) {
        why.push(
            "the destination has rows that the source lacks; `annals erase` removes them there, and the \
             same command copies what is missing"
                .to_owned(),
        );
    }
    if let Some((record, at, count)) = conflicts {
        why.push(format!(
            "{} not copied, the first of {} at {at}: the destination has other values at that time, or in \
             another order; erase that time there (`annals erase`) or correct one side (`annals correct`), \
             and run the same command again",
            counted(count, "row"),
            shown_name(record.as_str())
        ));
    }
    if source.unreadable > 0 {
        why.push(format!(
            "{} of the source not copied: the stored text is not JSON",
            counted(source.unreadable, "row")
        ));
    }
    Err(Failure::Failed(why.join("; ")))
}

impl Line for Compared {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        let time = |at: Option<u64>| at.map_or(String::new(), |at| at.to_string());
        vec![
            Cow::from(&*self.record),
            self.count.to_string().into(),
            time(self.first).into(),
            time(self.last).into(),
            Cow::from(&*self.hash),
            self.agrees.to_string().into(),
            self.at_destination.to_string().into(),
        ]
    }

    fn cells(&self) -> Vec<String> {
        let time = |at: Option<u64>| at.map_or(String::new(), to_the_second);
        let agrees = match self.agrees {
            true => "yes".to_owned(),
            false => format!("no: {} there", self.at_destination),
        };
        let count = indicatif::HumanCount(self.count).to_string();
        vec![
            shown_name(&self.record),
            count,
            time(self.first),
            time(self.last),
            agrees,
            self.hash.clone(),
        ]
    }
}
