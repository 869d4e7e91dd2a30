use std::collections::BTreeMap;

use crate::{Definition, DefinitionHash, DefinitionRef, Process};

/// The definitions a program knows. Old versions stay in it for as long as sagas bound to them run.
#[derive(Clone, Debug)]
pub struct Library<P: Process> {
    definitions: BTreeMap<(String, u32), Definition<P>>,
}

/// Two different definitions claim one name and version. A programmer must give one of them a new version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two different definitions are called {name} v{version}")]
pub struct LibraryError {
    /// The name.
    pub name: String,
    /// The version.
    pub version: u32,
}

/// A saga is bound to a definition that this program does not have. Nobody may decide for it here: alarm an operator,
/// deploy a program that has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownDefinition {
    /// No such name and version.
    #[error("no definition is called {pinned}")]
    Missing {
        /// What the saga is bound to.
        pinned: DefinitionRef,
    },
    /// The name and version mean something else here.
    #[error("{pinned} is defined differently here: {} is known, {} is pinned", known, pinned.hash)]
    Different {
        /// What the saga is bound to.
        pinned: DefinitionRef,
        /// What the name and version stand for here.
        known: DefinitionHash,
    },
    /// Nothing was ever defined under the name a saga was to be started with.
    #[error("no definition is called {name}")]
    NoSuchName {
        /// The name.
        name: String,
    },
}

impl<P: Process> Library<P> {
    /// A library of `definitions`.
    ///
    /// # Errors
    /// [`LibraryError`]: name and version would not tell two of them apart.
    pub fn new(definitions: impl IntoIterator<Item = Definition<P>>) -> Result<Self, LibraryError> {
        let mut library = Self { definitions: BTreeMap::new() };
        definitions.into_iter().try_for_each(|definition| library.add(definition))?;
        Ok(library)
    }

    fn add(&mut self, definition: Definition<P>) -> Result<(), LibraryError> {
        let key = (definition.id().name.to_string(), definition.id().version);
        match self.definitions.get(&key) {
            Some(known) if known.id().hash != definition.id().hash => Err(LibraryError { name: key.0, version: key.1 }),
            Some(_) => Ok(()),
            None => {
                self.definitions.insert(key, definition);
                Ok(())
            }
        }
    }

    /// The definition a saga is bound to.
    ///
    /// # Errors
    /// [`UnknownDefinition`]: it is not here, or not as it was.
    pub fn pinned(&self, pinned: &DefinitionRef) -> Result<&Definition<P>, UnknownDefinition> {
        match self.definitions.get(&(pinned.name.to_string(), pinned.version)) {
            None => Err(UnknownDefinition::Missing { pinned: pinned.clone() }),
            Some(known) if known.id().hash != pinned.hash => {
                Err(UnknownDefinition::Different { pinned: pinned.clone(), known: known.id().hash })
            }
            Some(known) => Ok(known),
        }
    }

    /// The definition called `name` in this version, if it is here.
    #[must_use]
    pub fn version(&self, name: &str, version: u32) -> Option<&Definition<P>> {
        self.definitions.get(&(name.to_owned(), version))
    }

    /// The newest definition called `name`: what new sagas are started with.
    ///
    /// # Errors
    /// [`UnknownDefinition::NoSuchName`].
    pub fn newest(&self, name: &str) -> Result<&Definition<P>, UnknownDefinition> {
        let versions = self.definitions.range((name.to_owned(), 0)..=(name.to_owned(), u32::MAX));
        versions
            .last()
            .map(|(_, definition)| definition)
            .ok_or_else(|| UnknownDefinition::NoSuchName { name: name.to_owned() })
    }

    /// All of them, by name and version.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition<P>> {
        self.definitions.values()
    }
}
