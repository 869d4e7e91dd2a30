use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a step, unique within its definition: 1 to 64 characters of `a-z`, `0-9` and `-`.
///
/// Names written in a definition are borrowed for ever, so passing them around allocates nothing; only names read from
/// a store are owned. That a name keeps to its alphabet is checked where definitions are built, not here: a name in a
/// message that no definition knows is simply not found.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepName(Cow<'static, str>);

impl StepName {
    /// The longest name a definition may give.
    pub const LENGTH_MAX: usize = 64;

    /// A name known when the program was written.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for StepName {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl From<String> for StepName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl PartialEq<str> for StepName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for StepName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With the width that was asked for: names stand in tables.
        f.pad(self.as_str())
    }
}

/// True for what may name a definition or a step.
pub(crate) fn is_well_formed(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=StepName::LENGTH_MAX).contains(&name.len()) && name.bytes().all(letters)
}
