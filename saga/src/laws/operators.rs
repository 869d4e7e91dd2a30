//! What operators may do.

use chrono::{DateTime, TimeDelta, Utc};

use super::run::{Run, Sample, plans};
use super::undo::undone_in_reverse;
use super::{absorbed, is_early, kind};
use crate::pending::{pending, timers};
use crate::testing::{paused, tester, unpaused};
use crate::{Input, Kind, Lane, Process, Refusal, Status};

/// Paused at any point, nothing is asked for and nothing becomes due, answers are kept, and when it goes on an hour
/// later, it ends as it would have ended.
///
/// # Panics
/// It does not.
pub fn a_pause_costs_nothing_but_time<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        let status = run.clone().finish();
        loop {
            let mut still = run.clone();
            if !still.world.saga().is_ended() && is_early(&run) {
                let before = dues(&still);
                still.say(paused());
                assert_eq!(still.world.saga().next_wake(), None, "{}", still.told());
                still.world.now += chrono::TimeDelta::hours(1);
                absorbed(&mut still, Input::Wake);
                still.say(unpaused());
                had_all_their_time(&before, &still);
                assert_eq!(still.finish(), status, "after a pause: {}", still.told());
                undone_in_reverse(&still);
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// Whatever waits for an answer, in either lane, can be skipped by an operator, but for a pivot; the saga then goes on
/// and ends, and what may be done is undone if it turns.
///
/// # Panics
/// It does not.
pub fn whatever_waits_can_be_seen_to_by_hand<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            let wanted = if is_early(&run) { pending(run.world.saga()).wanted } else { Vec::new() };
            for wanted in wanted {
                let mut by_hand = run.clone();
                let step = wanted.step.clone();
                let skipped = Input::Skip { step, reason: "by hand".to_owned(), actor: tester() };
                if kind(sample, &wanted.step) == Some(Kind::Pivot) && wanted.lane == Lane::Forward {
                    let refusal = by_hand.world.submit(skipped).err();
                    assert_eq!(refusal, Some(Refusal::PivotSkipped { step: wanted.step }), "{}", by_hand.told());
                } else {
                    by_hand.say(skipped);
                    by_hand.finish();
                    undone_in_reverse(&by_hand);
                }
            }
            if !run.turn() {
                break;
            }
        }
    }
}

fn dues<P: Process>(run: &Run<'_, P>) -> Vec<DateTime<Utc>> {
    timers(run.world.saga()).into_iter().map(|timer| timer.due).collect()
}

/// What was due before the hour is due an hour later.
fn had_all_their_time<P: Process>(before: &[DateTime<Utc>], run: &Run<'_, P>) {
    let moved: Vec<_> = before.iter().map(|due| *due + TimeDelta::hours(1)).collect();
    assert_eq!(dues(run), moved, "time that did not count was counted: {}", run.told());
}

/// With its timers frozen at any point nothing becomes due, answers count, and when time counts again an hour later, it
/// ends as it would have ended.
///
/// # Panics
/// It does not.
pub fn a_frozen_clock_costs_nothing_but_time<P: Process>(sample: &Sample<'_, P>) {
    let (reason, actor) = (|| "an outage".to_owned(), tester);
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        let status = run.clone().finish();
        loop {
            let mut still = run.clone();
            if !still.world.saga().is_ended() && is_early(&run) {
                let before = dues(&still);
                still.say(Input::FreezeTimers { reason: reason(), actor: actor() });
                assert_eq!(still.world.saga().next_wake(), None, "{}", still.told());
                still.world.now += TimeDelta::hours(1);
                absorbed(&mut still, Input::Wake);
                still.say(Input::ThawTimers { reason: reason(), actor: actor() });
                had_all_their_time(&before, &still);
                assert_eq!(still.finish(), status, "after time stood still: {}", still.told());
                undone_in_reverse(&still);
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// Moved at any point, by an hour in either direction, timers are due then and not before, and the saga ends.
///
/// # Panics
/// It does not.
pub fn moved_timers_change_nothing_but_time<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            for hours in [1, -1] {
                let mut moved = run.clone();
                let before = dues(&moved);
                if before.is_empty() || !is_early(&run) {
                    continue;
                }
                let by = TimeDelta::hours(hours);
                moved.say(Input::ShiftTimers { step: None, by, reason: "moved".to_owned(), actor: tester() });
                let after = dues(&moved);
                assert_eq!(after, before.iter().map(|due| *due + by).collect::<Vec<_>>(), "{}", moved.told());
                moved.finish();
                undone_in_reverse(&moved);
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// A step whose timer was taken away is parked: its answer counts, and otherwise somebody resumes it.
///
/// # Panics
/// It is not.
pub fn a_step_without_a_timer_waits_for_somebody<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            let timed = timers(run.world.saga()).into_iter().filter_map(|timer| timer.step);
            for (step, _) in timed.take(if is_early(&run) { 2 } else { 0 }) {
                let mut untimed = run.clone();
                let (reason, actor) = ("let me see".to_owned(), tester());
                untimed.say(Input::CancelTimer { step: Some(step), reason, actor });
                assert_eq!(untimed.world.saga().status(), Status::Parked, "{}", untimed.told());
                untimed.finish();
                undone_in_reverse(&untimed);
            }
            if !run.turn() {
                break;
            }
        }
    }
}
