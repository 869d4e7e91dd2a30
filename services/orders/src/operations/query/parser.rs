//! Words to a [`Query`]: recursive descent.
//!
//! ```text
//! query     = or
//! or        = and { OR and }
//! and       = not { AND not }
//! not       = NOT not | "(" or ")" | condition
//! condition = field ( compare value | "~" value | [NOT] IN "(" value { "," value } ")" | [NOT] BETWEEN value AND value )
//! ```

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::field::Field;
use super::lexer::{Kind, Token, tokens};
use super::time::{NoTime, point};
use super::{Amount, Bounds, Compare, Condition, Query, States};

/// The longest query, bytes.
pub const LENGTH_MAX: usize = 2_000;
/// How deep parentheses and NOTs may be nested.
pub const DEPTH_MAX: usize = 32;
/// The longest time, seconds: a hundred years.
const SECONDS_MAX: i64 = 100 * 366 * 86_400;
const FIELDS: &str = "state, saga, step, error, age, idle, started, updated, customer, order, id, amount or exposure";

/// A query that makes no sense. Mend it at `offset`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The byte at which the mistake begins; the length of the query when something is missing at its end.
    pub offset: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl QueryError {
    pub(super) fn new(offset: usize, message: String) -> Self {
        Self { offset, message }
    }
}

/// Reads a query; an empty one means every saga.
///
/// # Errors
/// [`QueryError`] says what is wrong and where.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > LENGTH_MAX {
        let found = text.len();
        return Err(QueryError::new(LENGTH_MAX, format!("the query has {found} bytes: allowed are {LENGTH_MAX}")));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    if parser.peek() == &Kind::End {
        return Ok(Query::All);
    }
    let query = parser.or()?;
    if parser.takes(&Kind::End) { Ok(query) } else { Err(parser.expected("AND, OR, or the end")) }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |token| token.offset)
    }

    fn take(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.next += 1;
        kind
    }

    fn expected(&self, what: &str) -> QueryError {
        QueryError::new(self.offset(), format!("expected {what}, found {}", self.peek().describe()))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_it = matches!(self.peek(), Kind::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(is_it);
        is_it
    }

    fn takes(&mut self, kind: &Kind) -> bool {
        let is_it = self.peek() == kind;
        self.next += usize::from(is_it);
        is_it
    }

    fn or(&mut self) -> Result<Query, QueryError> {
        let mut any = vec![self.and()?];
        while self.takes_word("or") {
            any.push(self.and()?);
        }
        Ok(only(any, Query::Or))
    }

    fn and(&mut self) -> Result<Query, QueryError> {
        let mut all = vec![self.not()?];
        while self.takes_word("and") {
            all.push(self.not()?);
        }
        Ok(only(all, Query::And))
    }

    fn not(&mut self) -> Result<Query, QueryError> {
        if self.depth >= DEPTH_MAX {
            return Err(QueryError::new(self.offset(), format!("nested more than {DEPTH_MAX} deep")));
        }
        if self.takes_word("not") {
            self.depth += 1;
            let query = self.not()?;
            self.depth -= 1;
            return Ok(Query::Not(Box::new(query)));
        }
        if self.takes(&Kind::Open) {
            self.depth += 1;
            let query = self.or()?;
            self.depth -= 1;
            return if self.takes(&Kind::Close) { Ok(query) } else { Err(self.expected("`)`")) };
        }
        self.condition()
    }

    fn condition(&mut self) -> Result<Query, QueryError> {
        let at = self.offset();
        let Kind::Word(field) = self.peek().clone() else { return Err(self.expected(&format!("a field: {FIELDS}"))) };
        let field = Field::named(&field)
            .ok_or_else(|| QueryError::new(at, format!("there is no field `{field}`: expected {FIELDS}")))?;
        self.next += 1;
        let negated = self.takes_word("not");
        if self.takes_word("in") {
            let values = self.values()?;
            let condition = field.any(&values)?;
            return Ok(if negated { negate(condition) } else { Query::Is(condition) });
        }
        if self.takes_word("between") {
            let query = self.between(field)?;
            return Ok(if negated { Query::Not(Box::new(query)) } else { query });
        }
        if negated {
            return Err(self.expected("IN or BETWEEN"));
        }
        let at = self.offset();
        match self.take() {
            Kind::Has => field.has(at, self.value()?),
            Kind::Compare(compare) => field.compares(at, compare, self.value()?),
            Kind::Word(_) | Kind::Quoted(_) | Kind::Open | Kind::Close | Kind::Comma | Kind::End => {
                self.next -= 1;
                Err(self.expected("one of = != < <= > >= ~ in between"))
            }
        }
    }

    /// From one value to another, both included.
    fn between(&mut self, field: Field) -> Result<Query, QueryError> {
        let at = self.offset();
        let from = field.compares(at, Compare::AtLeast, self.value()?)?;
        if !self.takes_word("and") {
            return Err(self.expected("AND, and what it ends with"));
        }
        let to = field.compares(self.offset(), Compare::AtMost, self.value()?)?;
        let query = Query::And(vec![from, to]);
        if Bounds::of(&query, DateTime::UNIX_EPOCH).is_empty() {
            return Err(QueryError::new(at, "nothing is between these two: the lesser comes first".to_owned()));
        }
        Ok(query)
    }

    fn value(&mut self) -> Result<Value, QueryError> {
        let offset = self.offset();
        match self.peek().clone() {
            Kind::Word(text) | Kind::Quoted(text) => {
                self.next += 1;
                Ok(Value { text, offset })
            }
            Kind::Compare(_) | Kind::Has | Kind::Open | Kind::Close | Kind::Comma | Kind::End => {
                Err(self.expected("a value"))
            }
        }
    }

    fn values(&mut self) -> Result<Vec<Value>, QueryError> {
        if !self.takes(&Kind::Open) {
            return Err(self.expected("`(`"));
        }
        let mut values = vec![self.value()?];
        while self.takes(&Kind::Comma) {
            values.push(self.value()?);
        }
        if self.takes(&Kind::Close) { Ok(values) } else { Err(self.expected("`,` or `)`")) }
    }
}

fn only(mut queries: Vec<Query>, many: fn(Vec<Query>) -> Query) -> Query {
    match queries.pop() {
        Some(query) if queries.is_empty() => query,
        Some(query) => {
            queries.push(query);
            many(queries)
        }
        None => Query::All,
    }
}

pub(super) fn negate(condition: Condition) -> Query {
    if let Condition::State(states) = condition {
        return Query::Is(Condition::State(states.others()));
    }
    Query::Not(Box::new(Query::Is(condition)))
}

/// A value, and the byte at which it begins.
pub(super) struct Value {
    pub(super) text: String,
    pub(super) offset: usize,
}

impl Value {
    fn wrong(&self, expected: &str) -> QueryError {
        QueryError::new(self.offset, format!("`{}` is not {expected}", self.text))
    }

    pub(super) fn state(&self) -> Result<States, QueryError> {
        let expected =
            "a state: RUNNING, COMPENSATING, PARKED, PAUSED, COMPLETED, COMPENSATED, ABANDONED, OPEN or ENDED";
        States::named(&self.text).ok_or_else(|| self.wrong(expected))
    }

    pub(super) fn definition(&self) -> Result<(String, Option<u32>), QueryError> {
        match self.text.split_once('@') {
            None => Ok((self.text.clone(), None)),
            Some((name, version)) => {
                let version = version.parse().map_err(|_| self.wrong("a definition such as place-order@1"))?;
                Ok((name.to_owned(), Some(version)))
            }
        }
    }

    pub(super) fn uuid(&self) -> Result<Uuid, QueryError> {
        self.text.parse().map_err(|_| self.wrong("a UUID"))
    }

    pub(super) fn seconds(&self) -> Result<i64, QueryError> {
        let expected = "a time such as 90s, 10m, 2h or 3d";
        let digits = self.text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match self.text.strip_prefix(digits) {
            Some("s") => 1,
            Some("m") => 60,
            Some("h") => 3_600,
            Some("d") => 86_400,
            Some(_) | None => return Err(self.wrong(expected)),
        };
        let count: i64 = digits.parse().map_err(|_| self.wrong(expected))?;
        let seconds = count.checked_mul(unit).filter(|seconds| (0..=SECONDS_MAX).contains(seconds));
        seconds.ok_or_else(|| self.wrong("a time of at most a hundred years"))
    }

    /// A point in time to compare `field` with.
    pub(super) fn time(&self, field: &str) -> Result<DateTime<Utc>, QueryError> {
        point(&self.text).map_err(|no_time| match no_time {
            NoTime::Unknown => self.wrong("a point in time such as 2026-11-29T23:00:00Z or 2026-11-30T00:00:00+01:00"),
            NoTime::NoZone(time) => {
                let message = format!("{field} needs the zone of its time: say {time}Z for UTC, or {time}+01:00");
                QueryError::new(self.offset, message)
            }
        })
    }

    /// An amount to compare `field` with.
    pub(super) fn amount(&self, field: &str) -> Result<Amount, QueryError> {
        let amount = Amount::read(&self.text).ok_or_else(|| self.wrong("an amount such as 12.50EUR"))?;
        if amount.says_how_much() {
            return Ok(amount);
        }
        let text = &self.text;
        Err(QueryError::new(self.offset, format!("{field} needs a currency: say {text}EUR (0 needs none)")))
    }
}
