use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kind of thing a stream tells about: `order`, `saga`, `product`. Lower-case ASCII, 1 to 32 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Category(&'static str);

impl Category {
    /// Names a category. Meant for constants; [`Aggregate::CATEGORY`](crate::Aggregate::CATEGORY) is the usual place.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name as it stands in the database and in a stream's printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One stream: a category and an id, printed as `order-0199…`.
///
/// The order (id first) is the order in which every commit writes its rows, so that two commits that meet the same
/// streams take them in the same order and cannot deadlock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId {
    /// Which one.
    pub id: Uuid,
    /// Which kind.
    pub category: Category,
}

impl StreamId {
    /// The stream of `id` in `category`.
    #[must_use]
    pub const fn new(category: Category, id: Uuid) -> Self {
        Self { id, category }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.category, self.id)
    }
}

/// How many events a stream has. The first event is version 1; 0 is a stream that does not exist yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    /// The version of a stream without events.
    pub const NONE: Self = Self(0);

    /// A version read from a store or a message.
    #[must_use]
    pub const fn new(version: u64) -> Self {
        Self(version)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version after `count` more events. Stays at the largest number there is: no store takes such a version.
    #[must_use]
    pub const fn plus(self, count: usize) -> Self {
        Self(self.0.saturating_add(count as u64))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
