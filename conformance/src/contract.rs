//! The clauses, read from the contract's own text.

use std::fmt;
use std::sync::LazyLock;

/// The contract's text. The file is a link to the project's `docs/contract.md`; a package has its
/// contents.
pub(crate) const TEXT: &str = include_str!("../contract.md");

/// One clause of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    id: String,
    text: String,
}

impl Clause {
    /// All clauses, in the contract's order.
    pub fn all() -> &'static [Clause] {
        static CLAUSES: LazyLock<Vec<Clause>> = LazyLock::new(|| parse(TEXT));
        &CLAUSES
    }

    /// The clause with this id.
    pub fn find(id: &str) -> Option<&'static Clause> {
        Self::all().iter().find(|clause| clause.id == id)
    }

    /// The id, `RANGE-2` for instance.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the clause says, on one line.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.text)
    }
}

/// The id of the clause that a case is named after: `range_2_bounds_are_inclusive` is of RANGE-2.
pub(crate) fn clause_id(case_name: &str) -> Option<String> {
    let mut words = case_name.split('_');
    let section = words.next()?.to_uppercase();
    let number: u32 = words.next()?.parse().ok()?;
    Some(format!("{section}-{number}"))
}

/// A clause is a list item that begins with its id in bold and ends before the next item or the
/// next empty line.
fn parse(contract: &str) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = Vec::new();
    let mut inside = false;
    for line in contract.lines() {
        let heading = line.strip_prefix("- **").and_then(|rest| rest.split_once("** "));
        if let Some((id, text)) = heading {
            clauses.push(Clause { id: id.to_owned(), text: text.trim().to_owned() });
            inside = true;
        } else if line.trim().is_empty() {
            inside = false;
        } else if let (true, Some(clause)) = (inside, clauses.last_mut()) {
            clause.text.push(' ');
            clause.text.push_str(line.trim());
        }
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_spans_lines_and_ends_at_an_empty_one() {
        let text = "# T\n\n- **A-1** One\n  two.\n- **A-2** Three.\n\nNot four.\n";
        let clauses = parse(text);
        assert_eq!(clauses.len(), 2);
        assert_eq!(clauses[0].to_string(), "A-1: One two.");
        assert_eq!(clauses[1].to_string(), "A-2: Three.");
    }

    #[test]
    fn every_list_item_of_the_contract_is_a_clause_and_every_id_is_used_once() {
        let items = TEXT.lines().filter(|line| line.starts_with("- ")).count();
        assert_eq!(Clause::all().len(), items);
        for clause in Clause::all() {
            let same = Clause::all().iter().filter(|other| other.id == clause.id).count();
            assert_eq!(same, 1, "{}", clause.id);
        }
    }

    #[test]
    fn a_case_is_named_after_its_clause() {
        assert_eq!(clause_id("range_2_bounds_are_inclusive").as_deref(), Some("RANGE-2"));
        assert_eq!(clause_id("range_bounds"), None);
    }
}
