//! The fold. Total: an event that cannot follow on a state leaves it as it is, so a damaged history stops a saga
//! instead of the program.

use chrono::{DateTime, TimeDelta, Utc};

use crate::state::{Attempt, CompensatingStep, Ending, Phase, Pursuit, RunningStep, UndoPhase};
use crate::{
    Compensating, CompensationCause, Deadline, Ended, Lane, Origin, Process, Running, Saga, SagaEvent, Shared, StepName,
};

pub(crate) fn evolve<P: Process>(saga: Saga<P>, event: &SagaEvent<P>) -> Saga<P> {
    match saga {
        Saga::NotStarted => not_started(event),
        Saga::Running(state) => running(state, event),
        Saga::Compensating(state) => compensating(state, event),
        Saga::Ended(state) => Saga::Ended(state),
    }
}

fn not_started<P: Process>(event: &SagaEvent<P>) -> Saga<P> {
    match event {
        SagaEvent::Started { definition, input, deadline } => Saga::Running(Running {
            origin: Shared::from(Origin { definition: definition.clone(), input: input.clone() }),
            deadline: *deadline,
            paused: None,
            steps: Vec::new(),
        }),
        SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { .. }
        | SagaEvent::StepRetried { .. }
        | SagaEvent::StepSucceeded { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::CompensationSucceeded { .. }
        | SagaEvent::CompensationFailed { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::Abandoned { .. }
        | SagaEvent::Completed
        | SagaEvent::Compensated { .. } => Saga::NotStarted,
    }
}

fn running<P: Process>(mut state: Running<P>, event: &SagaEvent<P>) -> Saga<P> {
    match event {
        SagaEvent::StepRequested { step, attempt, request, deadline } => {
            state.pursue(step, *attempt, Some(request), *deadline);
        }
        SagaEvent::StepAwaited { step, attempt, deadline } => state.pursue(step, *attempt, None, *deadline),
        SagaEvent::StepSkipped { step, lane: Lane::Forward, by_hand: _ } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, Phase::Skipped { attempts });
        }
        SagaEvent::StepRetried { step, lane: Lane::Forward, .. } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Pursued(Pursuit::retried(attempt)));
            }
        }
        SagaEvent::Paused { at, .. } => state.paused = Some(*at),
        SagaEvent::Unpaused { at, .. } => {
            let still = stood_still(state.paused.take(), *at);
            state.deadline = state.deadline.map(|deadline| Deadline { at: deadline.at + still, ..deadline });
            state.steps.iter_mut().filter_map(|step| step.phase.pursuit_mut()).for_each(|sought| sought.delay(still));
        }
        SagaEvent::StepSucceeded { step, output } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, Phase::Done { attempts, output: output.clone() });
        }
        SagaEvent::StepRejected { step, reason } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Rejected { attempt, reason: reason.clone() });
            }
        }
        SagaEvent::StepUnknown { step, attempt: _, detail, retry_at } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Pursued(Pursuit::unknown(attempt, detail, *retry_at)));
            }
        }
        SagaEvent::Parked { step, lane: Lane::Forward, detail } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Pursued(Pursuit::Parked { attempt, detail: detail.clone() }));
            }
        }
        SagaEvent::CompensationStarted { cause } => return Saga::Compensating(turned(state, cause)),
        SagaEvent::Completed => return state.ended(Ending::Completed),
        SagaEvent::Abandoned { actor, reason, owed } => {
            return state.ended(Ending::Abandoned { actor: actor.clone(), reason: reason.clone(), owed: owed.clone() });
        }
        SagaEvent::Started { .. }
        | SagaEvent::StepSkipped { lane: Lane::Undo, .. }
        | SagaEvent::StepRetried { lane: Lane::Undo, .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::CompensationSucceeded { .. }
        | SagaEvent::CompensationFailed { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { lane: Lane::Undo, .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Compensated { .. } => {}
    }
    Saga::Running(state)
}

/// What is done or unknown is owed; only what was definitely refused, or never asked for, is not.
fn turned<P: Process>(state: Running<P>, cause: &CompensationCause) -> Compensating<P> {
    let steps = state.steps.into_iter().map(|step| {
        let attempts = step.phase.attempts();
        let phase = match step.phase {
            Phase::Pursued(_) => UndoPhase::Owed { attempts, output: None },
            Phase::Done { output, .. } => UndoPhase::Owed { attempts, output },
            Phase::Rejected { .. } | Phase::Skipped { attempts: 0 } => UndoPhase::NotDone { attempts },
            // Seen to by hand, after it was asked for: it may be done.
            Phase::Skipped { .. } => UndoPhase::Owed { attempts, output: None },
        };
        CompensatingStep { name: step.name, phase }
    });
    Compensating { origin: state.origin, cause: cause.clone(), paused: state.paused, steps: steps.collect() }
}

fn compensating<P: Process>(mut state: Compensating<P>, event: &SagaEvent<P>) -> Saga<P> {
    match event {
        SagaEvent::CompensationRequested { step, attempt, request, deadline } => {
            state.request(step, *attempt, request, *deadline);
        }
        SagaEvent::StepSkipped { step, lane: Lane::Undo, by_hand: _ } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, UndoPhase::Skipped { attempts });
        }
        SagaEvent::StepRetried { step, lane: Lane::Undo, .. } => {
            if let Some(attempt) = state.attempt(step) {
                state.put(step, UndoPhase::Undoing(Pursuit::retried(attempt)));
            }
        }
        SagaEvent::Paused { at, .. } => state.paused = Some(*at),
        SagaEvent::Unpaused { at, .. } => {
            let still = stood_still(state.paused.take(), *at);
            state.steps.iter_mut().filter_map(|step| step.phase.pursuit_mut()).for_each(|sought| sought.delay(still));
        }
        SagaEvent::CompensationSucceeded { step } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, UndoPhase::Undone { attempts });
        }
        SagaEvent::CompensationFailed { step, attempt: _, detail, retry_at } => {
            if let Some(attempt) = state.attempt(step) {
                state.put(step, UndoPhase::Undoing(Pursuit::unknown(attempt, detail, *retry_at)));
            }
        }
        SagaEvent::Parked { step, lane: Lane::Undo, detail } => {
            if let Some(attempt) = state.attempt(step) {
                state.put(step, UndoPhase::Undoing(Pursuit::Parked { attempt, detail: detail.clone() }));
            }
        }
        SagaEvent::Compensated { cause } => return state.ended(Ending::Compensated { cause: cause.clone() }),
        SagaEvent::Abandoned { actor, reason, owed } => {
            return state.ended(Ending::Abandoned { actor: actor.clone(), reason: reason.clone(), owed: owed.clone() });
        }
        SagaEvent::Started { .. }
        | SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { lane: Lane::Forward, .. }
        | SagaEvent::StepRetried { lane: Lane::Forward, .. }
        | SagaEvent::StepSucceeded { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { lane: Lane::Forward, .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Completed => {}
    }
    Saga::Compensating(state)
}

/// For how long a saga stood still that goes on at `at`.
fn stood_still(since: Option<DateTime<Utc>>, at: DateTime<Utc>) -> TimeDelta {
    since.map_or(TimeDelta::zero(), |since| (at - since).max(TimeDelta::zero()))
}

impl<P: Process> Running<P> {
    fn pursue(&mut self, step: &StepName, number: u32, request: Option<&Shared<P::Request>>, deadline: DateTime<Utc>) {
        let forgiven = self.step(step.as_str()).and_then(|step| step.phase.pursuit()).map_or(0, Pursuit::forgiven);
        let attempt = Attempt { number, forgiven, request: request.cloned() };
        self.put(step, Phase::Pursued(Pursuit::Asked { attempt, deadline }));
    }

    fn put(&mut self, name: &StepName, phase: Phase<P>) {
        // From the end: what happens next happens to the last step, most of the time.
        match self.steps.iter_mut().rfind(|step| step.name == *name) {
            Some(step) => step.phase = phase,
            None => self.steps.push(RunningStep { name: name.clone(), phase }),
        }
    }

    fn ended(self, ending: Ending) -> Saga<P> {
        let steps = self.views();
        Saga::Ended(Ended { origin: self.origin, ending, steps })
    }
}

impl<P: Process> Compensating<P> {
    fn put(&mut self, name: &StepName, phase: UndoPhase<P>) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == *name) {
            step.phase = phase;
        }
    }

    fn attempt(&self, name: &StepName) -> Option<Attempt<P>> {
        Some(self.step(name.as_str())?.phase.pursuit()?.attempt().clone())
    }

    fn request(&mut self, step: &StepName, number: u32, request: &Shared<P::Request>, deadline: DateTime<Utc>) {
        let forgiven = self.step(step.as_str()).and_then(|step| step.phase.pursuit()).map_or(0, Pursuit::forgiven);
        let attempt = Attempt { number, forgiven, request: Some(request.clone()) };
        self.put(step, UndoPhase::Undoing(Pursuit::Asked { attempt, deadline }));
    }

    fn ended(self, ending: Ending) -> Saga<P> {
        let steps = self.views();
        Saga::Ended(Ended { origin: self.origin, ending, steps })
    }
}

impl<P: Process> Pursuit<P> {
    fn unknown(attempt: Attempt<P>, detail: &str, retry_at: Option<DateTime<Utc>>) -> Self {
        match retry_at {
            Some(retry_at) => Self::Waiting { attempt, retry_at },
            None => Self::Exhausted { attempt, detail: detail.to_owned() },
        }
    }

    /// About to be asked again, with a fresh policy.
    fn retried(attempt: Attempt<P>) -> Self {
        let forgiven = attempt.number;
        Self::Waiting { attempt: Attempt { forgiven, ..attempt }, retry_at: DateTime::UNIX_EPOCH }
    }

    /// Moves what is due by `still`: the saga stood still for so long.
    fn delay(&mut self, still: TimeDelta) {
        match self {
            Self::Asked { deadline: due, .. } | Self::Waiting { retry_at: due, .. } => {
                *due = due.checked_add_signed(still).unwrap_or(*due);
            }
            Self::Exhausted { .. } | Self::Parked { .. } => {}
        }
    }

    /// What the next attempt is forgiven: whoever tries a parked step again starts a new count.
    fn forgiven(&self) -> u32 {
        match self {
            Self::Parked { attempt, .. } => attempt.number,
            Self::Asked { attempt, .. } | Self::Waiting { attempt, .. } | Self::Exhausted { attempt, .. } => {
                attempt.forgiven
            }
        }
    }
}
