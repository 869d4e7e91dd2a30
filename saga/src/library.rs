use std::collections::BTreeMap;

use crate::{Ask, Definition, DefinitionHash, DefinitionRef, Kind, Process, StepName};

/// The definitions a program knows. Old versions stay in it for as long as sagas bound to them run.
#[derive(Clone, Debug)]
pub struct Library<P: Process> {
    definitions: BTreeMap<(String, u32), Definition<P>>,
}

/// Why definitions cannot be in one library. A programmer must change them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// Two different definitions claim one name and version. Give one of them a new version.
    #[error("two different definitions are called {name} v{version}")]
    Twice {
        /// The name.
        name: String,
        /// The version.
        version: u32,
    },
    /// A definition names another one that is not here.
    #[error("{by} needs the definition {name}, which is not here")]
    Missing {
        /// Whose need it is.
        by: String,
        /// What is needed.
        name: &'static str,
    },
    /// A saga would run itself as a step, directly or through others.
    #[error("{name} runs itself")]
    Endless {
        /// The name.
        name: String,
    },
    /// A step that can be undone runs a saga that cannot be once it is completed: it names no saga that undoes it
    /// ([`Builder::cancelled_by`](crate::Builder::cancelled_by)).
    #[error("{step} of {by} is compensatable, but {name} cannot be undone once it is completed")]
    NoWayBack {
        /// Whose step it is.
        by: String,
        /// The step.
        step: StepName,
        /// What it runs.
        name: &'static str,
    },
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
        library.definitions().try_for_each(|definition| library.is_whole(definition))?;
        Ok(library)
    }

    /// Whether what a definition runs, and what undoes it, is here and can be undone.
    fn is_whole(&self, definition: &Definition<P>) -> Result<(), LibraryError> {
        let by = || definition.id().to_string();
        let found = |name| self.newest(name).map_err(|_| LibraryError::Missing { by: by(), name });
        definition.cancelled_by().map(found).transpose()?;
        if self.runs(definition, &definition.id().name, 0) {
            return Err(LibraryError::Endless { name: definition.id().name.to_string() });
        }
        for step in definition.steps() {
            let Some(name) = step.ask().and_then(Ask::child) else { continue };
            let child = found(name)?;
            // One without a point of no return may be completed all the same, and what is over undoes nothing.
            if step.kind() == Kind::Compensatable && child.cancelled_by().is_none() {
                return Err(LibraryError::NoWayBack { by: by(), step: step.name().clone(), name });
            }
        }
        Ok(())
    }

    /// Whether `definition` runs `name`, directly or through others; a chain longer than there are definitions runs in
    /// a circle.
    fn runs(&self, definition: &Definition<P>, name: &str, depth: usize) -> bool {
        let children = definition.steps().iter().filter_map(|step| step.ask()?.child());
        depth > self.definitions.len()
            || children
                .filter_map(|child| self.newest(child).ok())
                .any(|child| child.id().name == name || self.runs(child, name, depth + 1))
    }

    fn add(&mut self, definition: Definition<P>) -> Result<(), LibraryError> {
        let key = (definition.id().name.to_string(), definition.id().version);
        match self.definitions.get(&key) {
            Some(known) if known.id().hash != definition.id().hash => {
                Err(LibraryError::Twice { name: key.0, version: key.1 })
            }
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
