//! What is done with series behind the selection: arithmetic with a number, and grouping.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::problem::Problem;

/// The labels of a series, in the order of their names: `__name__`, `member`, `record`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Labels {
    /// Whether the name of the metric is kept. Results that are no longer the metric have none.
    pub(super) named: bool,
    pub(super) member: Option<Arc<str>>,
    pub(super) record: Option<Arc<str>>,
}

/// One series: a value, or none, for each step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) values: Vec<Option<f64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

/// An operator with a number on one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arithmetic {
    operator: Operator,
    number: f64,
    number_is_left: bool,
}

impl Arithmetic {
    pub(super) fn new(operator: Operator, number: f64) -> Self {
        Self { operator, number, number_is_left: false }
    }

    pub(super) fn with_number_left(self) -> Self {
        Self { number_is_left: true, ..self }
    }

    pub(super) fn apply(&self, value: f64) -> f64 {
        let (left, right) = match self.number_is_left {
            true => (self.number, value),
            false => (value, self.number),
        };
        match self.operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
            Operator::Modulo => left % right,
            Operator::Power => left.powf(right),
        }
    }
}

/// How series become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Sum,
    Mean,
    Min,
    Max,
    Count,
}

/// Which labels the groups have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct GroupBy {
    named: bool,
    member: bool,
    record: bool,
}

impl GroupBy {
    /// Labels that no series has make no difference.
    pub(super) fn labels(names: &[String]) -> Self {
        let has = |label: &str| names.iter().any(|name| name == label);
        Self { named: has("__name__"), member: has("member"), record: has("record") }
    }

    fn of(&self, labels: Labels) -> Labels {
        Labels {
            named: self.named && labels.named,
            member: labels.member.filter(|_| self.member),
            record: labels.record.filter(|_| self.record),
        }
    }
}

/// One thing that is done with all series.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    Arithmetic(Arithmetic),
    Group(Group, GroupBy),
}

/// The stages of a query while its series come.
#[derive(Debug)]
pub(super) struct Stages {
    /// What every series passes before the first grouping.
    before: Vec<Arithmetic>,
    groups: Option<Groups>,
    /// What the groups pass.
    after: Vec<Stage>,
    max_points: usize,
}

impl Stages {
    pub(super) fn new(stages: &[Stage], max_points: usize) -> Self {
        let mut before = Vec::new();
        let mut stages = stages.iter();
        let mut groups = None;
        for stage in stages.by_ref() {
            match stage {
                Stage::Arithmetic(arithmetic) => before.push(*arithmetic),
                Stage::Group(group, by) => {
                    groups = Some(Groups { group: *group, by: *by, all: BTreeMap::new() });
                    break;
                }
            }
        }
        Self { before, groups, after: stages.cloned().collect(), max_points }
    }

    /// Takes one series. It comes back unless it went into a group.
    pub(super) fn push(&mut self, mut series: Series) -> Result<Option<Series>, Problem> {
        for arithmetic in &self.before {
            series.labels.named = false;
            for value in series.values.iter_mut().flatten() {
                *value = arithmetic.apply(*value);
            }
        }
        let Some(groups) = &mut self.groups else { return Ok(Some(series)) };
        groups.add(series, self.max_points)?;
        Ok(None)
    }

    /// The groups, by their labels, when all series were taken.
    pub(super) fn finish(self) -> Result<Vec<Series>, Problem> {
        let Some(groups) = self.groups else { return Ok(Vec::new()) };
        let mut next = Stages::new(&self.after, self.max_points);
        let mut done = Vec::new();
        for series in groups.finish() {
            done.extend(next.push(series)?);
        }
        done.extend(next.finish()?);
        Ok(done)
    }
}

/// What a group holds at one step.
#[derive(Debug, Clone, Copy)]
struct Cell {
    count: u64,
    value: f64,
}

#[derive(Debug)]
struct Groups {
    group: Group,
    by: GroupBy,
    all: BTreeMap<Labels, Vec<Cell>>,
}

impl Groups {
    fn add(&mut self, series: Series, max_points: usize) -> Result<(), Problem> {
        let steps = series.values.len();
        let groups = self.all.len();
        let cells = self.all.entry(self.by.of(series.labels)).or_insert_with(|| {
            // The first value replaces it.
            vec![Cell { count: 0, value: 0.0 }; steps]
        });
        if (groups + 1).saturating_mul(steps) > max_points {
            return Err(Problem::TooMuch(format!(
                "the groups have more than {max_points} points together: group by fewer labels, \
                 or choose a greater step"
            )));
        }
        for (cell, value) in cells.iter_mut().zip(series.values) {
            let Some(value) = value else { continue };
            let first = cell.count == 0;
            cell.count += 1;
            cell.value = match self.group {
                _ if first => value,
                Group::Sum | Group::Mean => cell.value + value,
                // NaN gives way to any number.
                Group::Min => cell.value.min(value),
                Group::Max => cell.value.max(value),
                Group::Count => cell.value,
            };
        }
        Ok(())
    }

    fn finish(self) -> impl Iterator<Item = Series> {
        let group = self.group;
        let value = move |cell: Cell| {
            (cell.count > 0).then_some(match group {
                Group::Sum | Group::Min | Group::Max => cell.value,
                Group::Mean => cell.value / cell.count as f64,
                Group::Count => cell.count as f64,
            })
        };
        self.all.into_iter().map(move |(labels, cells)| Series {
            labels,
            values: cells.into_iter().map(value).collect(),
        })
    }
}
