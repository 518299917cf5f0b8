//! The text of a query becomes an [`Expression`]: one selection, a function of it, and stages.

use promql_parser::parser::token::{
    T_ADD, T_AVG, T_COUNT, T_DIV, T_MAX, T_MIN, T_MOD, T_MUL, T_POW, T_SUB, T_SUM, TokenType,
};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorSelector,
};

use super::leaf::{Leaf, Range, Sample};
use super::problem::Problem;
use super::select::Selector;
use super::stage::{Arithmetic, Group, GroupBy, Operator, Stage};
use super::token::Positions;

/// A query that can be answered.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// A number, whatever the time.
    Scalar(f64),
    /// Series: a selection, a function of it, and what is done with the results, in order.
    Series { leaf: Box<Leaf>, stages: Vec<Stage> },
}

impl Expression {
    /// Parses a query.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let positions = Positions::check(query)?;
        let parsed = parser::parse(query)
            .map_err(|error| Problem::bad(format!("the query cannot be parsed: {error}")))?;
        Reader { positions, operators: 0 }.expression(&parsed)
    }
}

impl Selector {
    /// Parses a selector of series, as `match[]` has it.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        match Expression::parse(text)? {
            Expression::Series { leaf, stages } if stages.is_empty() && leaf.range.is_none() => {
                Ok(leaf.selector)
            }
            _ => Err(Problem::bad(format!("match[] takes a selector, annals{{…}}, not {text}"))),
        }
    }
}

struct Reader<'a> {
    positions: Positions<'a>,
    /// How many binary operators were passed, in the order of the text.
    operators: usize,
}

impl Reader<'_> {
    fn expression(&mut self, parsed: &Expr) -> Result<Expression, Problem> {
        match parsed {
            Expr::NumberLiteral(number) => Ok(Expression::Scalar(number.val)),
            Expr::Paren(inner) => self.expression(&inner.expr),
            Expr::Unary(unary) => {
                Ok(self.expression(&unary.expr)?.then(Arithmetic::new(Operator::Multiply, -1.0)))
            }
            Expr::VectorSelector(selector) => {
                let selector = self.selector(selector)?;
                Ok(Expression::of(Leaf { selector, range: None }))
            }
            Expr::Call(call) => self.call(call),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.group(aggregate),
            Expr::MatrixSelector(_) => {
                let what = "a range of samples outside of a function such as avg_over_time(…[5m])";
                Err(self.positions.refuse(what, 0))
            }
            Expr::StringLiteral(_) => Err(self.positions.refuse("a text as a query", 0)),
            Expr::Subquery(_) | Expr::Extension(_) => Err(self.positions.refuse("subquery", 0)),
        }
    }

    fn selector(&self, selector: &VectorSelector) -> Result<Selector, Problem> {
        if selector.offset.is_some() || selector.at.is_some() {
            return Err(self.positions.refuse("modifier offset or @", 0));
        }
        Ok(Selector::new(selector.name.as_deref(), &selector.matchers.matchers))
    }

    fn call(&mut self, call: &Call) -> Result<Expression, Problem> {
        let name = call.func.name;
        let sample = match name {
            "avg_over_time" => Sample::Mean,
            "min_over_time" => Sample::Min,
            "max_over_time" => Sample::Max,
            "sum_over_time" => Sample::Sum,
            "count_over_time" => Sample::Count,
            "last_over_time" => Sample::Last,
            "rate" => Sample::Rate,
            "increase" => Sample::Increase,
            "delta" => Sample::Delta,
            "quantile_over_time" => {
                let quantile = call.args.first().map(|first| self.expression(&first));
                match quantile.transpose()? {
                    Some(Expression::Scalar(quantile)) => Sample::Quantile(quantile),
                    _ => {
                        let text = "quantile_over_time takes a number as its first argument";
                        return Err(Problem::bad(text));
                    }
                }
            }
            _ => return Err(self.positions.refuse(&format!("function {name}"), 0)),
        };
        match call.args.last().as_deref() {
            Some(Expr::MatrixSelector(matrix)) => {
                let millis = i64::try_from(matrix.range.as_millis()).unwrap_or(i64::MAX);
                let range = Some(Range { millis, sample });
                let selector = self.selector(&matrix.vs)?;
                Ok(Expression::of(Leaf { selector, range }))
            }
            _ => Err(Problem::bad(format!("{name} takes a range of samples: annals{{…}}[5m]"))),
        }
    }

    fn binary(&mut self, binary: &BinaryExpr) -> Result<Expression, Problem> {
        let left = self.expression(&binary.lhs)?;
        let number = self.operators;
        self.operators += 1;
        let right = self.expression(&binary.rhs)?;
        let Some(operator) = operator(binary.op) else {
            return Err(self.positions.refuse_binary("operator", number));
        };
        match (left, right) {
            (left, Expression::Scalar(right)) => Ok(left.then(Arithmetic::new(operator, right))),
            (Expression::Scalar(left), right) => {
                Ok(right.then(Arithmetic::new(operator, left).with_number_left()))
            }
            _ => {
                let what = format!("operator {} between two series", binary.op);
                Err(self.positions.refuse_binary(&what, number))
            }
        }
    }

    fn group(&mut self, aggregate: &AggregateExpr) -> Result<Expression, Problem> {
        let group = match aggregate.op.id() {
            T_SUM => Group::Sum,
            T_AVG => Group::Mean,
            T_MIN => Group::Min,
            T_MAX => Group::Max,
            T_COUNT => Group::Count,
            _ => return Err(self.positions.refuse(&format!("aggregation {}", aggregate.op), 0)),
        };
        let by = match &aggregate.modifier {
            None => GroupBy::default(),
            Some(LabelModifier::Include(labels)) => GroupBy::labels(&labels.labels),
            Some(LabelModifier::Exclude(_)) => {
                return Err(self.positions.refuse("modifier without", 0));
            }
        };
        match self.expression(&aggregate.expr)? {
            Expression::Series { leaf, mut stages } => {
                stages.push(Stage::Group(group, by));
                Ok(Expression::Series { leaf, stages })
            }
            Expression::Scalar(_) => {
                let text = format!("{} takes series, not a number", aggregate.op);
                Err(Problem::bad(text))
            }
        }
    }
}

impl Expression {
    fn of(leaf: Leaf) -> Self {
        Self::Series { leaf: Box::new(leaf), stages: Vec::new() }
    }

    fn then(self, arithmetic: Arithmetic) -> Self {
        match self {
            Self::Scalar(number) => Self::Scalar(arithmetic.apply(number)),
            Self::Series { leaf, mut stages } => {
                stages.push(Stage::Arithmetic(arithmetic));
                Self::Series { leaf, stages }
            }
        }
    }
}

fn operator(token: TokenType) -> Option<Operator> {
    Some(match token.id() {
        T_ADD => Operator::Add,
        T_SUB => Operator::Subtract,
        T_MUL => Operator::Multiply,
        T_DIV => Operator::Divide,
        T_MOD => Operator::Modulo,
        T_POW => Operator::Power,
        _ => return None,
    })
}
