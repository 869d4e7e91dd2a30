use super::Standing;

/// What a test card does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// `tok_success`: money is held.
    Success,
    /// `tok_declined`.
    Declined,
    /// `tok_insufficient_funds`.
    InsufficientFunds,
    /// `tok_timeout_charged`: money is held, the first request is never answered.
    TimeoutCharged,
    /// `tok_timeout_not_charged`: the first request is lost and never answered.
    TimeoutNotCharged,
    /// `tok_flaky`: the first two requests fail.
    Flaky,
    /// Anything else.
    Unknown,
}

impl Token {
    /// The card behind a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        match token {
            "tok_success" => Self::Success,
            "tok_declined" => Self::Declined,
            "tok_insufficient_funds" => Self::InsufficientFunds,
            "tok_timeout_charged" => Self::TimeoutCharged,
            "tok_timeout_not_charged" => Self::TimeoutNotCharged,
            "tok_flaky" => Self::Flaky,
            _ => Self::Unknown,
        }
    }

    /// The request, counted from 1, that has an effect for the first time.
    pub(super) const fn answers_from(self) -> i16 {
        match self {
            Self::Success | Self::Declined | Self::InsufficientFunds | Self::TimeoutCharged | Self::Unknown => 1,
            Self::TimeoutNotCharged => 2,
            Self::Flaky => 3,
        }
    }

    /// Why it is declined, if it is.
    pub(super) const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Declined => Some("CARD_DECLINED"),
            Self::InsufficientFunds => Some("INSUFFICIENT_FUNDS"),
            Self::Unknown => Some("UNKNOWN_TOKEN"),
            Self::Success | Self::TimeoutCharged | Self::TimeoutNotCharged | Self::Flaky => None,
        }
    }

    /// Where the books put it at the first request.
    pub(super) const fn first_standing(self) -> Standing {
        match (self.refusal(), self.answers_from()) {
            (Some(_), _) => Standing::Declined,
            (None, 1) => Standing::Authorized,
            (None, _) => Standing::Failing,
        }
    }

    /// True when nobody hears of request number `request`.
    pub(super) const fn is_never_answered(self, request: u32) -> bool {
        request == 1 && matches!(self, Self::TimeoutCharged | Self::TimeoutNotCharged)
    }

    /// True when request number `request` is answered with an error that says nothing.
    pub(super) const fn fails(self, request: u32) -> bool {
        request <= 2 && matches!(self, Self::Flaky)
    }
}
