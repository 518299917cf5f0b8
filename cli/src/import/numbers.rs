//! The numbers among cells: those that became text, and those that were read in two ways.

use super::text::shown;
use crate::cell::{THOUSANDS, from_decimal_comma};

/// What was seen of the numbers among cells.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// How many cells begin like numbers and became text, and the first of them.
    text: u64,
    first: String,
    /// The first of them that is a number with a decimal comma.
    comma: Option<String>,
    /// The first number with a decimal point.
    pointed: Option<String>,
    /// With decimal commas: the first number in which points group thousands.
    grouped: Option<String>,
}

impl Numbers {
    /// A cell with a decimal comma, or without any comma, is a number.
    pub(super) fn see_grouped(&mut self, cell: &str) {
        if self.grouped.is_none() && !cell.contains(',') && cell.contains('.') {
            self.grouped = Some(shown(cell));
        }
    }

    /// A cell is JSON.
    pub(super) fn see_json(&mut self, cell: &str) {
        if self.pointed.is_none() && is_decimal(cell) {
            self.pointed = Some(shown(cell));
        }
    }

    /// A cell becomes text.
    pub(super) fn see_text(&mut self, cell: &str) {
        if !begins_like_a_number(cell) {
            return;
        }
        self.text += 1;
        if self.text == 1 {
            self.first = shown(cell);
        }
        if self.comma.is_none() && from_decimal_comma(cell).is_some_and(|_| cell.contains(',')) {
            self.comma = Some(shown(cell));
        }
    }

    /// Why the cells are hardly meant to be text: there are numbers with a comma and none with a point.
    pub(super) fn are_german(&self) -> Option<String> {
        let comma = self.comma.as_ref().filter(|_| self.pointed.is_none())?;
        Some(format!(
            "the cells have decimal commas, as in {comma}\n--decimal-comma reads them as numbers, and \
             --text stores them as strings"
        ))
    }

    /// Notes on numbers that became text, or something else than others.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.text > 0 {
            let help = self.comma.as_ref().and_then(|comma| {
                let number = from_decimal_comma(comma)?;
                Some(format!("\n--decimal-comma reads {comma} as {number}"))
            });
            let what = match self.text {
                1 => format!("1 cell that begins like a number became text: {}", self.first),
                cells => format!(
                    "{cells} cells that begin like numbers became text; the first is {}",
                    self.first
                ),
            };
            remarks.push(format!("note: {what}{}", help.unwrap_or_default()));
        }
        if let (Some(grouped), Some(pointed)) = (&self.grouped, &self.pointed) {
            remarks.push(format!(
                "note: a point was read in two ways\nit groups thousands in {grouped}, and is a \
                 decimal point in {pointed}"
            ));
        }
        remarks
    }
}

/// Whether JSON text is a number with a decimal point.
fn is_decimal(json: &str) -> bool {
    json.starts_with(|c: char| c.is_ascii_digit() || c == '-') && json.contains('.')
}

/// Whether text that is no JSON begins like a number: it has a sign, a currency or a unit, digits in
/// groups, or a comma. Dates, addresses and numbers of parts do not count.
fn begins_like_a_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-', '\u{2212}', '$', '€', '£', '(']).trim_start();
    if !digits.trim_start_matches(['.', ',']).starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let is_part = |c: char| c.is_ascii_digit() || ",eE+-".contains(c) || THOUSANDS.contains(&c);
    let end = digits.find(|c| !is_part(c)).unwrap_or(digits.len());
    let (number, unit) = digits.split_at(end);
    let number = number.trim_end();
    let is_id = number.len() == text.len() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = number.match_indices('-').any(|(at, _)| !number[..at].ends_with(['e', 'E']));
    let has_points = number.matches('.').count() > 1 && !number.contains(',');
    let is_unit = unit.is_empty()
        || (unit.chars().count() <= 6
            && unit.starts_with(|c: char| c.is_alphabetic() || "%°)€$£".contains(c))
            && !unit.contains(|c: char| c.is_ascii_digit()));
    !is_id && !is_date && !has_points && is_unit
}

#[cfg(test)]
mod tests {
    use super::super::value::CellStyle;
    use super::*;

    #[test]
    fn cells_that_begin_like_numbers_are_counted_where_they_become_text() {
        let seen = |cells: &[&str]| {
            let mut numbers = Numbers::default();
            let style = CellStyle { text: true, ..CellStyle::default() };
            cells.iter().for_each(|cell| drop(style.value(cell, &mut numbers).unwrap()));
            numbers
        };
        let german = seen(&["an", "21,5", "-1.234,5", "3"]);
        let remarks = german.remarks();
        assert!(remarks[0].contains("2 cells that begin like numbers became text"), "{remarks:?}");
        assert!(remarks[0].ends_with("--decimal-comma reads 21,5 as 21.5"), "{remarks:?}");
        assert!(german.are_german().unwrap().contains("--decimal-comma"));
        assert_eq!(seen(&["21,5", "7.25"]).are_german(), None);
        for cell in
            ["1,234.5", "+5", ".5", "5.", "1e999", "21.5 °C", "$1,234.50", "(5.00)", "12,5%"]
        {
            let remarks = seen(&[cell]).remarks();
            assert!(remarks.first().is_some_and(|remark| remark.contains(cell)), "{cell}");
        }
        for cell in [
            "an, aus",
            "5, 6 and 7",
            "{\"a\":1,\"b\":2}",
            "[1,2]",
            "1.5",
            "x,1",
            "007",
            "10:30",
            "2026-05-17",
            "17.05.2026",
            "192.168.1.1",
            "-",
            "+",
            "e5",
            "5 degrees Celsius",
        ] {
            assert_eq!(seen(&[cell]).remarks(), [""; 0], "{cell}");
        }
    }

    #[test]
    fn a_point_that_is_read_in_two_ways_is_remarked_on() {
        let style = CellStyle { text: true, decimal_comma: true, ..CellStyle::default() };
        let mut numbers = Numbers::default();
        for (cell, value) in [("48.208", "48208"), ("48.21", "48.21")] {
            assert_eq!(style.value(cell, &mut numbers).unwrap().unwrap(), value);
        }
        assert!(
            numbers.remarks()[0].contains("thousands in 48.208, and is a decimal point in 48.21")
        );
    }
}
