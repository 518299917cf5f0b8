//! The text form of a predicate, by recursive descent.

use super::{Comparison, Condition, Predicate};
use crate::error::PersistenceError;
use crate::scalar::Scalar;

/// How deep parentheses and `not` may be nested.
const MAX_DEPTH: usize = 64;

/// How many comparisons a text may have. Each reads the whole value.
const MAX_COMPARISONS: usize = 256;

const MEMBER: &str = "a member, such as celsius, /outdoor/celsius or \"odd name\"";
const CONDITION: &str = "a comparison such as celsius > 30, exists celsius, not, or a parenthesis";
const SCALAR: &str = "a number, a string in quotes, true, false or null";
const OPERATOR: &str = "=, !=, <, <=, > or >=";

pub(super) fn predicate(text: &str) -> Result<Predicate, PersistenceError> {
    let mut parser = Parser { text, at: 0, depth: 0, comparisons: 0 };
    let parsed = parser.any();
    let parsed = parsed.and_then(|predicate| match parser.rest() {
        "" => Ok(predicate),
        _ => Err(parser.expected("and, or, or the end")),
    });
    parsed.map_err(|problem| problem.of(text))
}

/// What is wrong, and the byte at which it is.
struct Problem {
    at: usize,
    reason: String,
}

impl Problem {
    fn of(self, text: &str) -> PersistenceError {
        let before = text.get(..self.at).unwrap_or(text);
        let place = before.chars().count() + 1;
        PersistenceError::invalid_predicate(text, format!("at character {place}: {}", self.reason))
    }
}

type Parsed<T> = Result<T, Problem>;

struct Parser<'a> {
    text: &'a str,
    /// The byte that is read next.
    at: usize,
    depth: usize,
    comparisons: usize,
}

impl<'a> Parser<'a> {
    /// Parts with `or` between them.
    fn any(&mut self) -> Parsed<Predicate> {
        let mut all = self.every()?;
        while self.keyword("or") {
            all = all.or(self.every()?);
        }
        Ok(all)
    }

    /// Parts with `and` between them.
    fn every(&mut self) -> Parsed<Predicate> {
        let mut all = self.one()?;
        while self.keyword("and") {
            all = all.and(self.one()?);
        }
        Ok(all)
    }

    fn one(&mut self) -> Parsed<Predicate> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(
                self.problem(format!("more than {MAX_DEPTH} levels of parentheses and not"))
            );
        }
        let one = if self.keyword("not") {
            !self.one()?
        } else if self.symbol("(") {
            let inner = self.any()?;
            self.close()?;
            inner
        } else if self.keyword("exists") {
            self.exists()?
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(one)
    }

    fn close(&mut self) -> Parsed<()> {
        if self.symbol(")") { Ok(()) } else { Err(self.expected("and, or, or )")) }
    }

    fn exists(&mut self) -> Parsed<Predicate> {
        self.count()?;
        let in_parentheses = self.symbol("(");
        let (at, member) = (self.start(), self.member()?);
        let member = member.ok_or_else(|| self.expected(MEMBER))?;
        if in_parentheses {
            self.close()?;
        }
        Predicate::exists(&member).map_err(|error| moved(at, error))
    }

    fn comparison(&mut self) -> Parsed<Predicate> {
        self.count()?;
        let (at, member) = (self.start(), self.member()?);
        let Some(comparison) = self.operator() else {
            return Err(match member {
                Some(_) => self.expected(OPERATOR),
                None => self.expected(CONDITION),
            });
        };
        let at_scalar = self.start();
        let scalar = self.scalar()?;
        if comparison.is_order() && !scalar.is_ordered() {
            let expected = format!("{scalar} has no order; compare it with = or !=");
            return Err(Problem { at: at_scalar, reason: expected });
        }
        let predicate = Predicate::compare(&member.unwrap_or_default(), comparison, scalar);
        predicate.map_err(|error| moved(at, error))
    }

    fn count(&mut self) -> Parsed<()> {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return Err(self.problem(format!("more than {MAX_COMPARISONS} comparisons")));
        }
        Ok(())
    }

    fn operator(&mut self) -> Option<Comparison> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let operators = [
            ("!=", NotEqual),
            ("<>", NotEqual),
            ("<=", LessOrEqual),
            (">=", GreaterOrEqual),
            ("==", Equal),
            ("=", Equal),
            ("<", Less),
            (">", Greater),
        ];
        operators.into_iter().find(|(symbol, _)| self.symbol(symbol)).map(|(_, operator)| operator)
    }

    /// A member, unless an operator, a parenthesis or the end comes next.
    fn member(&mut self) -> Parsed<Option<String>> {
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            return self.string().map(Some);
        }
        let word = self.word();
        if is_keyword(word) {
            return Err(self.expected(&format!("{MEMBER}; a member of this name stands in quotes")));
        }
        self.at += word.len();
        Ok((!word.is_empty()).then(|| word.to_owned()))
    }

    fn scalar(&mut self) -> Parsed<Scalar> {
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            return self.string().map(Scalar::from);
        }
        // An exponent may have a plus.
        let end = rest.find(|c: char| !(is_word(c) || c == '+')).unwrap_or(rest.len());
        let word = &rest[..end];
        let scalar = match word {
            _ if word.eq_ignore_ascii_case("true") => Scalar::Bool(true),
            _ if word.eq_ignore_ascii_case("false") => Scalar::Bool(false),
            _ if word.eq_ignore_ascii_case("null") => Scalar::Null,
            _ => self.number(word)?,
        };
        self.at += word.len();
        Ok(scalar)
    }

    /// A JSON number reads as it does in a stored value.
    fn number(&self, word: &str) -> Parsed<Scalar> {
        match serde_json::from_str::<serde_json::Number>(word) {
            Ok(number) => number
                .as_u64()
                .map(Scalar::Unsigned)
                .or_else(|| number.as_i64().map(Scalar::Signed))
                .or_else(|| number.as_f64().map(Scalar::Float))
                .ok_or_else(|| self.expected(SCALAR)),
            Err(_) if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                let reason = format!("{word} is no JSON number; expected {SCALAR}");
                Err(self.problem(reason))
            }
            Err(_) => Err(self.expected(SCALAR)),
        }
    }

    /// A string in quotes: with JSON's escapes in double ones, literal in single ones.
    fn string(&mut self) -> Parsed<String> {
        let rest = self.rest();
        let (string, length) = match rest.strip_prefix('\'') {
            Some(inner) => {
                inner.split_once('\'').map(|(text, _)| (text.to_owned(), text.len() + 2))
            }
            None => {
                let mut read = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let string = read.next().and_then(Result::ok);
                string.map(|string| (string, read.byte_offset()))
            }
        }
        .ok_or_else(|| {
            self.problem("a string that does not end, or has an invalid escape".into())
        })?;
        self.at += length;
        Ok(string)
    }

    /// The letters, digits and signs that come next.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        &rest[..end]
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let word = self.word();
        let found = word.eq_ignore_ascii_case(keyword);
        if found {
            self.at += word.len();
        }
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    /// What is left, without spaces before it.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let rest = rest.trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    /// Where the next word begins.
    fn start(&mut self) -> usize {
        self.rest();
        self.at
    }

    fn problem(&self, reason: String) -> Problem {
        Problem { at: self.at, reason }
    }

    fn expected(&self, expected: &str) -> Problem {
        let found = match self.text.get(self.at..).and_then(|rest| rest.split_whitespace().next()) {
            Some(word) => format!("found {}", crate::error::excerpt(word)),
            None => "the filter ends".to_owned(),
        };
        self.problem(format!("{found}; expected {expected}"))
    }
}

/// The reason of another error at this place.
fn moved(at: usize, error: PersistenceError) -> Problem {
    match error {
        PersistenceError::InvalidPredicate { reason, .. } => Problem { at, reason },
        error => Problem { at, reason: error.to_string() },
    }
}

/// The characters of a member that needs no quotes.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '~' | '-')
}

pub(super) fn is_keyword(word: &str) -> bool {
    ["and", "or", "not", "exists", "true", "false", "null"]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// How tightly a condition binds: what binds looser stands in parentheses within it.
pub(super) fn binding(condition: &Condition) -> u8 {
    match condition {
        Condition::Or(_) => 0,
        Condition::And(_) => 1,
        Condition::Not(_) => 2,
        Condition::Compare(..) | Condition::Exists(_) => 3,
    }
}
