//! The tokens of a query: refuses what the API does not have, by its name and position, before the
//! query is parsed, and bounds its size.

use lrpar::{Lexeme, Lexer, NonStreamingLexer};
use promql_parser::parser::lex;
use promql_parser::parser::token::*;
use promql_parser::util::unquote_string;
use regex::{Error, RegexBuilder};

use super::problem::Problem;

/// The longest query, in bytes.
const MAX_QUERY_BYTES: usize = 16 << 10;
/// The largest number of tokens. The parsed query is walked recursively.
const MAX_TOKENS: usize = 500;
/// The largest regular expression, compiled, in bytes. A few letters can ask for megabytes and minutes:
/// `(\pL{1000}){1000}`.
const MAX_REGEX_BYTES: usize = 64 << 10;

/// The largest number in the length of a range, `[5m]` or `[300]`. promql-parser panics where seconds without a
/// unit are too many, and takes a number above `u32::MAX` with a unit for 0.
const MAX_RANGE: f64 = 999_999_999.0;

/// The functions there are. Each takes a range of samples, `annals{…}[5m]`.
pub(super) const FUNCTIONS: [&str; 10] = [
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "quantile_over_time",
    "rate",
    "increase",
    "delta",
];

/// Where the tokens of a query are that it can be refused for.
pub(super) struct Positions<'a> {
    query: &'a str,
    /// The binary operators, in the order of the text.
    binary: Vec<usize>,
}

impl<'a> Positions<'a> {
    /// Reads the tokens of `query`.
    pub(super) fn check(query: &'a str) -> Result<Self, Problem> {
        if query.trim().is_empty() {
            return Err(Problem::bad("the query is empty: write annals{record=\"…\"}"));
        }
        if query.len() > MAX_QUERY_BYTES {
            let text = format!("the query is longer than {MAX_QUERY_BYTES} bytes");
            return Err(Problem::bad(text));
        }
        let lexer = lex::lexer(query).map_err(Problem::BadData)?;
        let mut found = Self { query, binary: Vec::new() };
        let mut before: Option<u16> = None;
        // Label names may read like keywords.
        let (mut in_braces, mut in_labels) = (false, false);
        for (number, lexeme) in lexer.iter().enumerate() {
            let Ok(lexeme) = lexeme else {
                return Err(Problem::bad("the query cannot be divided into tokens"));
            };
            if number >= MAX_TOKENS {
                return Err(Problem::bad(format!("the query has more than {MAX_TOKENS} tokens")));
            }
            let (id, at) = (lexeme.tok_id(), lexeme.span().start());
            let text = lexer.span_str(lexeme.span());
            match id {
                T_LEFT_BRACE => in_braces = true,
                T_RIGHT_BRACE => in_braces = false,
                T_LEFT_PAREN => in_labels = before == Some(T_BY),
                T_RIGHT_PAREN => in_labels = false,
                T_STRING if matches!(before, Some(T_EQL_REGEX | T_NEQ_REGEX)) => {
                    found.check_regex(text, at)?;
                }
                T_NUMBER | T_DURATION if before == Some(T_LEFT_BRACKET) => {
                    found.check_range(text, id == T_DURATION, at)?;
                }
                T_LOR if in_braces => return Err(found.refuse("`or` between matchers", at)),
                _ if in_braces || in_labels => {}
                T_ADD | T_SUB | T_MUL | T_DIV | T_MOD | T_POW
                    if before.is_some_and(ends_operand) =>
                {
                    found.binary.push(at);
                }
                T_COLON => return Err(found.refuse("subquery", at)),
                T_AT => return Err(found.refuse("modifier @", at)),
                T_EQLC | T_NEQ | T_GTR | T_GTE | T_LSS | T_LTE => {
                    return Err(found.refuse(&format!("comparison {text}"), at));
                }
                T_LAND | T_LOR | T_LUNLESS | T_ATAN2 => {
                    return Err(found.refuse(&format!("operator {}", text.to_lowercase()), at));
                }
                T_GROUP | T_STDDEV | T_STDVAR | T_TOPK | T_BOTTOMK | T_COUNT_VALUES
                | T_QUANTILE | T_LIMITK | T_LIMIT_RATIO => {
                    return Err(found.refuse(&format!("aggregation {text}"), at));
                }
                T_OFFSET | T_WITHOUT | T_ON | T_IGNORING | T_GROUP_LEFT | T_GROUP_RIGHT
                | T_BOOL | T_SMOOTHED | T_ANCHORED | T_FILL | T_FILL_LEFT | T_FILL_RIGHT => {
                    return Err(found.refuse(&format!("modifier {text}"), at));
                }
                _ => {}
            }
            // The tokens T_IDENTIFIER and T_METRIC_IDENTIFIER are names; a function's is followed
            // by a parenthesis.
            if id == T_IDENTIFIER && !in_braces && !in_labels {
                let rest = query[lexeme.span().end()..].trim_start();
                if rest.starts_with('(') && !FUNCTIONS.contains(&text) {
                    return Err(found.refuse(&format!("function {text}"), at));
                }
            }
            before = Some(id);
        }
        Ok(found)
    }

    /// Refuses a regular expression that would take long to compile.
    fn check_regex(&self, quoted: &str, at: usize) -> Result<(), Problem> {
        let (line, column) = self.position(at);
        let regex = unquote_string(quoted).map_err(Problem::BadData)?;
        let built =
            RegexBuilder::new(&format!("^(?:{regex})$")).size_limit(MAX_REGEX_BYTES).build();
        match built {
            Ok(_) => Ok(()),
            Err(Error::CompiledTooBig(_)) => Err(Problem::bad(format!(
                "the regular expression at {line}:{column} is too large: repeat less, or use several \
                 matchers"
            ))),
            Err(error) => Err(Problem::bad(format!(
                "the regular expression at {line}:{column} is not valid: {error}"
            ))),
        }
    }

    /// Refuses the length of a range that the parser does not read right.
    fn check_range(&self, text: &str, has_units: bool, at: usize) -> Result<(), Problem> {
        let fits = |number: &str| number.parse::<f64>().is_ok_and(|number| number <= MAX_RANGE);
        let all_fit = match has_units {
            true => {
                text.split(|letter: char| !letter.is_ascii_digit()).all(|n| n.is_empty() || fits(n))
            }
            false => fits(text),
        };
        if all_fit {
            return Ok(());
        }
        let (line, column) = self.position(at);
        Err(Problem::bad(format!(
            "the range at {line}:{column} is not a number up to {MAX_RANGE} of seconds, or of units as in 5m"
        )))
    }

    /// The line and the column of byte `at`, from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.query.get(..at).unwrap_or(self.query);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        (line, column)
    }

    /// Refuses what begins at byte `at`.
    pub(super) fn refuse(&self, what: &str, at: usize) -> Problem {
        let (line, column) = self.position(at);
        Problem::bad(format!(
            "{what} at {line}:{column} is not supported; there are {}, sum, avg, min, max and count \
             with `by (…)`, and arithmetic with numbers",
            FUNCTIONS.join(", ")
        ))
    }

    /// Refuses the `number`-th binary operator of the text, from 0.
    pub(super) fn refuse_binary(&self, what: &str, number: usize) -> Problem {
        self.refuse(what, self.binary.get(number).copied().unwrap_or(0))
    }
}

/// Whether an operator behind this token has a left side.
fn ends_operand(token: u16) -> bool {
    let ends = [
        T_RIGHT_PAREN,
        T_RIGHT_BRACE,
        T_RIGHT_BRACKET,
        T_NUMBER,
        T_STRING,
        T_IDENTIFIER,
        T_METRIC_IDENTIFIER,
        T_DURATION,
    ];
    ends.contains(&token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_that_takes_long_to_compile_is_refused_before_it_does() {
        for large in
            [r"\\pL{100}", "(.{1,1000}){1,1000}", "a{1000}{1000}{1000}", r"x{bbb}\\pL{100}"]
        {
            for query in [
                format!("annals{{record=~\"{large}\"}}"),
                format!("sum(annals{{member=\"a\", record!~\"{large}\"}})"),
            ] {
                let refused = Positions::check(&query).err().map(|problem| problem.to_string());
                let at = query.find('~').unwrap() + 2;
                let said = refused.unwrap_or_default();
                assert!(said.contains(&format!("at 1:{at} is")), "{query}: {said}");
            }
        }
        for fine in ["host::.*", "cpu[01]|percent", r"\\d{1,3}", "[^x]+", "a{2}"] {
            let query = format!("annals{{record=~\"{fine}\",member!~'{fine}'}}");
            assert!(Positions::check(&query).is_ok(), "{query}");
        }
    }
}
