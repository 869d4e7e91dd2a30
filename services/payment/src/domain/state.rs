use eventstore::{Aggregate, Category};
use serde::Serialize;
use uuid::Uuid;

use super::{Event, Fate, Reference, Refusal, Terms};

/// A charge that exists at the provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Held {
    /// What it is for.
    pub terms: Terms,
    /// The provider's name for it.
    pub charge: Reference,
    /// The epoch of the key it was made under.
    pub authorization: u32,
}

/// Where one payment stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Payment {
    /// Nobody asked for it yet.
    #[default]
    Absent,
    /// Voided before it was asked for: an authorization that comes late is refused.
    VoidedBefore {
        /// The order.
        order_id: Uuid,
    },
    /// The provider is being asked to hold money.
    Authorizing {
        /// What for.
        terms: Terms,
        /// The card.
        token: String,
        /// The key's epoch.
        epoch: u32,
    },
    /// The same, but by now the money is not wanted any more.
    AuthorizingToVoid {
        /// What for.
        terms: Terms,
        /// The key's epoch.
        epoch: u32,
    },
    /// Money is held.
    Authorized(Held),
    /// The provider refused.
    Declined {
        /// What.
        terms: Terms,
        /// Why.
        refusal: Refusal,
    },
    /// The provider is being asked to take the money.
    Capturing {
        /// Which money.
        held: Held,
        /// The key's epoch.
        epoch: u32,
    },
    /// Money was taken.
    Captured(Held),
    /// The provider would not give it; it may still be held.
    CaptureRejected {
        /// Which money.
        held: Held,
        /// The key's epoch.
        epoch: u32,
        /// Why.
        refusal: Refusal,
        /// Who was told.
        message: Uuid,
    },
    /// The provider is being asked to let go of the money.
    Voiding {
        /// Which money.
        held: Held,
        /// The key's epoch.
        epoch: u32,
    },
    /// No money is held.
    Voided {
        /// What it was for.
        terms: Terms,
        /// Why so.
        fate: Fate,
    },
    /// The provider is being asked to give the money back.
    Refunding {
        /// Which money.
        held: Held,
        /// The key's epoch.
        epoch: u32,
    },
    /// Money was given back.
    Refunded(Held),
    /// The provider would not; we still have it.
    RefundRejected {
        /// Which money.
        held: Held,
        /// The key's epoch.
        epoch: u32,
        /// Why.
        refusal: Refusal,
        /// Who was told.
        message: Uuid,
    },
}

impl Payment {
    /// What was agreed; `None` while nothing is.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Self::Absent | Self::VoidedBefore { .. } => None,
            Self::Authorizing { terms, .. }
            | Self::AuthorizingToVoid { terms, .. }
            | Self::Declined { terms, .. }
            | Self::Voided { terms, .. } => Some(terms),
            Self::Authorized(held)
            | Self::Capturing { held, .. }
            | Self::Captured(held)
            | Self::CaptureRejected { held, .. }
            | Self::Voiding { held, .. }
            | Self::Refunding { held, .. }
            | Self::Refunded(held)
            | Self::RefundRejected { held, .. } => Some(&held.terms),
        }
    }

    /// The order it belongs to.
    #[must_use]
    pub fn order_id(&self) -> Option<Uuid> {
        if let Self::VoidedBefore { order_id } = self {
            return Some(*order_id);
        }
        self.terms().map(|terms| terms.order_id)
    }

    /// The charge, where one is known.
    #[must_use]
    pub fn charge(&self) -> Option<&Reference> {
        match self {
            Self::Absent
            | Self::VoidedBefore { .. }
            | Self::Authorizing { .. }
            | Self::AuthorizingToVoid { .. }
            | Self::Declined { .. }
            | Self::Voided { fate: Fate::Refused | Fate::NotFound(_), .. } => None,
            Self::Voided { fate: Fate::LetGo(charge), .. } => Some(charge),
            Self::Authorized(held)
            | Self::Capturing { held, .. }
            | Self::Captured(held)
            | Self::CaptureRejected { held, .. }
            | Self::Voiding { held, .. }
            | Self::Refunding { held, .. }
            | Self::Refunded(held)
            | Self::RefundRejected { held, .. } => Some(&held.charge),
        }
    }

    /// The charge and the epoch of what was last asked about it.
    fn into_held(self) -> Option<(Held, u32)> {
        match self {
            Self::Absent
            | Self::VoidedBefore { .. }
            | Self::Authorizing { .. }
            | Self::AuthorizingToVoid { .. }
            | Self::Declined { .. }
            | Self::Voided { .. } => None,
            Self::Authorized(held) | Self::Captured(held) | Self::Refunded(held) => Some((held, 1)),
            Self::Capturing { held, epoch }
            | Self::CaptureRejected { held, epoch, .. }
            | Self::Voiding { held, epoch }
            | Self::Refunding { held, epoch }
            | Self::RefundRejected { held, epoch, .. } => Some((held, epoch)),
        }
    }

    fn into_terms(self) -> Option<Terms> {
        match self {
            Self::Absent | Self::VoidedBefore { .. } => None,
            Self::Authorizing { terms, .. }
            | Self::AuthorizingToVoid { terms, .. }
            | Self::Declined { terms, .. }
            | Self::Voided { terms, .. } => Some(terms),
            Self::Authorized(held)
            | Self::Capturing { held, .. }
            | Self::Captured(held)
            | Self::CaptureRejected { held, .. }
            | Self::Voiding { held, .. }
            | Self::Refunding { held, .. }
            | Self::Refunded(held)
            | Self::RefundRejected { held, .. } => Some(held.terms),
        }
    }

    fn restarted(self, epoch: u32) -> Option<Self> {
        let Self::Authorizing { terms, token, .. } = self else { return None };
        Some(Self::Authorizing { terms, token, epoch })
    }

    fn void_requested(self) -> Option<Self> {
        let Self::Authorizing { terms, epoch, .. } = self else { return None };
        Some(Self::AuthorizingToVoid { terms, epoch })
    }
}

impl Aggregate for Payment {
    const CATEGORY: Category = Category::new("payment");

    type Event = Event;

    fn evolve(self, event: &Event) -> Self {
        let next = match event {
            Event::AuthorizationStarted { terms, token } => {
                Some(Self::Authorizing { terms: terms.clone(), token: token.clone(), epoch: 1 })
            }
            Event::VoidedBefore { order_id } => Some(Self::VoidedBefore { order_id: *order_id }),
            Event::AuthorizationRestarted { epoch } => self.restarted(*epoch),
            Event::VoidRequested {} => self.void_requested(),
            Event::Authorized { charge, epoch, .. } => self
                .into_terms()
                .map(|terms| Self::Authorized(Held { terms, charge: charge.clone(), authorization: *epoch })),
            Event::Declined { refusal, .. } => {
                self.into_terms().map(|terms| Self::Declined { terms, refusal: refusal.clone() })
            }
            Event::VoidStarted { charge, authorization, epoch } => self.into_terms().map(|terms| {
                let held = Held { terms, charge: charge.clone(), authorization: *authorization };
                Self::Voiding { held, epoch: *epoch }
            }),
            Event::Voided { fate, .. } => self.into_terms().map(|terms| Self::Voided { terms, fate: fate.clone() }),
            Event::CaptureStarted { epoch } => {
                self.into_held().map(|(held, _)| Self::Capturing { held, epoch: *epoch })
            }
            Event::Captured { .. } => self.into_held().map(|(held, _)| Self::Captured(held)),
            Event::CaptureRejected { refusal, message, .. } => self.into_held().map(|(held, epoch)| {
                Self::CaptureRejected { held, epoch, refusal: refusal.clone(), message: *message }
            }),
            Event::RefundStarted { epoch } => self.into_held().map(|(held, _)| Self::Refunding { held, epoch: *epoch }),
            Event::Refunded { .. } => self.into_held().map(|(held, _)| Self::Refunded(held)),
            Event::RefundRejected { refusal, message, .. } => self
                .into_held()
                .map(|(held, epoch)| Self::RefundRejected { held, epoch, refusal: refusal.clone(), message: *message }),
        };
        // `decide` never lets an event meet a state that has no place for it.
        next.unwrap_or_default()
    }
}
