//! What a saga is bound to: a definition's name, version and looks.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{Action, Step, Terms};
use crate::{Process, RetryPolicy};

/// SHA-256 over the structure of a definition: names, kinds, order, groups, timeouts and policies. What a request
/// function does is code and not part of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionHash([u8; 32]);

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DefinitionHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DefinitionHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let not_a_hash = || serde::de::Error::custom("a definition's hash is 64 hexadecimal digits");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(not_a_hash());
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or_else(not_a_hash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| not_a_hash())?;
        }
        Ok(Self(bytes))
    }
}

/// Which definition a saga is bound to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DefinitionRef {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its version, from 1.
    pub version: u32,
    /// What it looked like.
    pub hash: DefinitionHash,
}

impl fmt::Display for DefinitionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// What a definition does not use adds nothing, so that the hashes of released ones stay when more becomes possible.
pub(super) fn hash<P: Process>(
    name: &str,
    version: u32,
    terms: Terms,
    steps: &[Step<P>],
    stages: &[Range<usize>],
) -> DefinitionHash {
    let mut sha = Sha256::new();
    text(&mut sha, name);
    sha.update(version.to_be_bytes());
    if let Some(deadline) = terms.deadline {
        text(&mut sha, "deadline");
        number(&mut sha, deadline.as_nanos());
    }
    for (word, name) in [("cancelled-by", terms.cancelled_by), ("gives", terms.gives)] {
        if let Some(name) = name {
            text(&mut sha, word);
            text(&mut sha, name);
        }
    }
    for stage in stages {
        number(&mut sha, stage.len() as u128);
        for step in steps.get(stage.clone()).unwrap_or_default() {
            text(&mut sha, step.name.as_str());
            text(&mut sha, &step.kind.to_string());
            match &step.action {
                Action::Local => text(&mut sha, "local"),
                Action::Ask(ask) => {
                    text(&mut sha, if ask.is_awaited() { "await" } else { "ask" });
                    if let Some(child) = ask.child() {
                        text(&mut sha, "child");
                        text(&mut sha, child);
                    }
                    if ask.is_conditional() {
                        text(&mut sha, "only-if");
                    }
                    number(&mut sha, ask.timeout.as_nanos());
                    policy(&mut sha, ask.retry);
                    if ask.undo.is_some() {
                        text(&mut sha, "undo");
                        policy(&mut sha, ask.undo_retry);
                    }
                }
            }
        }
    }
    DefinitionHash(sha.finalize().into())
}

fn text(sha: &mut Sha256, text: &str) {
    number(sha, text.len() as u128); // "ab","c" is not "a","bc"
    sha.update(text);
}

fn number(sha: &mut Sha256, number: u128) {
    sha.update(number.to_be_bytes());
}

fn policy(sha: &mut Sha256, policy: RetryPolicy) {
    number(sha, u128::from(policy.attempts_max.get()));
    number(sha, policy.backoff_first.as_nanos());
    number(sha, policy.backoff_max.as_nanos());
}
