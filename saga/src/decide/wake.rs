use chrono::{DateTime, Utc};

use super::{Decision, advance, hold, reply, undo};
use crate::state::{Attempt, Pursuit};
use crate::{Lane, Process, Saga, StepName};

/// Whatever is due happens. Waking a saga too early, too late or twice is harmless: what is due is told by its state.
pub(super) fn wake<P: Process>(decision: &mut Decision<'_, P>) {
    let now = decision.now;
    if decision.saga.is_paused() {
        return;
    }
    hold::leave_ended(decision);
    if decision.saga.is_frozen() {
        return;
    }
    match &decision.saga {
        Saga::NotStarted | Saga::Ended(_) => return,
        Saga::Running(state) => {
            let pursued = state.steps.iter().filter_map(|step| Some((&step.name, step.phase.pursuit()?)));
            for (step, due) in due(pursued, now) {
                match due {
                    // Who is held is not to blame for not answering.
                    Due::Answer(_) if decision.is_to_wait(&step, Lane::Forward) => {}
                    Due::Answer(attempt) => {
                        let event = reply::unknown(decision, &step, &attempt, no_answer());
                        decision.record(event);
                    }
                    Due::Retry(attempt) => decision.again(step, attempt),
                }
            }
        }
        Saga::Compensating(state) => {
            let pursued = state.steps.iter().filter_map(|step| Some((&step.name, step.phase.pursuit()?)));
            for (step, due) in due(pursued, now) {
                match due {
                    Due::Answer(_) if decision.is_to_wait(&step, Lane::Undo) => {}
                    Due::Answer(attempt) => {
                        let event = undo::failed(decision, &step, &attempt, no_answer());
                        decision.record(event);
                    }
                    Due::Retry(attempt) => decision.undo_again(step, attempt),
                }
            }
        }
    }
    advance::advance(decision);
}

enum Due<P: Process> {
    /// An answer was due and did not come.
    Answer(Attempt<P>),
    /// It is to be asked again.
    Retry(Attempt<P>),
}

fn due<'a, P: Process>(
    pursued: impl Iterator<Item = (&'a StepName, &'a Pursuit<P>)>,
    now: DateTime<Utc>,
) -> Vec<(StepName, Due<P>)> {
    let due = pursued.filter_map(|(step, pursuit)| {
        let due = match pursuit {
            Pursuit::Asked { attempt, deadline } if *deadline <= now => Due::Answer(attempt.clone()),
            Pursuit::Waiting { attempt, retry_at } if *retry_at <= now => Due::Retry(attempt.clone()),
            Pursuit::Asked { .. }
            | Pursuit::Waiting { .. }
            | Pursuit::Exhausted { .. }
            | Pursuit::Parked { .. }
            | Pursuit::Held { .. } => return None,
        };
        Some((step.clone(), due))
    });
    due.collect()
}

fn no_answer() -> String {
    NO_ANSWER.to_owned()
}

/// What is known of an attempt when its time ran out.
pub const NO_ANSWER: &str = "no answer in time";
