//! Text to words.

use super::Compare;
use super::parser::QueryError;

/// A word of the language and the byte at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) offset: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name, a keyword or a value without quotes.
    Word(String),
    /// A value in quotes.
    Quoted(String),
    Compare(Compare),
    /// `~`
    Has,
    Open,
    Close,
    Comma,
    End,
}

impl Kind {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) => format!("`{text}`"),
            Self::Compare(_) => "a comparison".to_owned(),
            Self::Has => "`~`".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// All words of `text`, the end included.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let offset = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { kind: Kind::End, offset });
            return Ok(tokens);
        };
        let (kind, length) = token(rest, first, offset)?;
        tokens.push(Token { kind, offset });
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
}

/// The word that `rest` begins with, and how many bytes it takes.
fn token(rest: &str, first: char, offset: usize) -> Result<(Kind, usize), QueryError> {
    let two = rest.get(..2).unwrap_or_default();
    let found = match (first, two) {
        (_, "!=") => (Kind::Compare(Compare::Unequal), 2),
        (_, "<=") => (Kind::Compare(Compare::AtMost), 2),
        (_, ">=") => (Kind::Compare(Compare::AtLeast), 2),
        (_, "==") => (Kind::Compare(Compare::Equal), 2),
        ('=', _) => (Kind::Compare(Compare::Equal), 1),
        ('<', _) => (Kind::Compare(Compare::Below), 1),
        ('>', _) => (Kind::Compare(Compare::Above), 1),
        ('~', _) => (Kind::Has, 1),
        ('(', _) => (Kind::Open, 1),
        (')', _) => (Kind::Close, 1),
        (',', _) => (Kind::Comma, 1),
        ('"' | '\'', _) => return quoted(rest, first, offset),
        (first, _) if is_of_word(first) => {
            let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            (Kind::Word(rest.get(..length).unwrap_or_default().to_owned()), length)
        }
        (other, _) => return Err(QueryError::new(offset, format!("`{other}` has no meaning here"))),
    };
    Ok(found)
}

fn quoted(rest: &str, quote: char, offset: usize) -> Result<(Kind, usize), QueryError> {
    let inner = rest.get(1..).unwrap_or_default();
    let end = inner.find(quote).ok_or_else(|| QueryError::new(offset, "the quote is not closed".to_owned()))?;
    Ok((Kind::Quoted(inner.get(..end).unwrap_or_default().to_owned()), end + 2))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '@' | ':' | '/')
}
