//! A table that is printed row by row.

use std::borrow::Cow;
use std::io::{self, Write};

use console::{Alignment, measure_text_width, pad_str, truncate_str};

/// The number of rows that size the columns before the first is printed.
const SAMPLE: usize = 100;
/// The space between two columns.
const GAP: &str = "  ";
/// The least width for names and the last column. On a terminal too narrow for it, lines are cut at
/// the end.
const LEAST_ROOM: usize = 16;
/// Marks a cut.
const CUT: &str = "…";

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: Cow<'static, str>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As wide as needed, up to its share of the width.
    Name,
    /// As wide as needed.
    Fixed,
    /// As `Fixed`, right-aligned.
    Number,
    /// The last column: the remaining width.
    Rest,
}

impl Column {
    pub(crate) const fn name(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), kind: Kind::Name }
    }

    pub(crate) const fn fixed(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), kind: Kind::Fixed }
    }

    pub(crate) fn number(title: impl Into<Cow<'static, str>>) -> Self {
        Self { title: title.into(), kind: Kind::Number }
    }

    pub(crate) const fn rest(title: &'static str) -> Self {
        Self { title: Cow::Borrowed(title), kind: Kind::Rest }
    }

    /// Columns with titles and unknown content.
    #[cfg(feature = "sql")]
    pub(crate) fn untyped(titles: impl ExactSizeIterator<Item = String>) -> Vec<Self> {
        let last = titles.len().saturating_sub(1);
        let kind = |place| if place == last { Kind::Rest } else { Kind::Name };
        titles
            .enumerate()
            .map(|(place, title)| Self { title: title.into(), kind: kind(place) })
            .collect()
    }
}

/// A table no wider than `width`. The first rows size the columns, and a later row widens them when
/// it needs to. Memory does not grow with the number of rows.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    width: usize,
    /// The widest cell of each column so far.
    needed: Vec<usize>,
    /// Rows held back until there are enough to size the columns; `None` once the header is
    /// printed.
    sample: Option<Vec<Vec<String>>>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>, width: usize) -> Self {
        let needed = columns.iter().map(|column| measure_text_width(&column.title)).collect();
        Self { columns, width, needed, sample: Some(Vec::new()) }
    }

    pub(crate) fn row(&mut self, out: &mut impl Write, cells: Vec<String>) -> io::Result<()> {
        for (needed, cell) in self.needed.iter_mut().zip(&cells) {
            *needed = (*needed).max(measure_text_width(cell));
        }
        match &mut self.sample {
            None => self.print(out, &cells),
            Some(sample) => {
                sample.push(cells);
                if sample.len() >= SAMPLE { self.flush_sample(out) } else { Ok(()) }
            }
        }
    }

    /// Prints the rows that are held back. A table without rows is its header.
    pub(crate) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.flush_sample(out)
    }

    fn flush_sample(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Some(rows) = self.sample.take() else { return Ok(()) };
        let titles: Vec<_> = self.columns.iter().map(|column| column.title.to_string()).collect();
        self.print(out, &titles)?;
        rows.iter().try_for_each(|row| self.print(out, row))
    }

    fn print(&self, out: &mut impl Write, cells: &[String]) -> io::Result<()> {
        let widths = self.widths();
        let mut line = String::with_capacity(self.width);
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if index > 0 {
                line.push_str(GAP);
            }
            let right = self.columns[index].kind == Kind::Number;
            let side = if right { Alignment::Right } else { Alignment::Left };
            let cell = truncate_str(cell, width, CUT);
            line.push_str(&pad_str(&cell, width, side, None));
        }
        writeln!(out, "{}", truncate_str(line.trim_end(), self.width, CUT))
    }

    /// The widths that fit: fixed columns get what they need, the others share the rest. Names shrink
    /// to half of the shared width while the last column needs more than the other half.
    fn widths(&self) -> Vec<usize> {
        let of = |kind| {
            let columns = self.columns.iter().zip(&self.needed);
            columns.filter(move |(column, _)| column.kind == kind).map(|(_, needed)| *needed)
        };
        let gaps = GAP.len() * self.columns.len().saturating_sub(1);
        let fixed: usize = of(Kind::Fixed).chain(of(Kind::Number)).sum();
        let room = self.width.saturating_sub(fixed + gaps).max(LEAST_ROOM);
        let rest: usize = of(Kind::Rest).sum();
        let wanted: usize = of(Kind::Name).sum();
        let names = wanted.min((room / 2).max(room.saturating_sub(rest)));
        let width = |column: &Column, needed: usize| match column.kind {
            Kind::Fixed | Kind::Number => needed,
            Kind::Name => needed * names / wanted.max(1),
            Kind::Rest => room - names,
        };
        self.columns.iter().zip(&self.needed).map(|(column, n)| width(column, *n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: usize, rows: &[[&str; 3]]) -> Vec<String> {
        let columns = vec![Column::name("record"), Column::fixed("at"), Column::rest("value")];
        table_of(columns, width, rows)
    }

    fn table_of<const N: usize>(
        columns: Vec<Column>,
        width: usize,
        rows: &[[&str; N]],
    ) -> Vec<String> {
        let mut out = Vec::new();
        let mut table = Table::new(columns, width);
        for row in rows {
            table.row(&mut out, row.map(str::to_owned).to_vec()).unwrap();
        }
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let lines = table(40, &[["a", "1", "x"], ["a longer name", "2", "y"]]);
        assert_eq!(lines[0], "record         at  value");
        assert_eq!(lines[1], "a              1   x");
        assert_eq!(lines[2], "a longer name  2   y");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "x".repeat(300);
        let wide = "日本語".repeat(30);
        for width in [20, 40, 80] {
            for row in [[&*long, "12", &*long], [&*wide, "12", &*wide], ["a", "1", &*long]] {
                for line in table(width, &[row, ["b", "2", "short"]]) {
                    assert!(measure_text_width(&line) <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn a_narrow_terminal_shows_names_before_all_else() {
        let columns = vec![Column::name("record"), Column::number("count"), Column::fixed("first")];
        let mut out = Vec::new();
        let mut table = Table::new(columns, 30);
        let cells = ["accuracy::vienna", "12", "2026-05-17 08:30:00"].map(str::to_owned);
        table.row(&mut out, cells.to_vec()).unwrap();
        table.finish(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "record            count  first\naccuracy::vienna     12  2026…\n"
        );
    }

    #[test]
    fn a_name_takes_the_room_that_values_leave() {
        let name = "n".repeat(29);
        let lines = table(40, &[[&name, "1", "x"]]);
        assert_eq!(lines[1], format!("{name}  1   x"));
    }

    #[cfg(feature = "sql")]
    #[test]
    fn untyped_columns_share_the_room() {
        let columns = || Column::untyped(["a", "b", "c"].map(str::to_owned).into_iter());
        let long = "x".repeat(100);
        for row in [[&*long, "1", "2"], ["1", &*long, &*long], [&*long, &*long, &*long]] {
            for line in table_of(columns(), 30, &[row]) {
                assert!(measure_text_width(&line) <= 30, "{line}");
            }
        }
        let lines = table_of(columns(), 30, &[["one", "two", "three"]]);
        assert_eq!(lines, ["a    b    c", "one  two  three"]);
        assert_eq!(
            table_of(Column::untyped(["a".to_owned()].into_iter()), 9, &[["1"]]),
            ["a", "1"]
        );
    }

    #[test]
    fn a_longer_name_after_the_sample_still_shows() {
        let name = "a name longer than those before";
        let mut rows = vec![["short", "1", "x"]; SAMPLE + 1];
        rows.push([name, "1", "x"]);
        let lines = table(80, &rows);
        assert_eq!(lines.len(), rows.len() + 1);
        assert!(lines[rows.len()].contains(name));
    }

    #[test]
    fn without_rows_it_is_a_header() {
        assert_eq!(table(80, &[]), ["record  at  value"]);
    }
}
