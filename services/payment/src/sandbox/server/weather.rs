//! What goes wrong between a caller and the books, beyond what the cards do: drawn per request, and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::Spend;

/// How often things go wrong. Rates are shares of requests, 0.0 to 1.0.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Every request takes so much longer, milliseconds.
    pub latency_ms: u32,
    /// Answered 503; nothing was done.
    pub error_rate: f64,
    /// Lost on the way in: nothing is done, and never answered.
    pub lose_request_rate: f64,
    /// Lost on the way out: it is done, and the answer never comes, breaks off, or is garbage.
    pub lose_reply_rate: f64,
    /// Answered 500 for good: the key is of no more use. Half of them have had their effect.
    pub spend_key_rate: f64,
    /// Arrives twice, as by a proxy that tries again.
    pub duplicate_rate: f64,
}

/// A rate is not between 0 and 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} must be between 0 and 1")]
pub struct BadRate(&'static str);

impl Weather {
    /// Checks the rates.
    ///
    /// # Errors
    /// [`BadRate`] names the first that is none.
    pub fn check(&self) -> Result<(), BadRate> {
        let rates = [
            ("error_rate", self.error_rate),
            ("lose_request_rate", self.lose_request_rate),
            ("lose_reply_rate", self.lose_reply_rate),
            ("spend_key_rate", self.spend_key_rate),
            ("duplicate_rate", self.duplicate_rate),
        ];
        match rates.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            Some((name, _)) => Err(BadRate(name)),
            None => Ok(()),
        }
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms.into())
    }
}

/// How an answer gets lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    Never,
    BreaksOff,
    Garbage,
}

/// What happens to one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fate {
    pub(super) is_error: bool,
    pub(super) is_request_lost: bool,
    pub(super) lost_reply: Option<Lost>,
    pub(super) spend: Spend,
    pub(super) is_duplicate: bool,
}

/// How often each fault has fired in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Fired {
    /// Requests that faults could have met.
    pub requests: u64,
    /// See [`Weather::error_rate`].
    pub errors: u64,
    /// See [`Weather::lose_request_rate`].
    pub lost_requests: u64,
    /// See [`Weather::lose_reply_rate`].
    pub lost_replies: u64,
    /// See [`Weather::spend_key_rate`].
    pub spent_keys: u64,
    /// See [`Weather::duplicate_rate`].
    pub duplicates: u64,
}

/// The weather as it is now, and a seeded die.
pub(super) struct Sky {
    now: Mutex<Weather>,
    fired: Mutex<Fired>,
    seed: u64,
    draws: AtomicU64,
}

impl Sky {
    pub(super) fn new(weather: Weather, seed: u64) -> Self {
        let (now, fired) = (Mutex::new(weather), Mutex::new(Fired::default()));
        Self { now, fired, seed, draws: AtomicU64::new(0) }
    }

    pub(super) fn weather(&self) -> Weather {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, weather: Weather) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    pub(super) fn fired(&self) -> Fired {
        *self.fired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next request. The first fault that is drawn is the one that fires; a duplicate goes with any.
    pub(super) fn draw(&self) -> Fate {
        let weather = self.weather();
        let mut fate =
            Fate { is_error: false, is_request_lost: false, lost_reply: None, spend: Spend::No, is_duplicate: false };
        let mut fired = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        fired.requests += 1;
        if self.happens(weather.error_rate) {
            fate.is_error = true;
            fired.errors += 1;
        } else if self.happens(weather.lose_request_rate) {
            fate.is_request_lost = true;
            fired.lost_requests += 1;
        } else if self.happens(weather.lose_reply_rate) {
            fate.lost_reply = Some(match self.next() % 3 {
                0 => Lost::Never,
                1 => Lost::BreaksOff,
                _ => Lost::Garbage,
            });
            fired.lost_replies += 1;
        } else if self.happens(weather.spend_key_rate) {
            fate.spend = if self.next().is_multiple_of(2) { Spend::WithEffect } else { Spend::WithoutEffect };
            fired.spent_keys += 1;
        }
        if self.happens(weather.duplicate_rate) {
            fate.is_duplicate = true;
            fired.duplicates += 1;
        }
        fate
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept, which is what a double holds")]
    fn happens(&self, rate: f64) -> bool {
        rate > 0.0 && ((self.next() >> 11) as f64) < rate * (1_u64 << 53) as f64
    }

    /// `SplitMix64`.
    fn next(&self) -> u64 {
        let draw = self.draws.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut mixed = self.seed.wrapping_add(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: Weather = Weather {
        latency_ms: 0,
        error_rate: 0.1,
        lose_request_rate: 0.1,
        lose_reply_rate: 0.1,
        spend_key_rate: 0.1,
        duplicate_rate: 0.1,
    };

    #[test]
    fn every_fault_fires_about_as_often_as_asked_and_the_same_seed_draws_the_same() {
        let (one, other) = (Sky::new(STORM, 7), Sky::new(STORM, 7));
        for _ in 0..10_000 {
            assert_eq!(one.draw(), other.draw());
        }
        let fired = one.fired();
        for count in [fired.errors, fired.lost_requests, fired.lost_replies, fired.spent_keys, fired.duplicates] {
            assert!((600..1_200).contains(&count), "{fired:?}");
        }
    }

    #[test]
    fn nothing_goes_wrong_in_good_weather_and_everything_at_a_rate_of_one() {
        let good = Sky::new(Weather::default(), 1);
        assert!((0..1_000).all(|_| good.draw().spend == Spend::No));
        assert_eq!(good.fired(), Fired { requests: 1_000, ..Fired::default() });
        let down = Sky::new(Weather { error_rate: 1.0, ..Weather::default() }, 1);
        assert!((0..1_000).all(|_| down.draw().is_error));
    }

    #[test]
    fn a_rate_beyond_one_is_refused_by_its_name() {
        let wrong = Weather { spend_key_rate: 1.5, ..Weather::default() };
        assert_eq!(wrong.check().unwrap_err().to_string(), "spend_key_rate must be between 0 and 1");
        assert!(Weather { error_rate: f64::NAN, ..Weather::default() }.check().is_err());
        assert!(STORM.check().is_ok());
    }
}
