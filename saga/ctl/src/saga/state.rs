//! States as words, spelt as in the contract.

use farmera_proto::saga::v1::saga::State;
use farmera_proto::saga::v1::step_state::Phase;
use farmera_proto::saga::v1::timeline_entry::Lane;

use crate::output::paint::Tone;

/// A saga's state, as queries have it.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "-",
        State::Running => "RUNNING",
        State::Compensating => "COMPENSATING",
        State::Parked => "PARKED",
        State::Paused => "PAUSED",
        State::Completed => "COMPLETED",
        State::Compensated => "COMPENSATED",
        State::Abandoned => "ABANDONED",
    }
}

/// What it means to a person.
#[must_use]
pub fn state_tone(state: State) -> Tone {
    match state {
        State::Completed => Tone::Good,
        State::Parked | State::Abandoned => Tone::Bad,
        State::Compensating | State::Compensated | State::Paused => Tone::Uneasy,
        State::Unspecified | State::Running => Tone::Plain,
    }
}

/// True when nothing will happen to it any more.
#[must_use]
pub fn is_over(state: State) -> bool {
    match state {
        State::Completed | State::Compensated | State::Abandoned => true,
        State::Unspecified | State::Running | State::Compensating | State::Parked | State::Paused => false,
    }
}

/// A step with the way it is going: `undo reserve-inventory`.
#[must_use]
pub fn step_name(step: &str, lane: Lane) -> String {
    match lane {
        _ if step.is_empty() => "-".to_owned(),
        Lane::Undo => format!("undo {step}"),
        Lane::Forward | Lane::Unspecified => step.to_owned(),
    }
}

/// How far a step is, in the lane it is in: a word, what it means, and whether it is a word of the undo lane.
#[must_use]
pub fn phase_name(phase: Phase) -> (&'static str, Tone, Lane) {
    match phase {
        Phase::Unspecified => (".", Tone::Faint, Lane::Forward),
        Phase::Asked => ("> asked", Tone::Plain, Lane::Forward),
        Phase::Waiting => ("> retrying", Tone::Uneasy, Lane::Forward),
        Phase::Parked => ("PARKED", Tone::Bad, Lane::Forward),
        Phase::Held => ("held", Tone::Uneasy, Lane::Forward),
        Phase::UndoHeld => ("held", Tone::Uneasy, Lane::Undo),
        Phase::Rejected => ("REFUSED", Tone::Bad, Lane::Forward),
        Phase::Done => ("done", Tone::Good, Lane::Forward),
        Phase::Skipped => ("skipped", Tone::Uneasy, Lane::Forward),
        Phase::Owed => ("owed", Tone::Uneasy, Lane::Undo),
        Phase::UndoAsked => ("> asked", Tone::Plain, Lane::Undo),
        Phase::UndoWaiting => ("> retrying", Tone::Uneasy, Lane::Undo),
        Phase::UndoParked => ("PARKED", Tone::Bad, Lane::Undo),
        Phase::Undone => ("undone", Tone::Good, Lane::Undo),
        Phase::UndoSkipped => ("skipped", Tone::Uneasy, Lane::Undo),
    }
}
