//! Types of events and the versions of their shapes.
//!
//! Stored events are for ever; the types that programs read them with are not. So every type of event has a version of
//! its shape, counted from 1 and stored beside each payload, and for each older version a pure function that brings a
//! payload one version up ([`Upcast`]). The chain leads from every released shape to today's, which alone has a Rust
//! type. Nothing is ever rewritten: [`DomainEvent::decode`] upcasts on the way in.
//!
//! What a program does not know, it does not touch: a type or version that is newer than the program is an error that
//! says so ([`Undecodable::is_newer`]), and the stream is parked until a program comes that knows it. What it does know
//! may have fields more than it knows: they are ignored. So a field may be added without a new version exactly when a
//! reader that has never heard of it still concludes the right thing; everything else is a new version.
//!
//! ```
//! use eventstore::{DomainEvent as _, Unfit};
//! use serde::{Deserialize, Serialize};
//! use serde_json::{Value, json};
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! enum ParcelEvent {
//!     ParcelWeighed { grams: u64 },
//!     ParcelLost,
//! }
//!
//! /// Version 1 had kilograms.
//! fn grams(mut body: Value) -> Result<Value, Unfit> {
//!     let kilograms = body["kilograms"].take().as_u64().ok_or_else(|| Unfit::new("kilograms are no number"))?;
//!     Ok(json!({ "grams": kilograms * 1_000 }))
//! }
//!
//! eventstore::event_types! {
//!     ParcelEvent {
//!         Self::ParcelWeighed { .. } => "ParcelWeighed", from [grams];
//!         Self::ParcelLost => "ParcelLost";
//!     }
//! }
//!
//! let old = ParcelEvent::decode("ParcelWeighed", 1, r#"{"ParcelWeighed":{"kilograms":2}}"#)?;
//! assert_eq!(old, ParcelEvent::ParcelWeighed { grams: 2_000 });
//! assert_eq!(old.event_type().version(), 2); // what is written today
//!
//! let newer = ParcelEvent::decode("ParcelWeighed", 3, r#"{"ParcelWeighed":{"carats":7}}"#).unwrap_err();
//! assert!(newer.is_newer());
//! # Ok::<(), eventstore::Undecodable>(())
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Recorded, StreamId, Version};

/// Brings what an event tells from one version of its shape to the next: the body below the type's name, [`Value::Null`]
/// for an event without one. Pure, and total: whatever was ever stored in its version has an answer.
pub type Upcast = fn(Value) -> Result<Value, Unfit>;

/// Why an upcaster refuses a body: it was never stored in that version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

impl Unfit {
    /// The reason, for whoever looks at the stored event.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A type of event: its stored name and its versions.
#[derive(Clone, Copy, Debug)]
pub struct EventType {
    name: &'static str,
    upcasters: &'static [Upcast],
}

impl EventType {
    /// A type called `name` (past tense, CamelCase, never changed once released). `upcasters` lead from version 1 to 2,
    /// from 2 to 3, and so on: one for every version but today's.
    #[must_use]
    pub const fn new(name: &'static str, upcasters: &'static [Upcast]) -> Self {
        Self { name, upcasters }
    }

    /// The stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The version of the shape that is written today, from 1.
    #[must_use]
    pub fn version(&self) -> u16 {
        u16::try_from(self.upcasters.len()).unwrap_or(u16::MAX).saturating_add(1)
    }

    /// Brings a stored payload of the older version `from` to today's shape.
    fn upcast(&self, from: u16, payload: &str) -> Result<Value, Undecodable> {
        let mut body = untagged(self.name, serde_json::from_str(payload).map_err(Undecodable::Damaged)?)?;
        for (version, upcast) in (1_u16..).zip(self.upcasters).filter(|(version, _)| *version >= from) {
            body = upcast(body).map_err(|unfit| Undecodable::Unfit { version, unfit })?;
        }
        Ok(Value::Object(serde_json::Map::from_iter([(self.name.to_owned(), body)])))
    }
}

/// The body of a payload that bears the name of its type.
fn untagged(name: &str, payload: Value) -> Result<Value, Undecodable> {
    match payload {
        Value::String(tag) if tag == name => Ok(Value::Null),
        Value::Object(mut tagged) if tagged.len() == 1 => {
            let found = tagged.keys().next().cloned().unwrap_or_default();
            tagged.remove(name).ok_or(Undecodable::Contradictory { found })
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => Err(Undecodable::Contradictory { found: other.to_string().chars().take(64).collect() }),
    }
}

/// Why a payload is not understood.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// A newer program wrote it. Deploy that program.
    #[error("its type is not known here: it is of a newer program")]
    UnknownType,
    /// A newer program wrote it. Deploy that program.
    #[error("versions 1 to {newest} of its type are known here: it is of a newer program")]
    UnknownVersion {
        /// The newest version that this program knows.
        newest: u16,
    },
    /// The row says one type and its payload another, or it is of version 0. It was damaged; restore it.
    #[error("it contradicts itself: its payload tells of {found}")]
    Contradictory {
        /// What the payload says it is.
        found: String,
    },
    /// The JSON is not of the shape that its version has. It was damaged, or its shape was changed without a new
    /// version.
    #[error("its payload does not have the shape of its version")]
    Damaged(#[source] serde_json::Error),
    /// An upcaster refused it. It was damaged, or the upcaster has a defect.
    #[error("its payload cannot be brought up from version {version}")]
    Unfit {
        /// The version that the upcaster leads from.
        version: u16,
        /// Why.
        #[source]
        unfit: Unfit,
    },
}

impl Undecodable {
    /// True when a newer program understands it; false when it is damaged, and no program will.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        match self {
            Self::UnknownType | Self::UnknownVersion { .. } => true,
            Self::Contradictory { .. } | Self::Damaged(_) | Self::Unfit { .. } => false,
        }
    }
}

/// Why a stored event cannot be understood by this program. Its stream is parked, not skipped.
#[derive(Debug, thiserror::Error)]
#[error("event {version} of {stream} ({type_name} v{schema_version}) cannot be decoded")]
pub struct DecodeError {
    /// The stream.
    pub stream: StreamId,
    /// The event's version.
    pub version: Version,
    /// Its name.
    pub type_name: String,
    /// The version of its shape.
    pub schema_version: u16,
    /// What is wrong with it.
    #[source]
    pub source: Undecodable,
}

impl DecodeError {
    /// The error for one event.
    #[must_use]
    pub fn of(recorded: &Recorded, source: Undecodable) -> Self {
        Self {
            stream: recorded.stream,
            version: recorded.version,
            type_name: recorded.type_name.clone(),
            schema_version: recorded.schema_version,
            source,
        }
    }

    /// True when a newer program understands the event; false when it is damaged.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        self.source.is_newer()
    }

    /// The whole story in one line: which event, and what is wrong with it, down to the cause.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// A fact that a stream can hold. Implemented by [`event_types!`](crate::event_types).
///
/// Its serde form is that of an enum with the type's name as the outer tag: `{"OrderPlaced":{…}}`, or `"OrderPlaced"`
/// where there is nothing else to tell.
pub trait DomainEvent: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Every type of event that this program knows.
    const TYPES: &'static [EventType];

    /// The type of this one.
    fn event_type(&self) -> &'static EventType;

    /// The name under which the event is stored.
    fn type_name(&self) -> &'static str {
        self.event_type().name()
    }

    /// The type of a stored event, if this program can read it.
    ///
    /// # Errors
    /// [`Undecodable`]: of a newer program, or of version 0.
    fn known(type_name: &str, schema_version: u16) -> Result<&'static EventType, Undecodable> {
        let known = Self::TYPES.iter().find(|known| known.name == type_name).ok_or(Undecodable::UnknownType)?;
        match schema_version {
            0 => Err(Undecodable::Contradictory { found: "version 0".to_owned() }),
            version if version > known.version() => Err(Undecodable::UnknownVersion { newest: known.version() }),
            _ => Ok(known),
        }
    }

    /// Reads a stored payload of any released shape. Today's is read straight from the text.
    ///
    /// # Errors
    /// [`Undecodable`]: of a newer program, or damaged.
    fn decode(type_name: &str, schema_version: u16, payload: &str) -> Result<Self, Undecodable> {
        let known = Self::known(type_name, schema_version)?;
        let decoded: Result<Self, _> = if schema_version == known.version() {
            serde_json::from_str(payload)
        } else {
            serde_json::from_value(known.upcast(schema_version, payload)?)
        };
        let event = decoded.map_err(Undecodable::Damaged)?;
        if event.type_name() == type_name {
            Ok(event)
        } else {
            Err(Undecodable::Contradictory { found: event.type_name().to_owned() })
        }
    }

    /// [`Self::decode`] for a recorded event, with its place in the error.
    ///
    /// # Errors
    /// [`DecodeError`] names the event.
    fn from_recorded(recorded: &Recorded) -> Result<Self, DecodeError> {
        Self::decode(&recorded.type_name, recorded.schema_version, &recorded.payload)
            .map_err(|source| DecodeError::of(recorded, source))
    }

    /// For whoever wants only some types of events and passes over the others unread: what is passed over must be
    /// known, or it would be skipped.
    ///
    /// # Errors
    /// [`DecodeError`]: the event is of a newer program.
    fn check(recorded: &Recorded) -> Result<(), DecodeError> {
        Self::known(&recorded.type_name, recorded.schema_version)
            .map(|_| ())
            .map_err(|source| DecodeError::of(recorded, source))
    }
}

/// Implements [`DomainEvent`] for an enum: a line per variant with its stored name and, behind `from`, an upcaster for
/// each of its older versions, oldest first. A variant without a line does not compile.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Clone, Serialize, Deserialize)]
/// enum DoorEvent {
///     DoorOpened { by: String },
///     DoorClosed,
/// }
///
/// eventstore::event_types! {
///     DoorEvent {
///         Self::DoorOpened { .. } => "DoorOpened";
///         Self::DoorClosed => "DoorClosed";
///     }
/// }
/// ```
///
/// Type parameters stand behind: `SagaEvent<P> where [P: Process] { … }`.
#[macro_export]
macro_rules! event_types {
    ($event:ty $(where [$($parameters:tt)*])? {
        $($variant:pat => $name:expr $(, from [$($upcast:expr),+ $(,)?])?;)+
    }) => {
        impl $(<$($parameters)*>)? $crate::DomainEvent for $event {
            const TYPES: &'static [$crate::EventType] = &[
                $($crate::EventType::new($name, &[$($($upcast),+)?])),+
            ];

            fn event_type(&self) -> &'static $crate::EventType {
                match self {
                    $($variant => const { &$crate::EventType::new($name, &[$($($upcast),+)?]) },)+
                }
            }
        }
    };
}
