//! How a part of a state changes.

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::Actor;

use crate::cause::{DETAIL_LENGTH_MAX, cut};
use crate::state::{Attempt, Ending, Phase, Pursuit, RunningStep, UndoPhase};
use crate::{
    Compensating, Deadline, DefinitionRef, Ended, HoldTarget, Origin, Process, Running, Saga, SagaEvent, Shared,
    StepName,
};

/// For how long a saga stood still that goes on at `at`.
fn stood_still(since: Option<DateTime<Utc>>, at: DateTime<Utc>) -> TimeDelta {
    since.map_or(TimeDelta::zero(), |since| (at - since).max(TimeDelta::zero()))
}

/// What an operator who took a step's timer away is quoted with.
fn untimed(actor: &Actor, reason: &str) -> String {
    cut(format!("its timer was taken away by {}: {reason}", actor.as_str()), DETAIL_LENGTH_MAX)
}

pub(super) fn migrated<P: Process>(origin: &Origin<P>, definition: &DefinitionRef) -> Shared<Origin<P>> {
    let (definition, parent) = (definition.clone(), origin.parent.clone());
    Shared::from(Origin { definition, input: origin.input.clone(), parent })
}

impl<P: Process> Running<P> {
    /// What operators do to its time.
    pub(super) fn timed(&mut self, event: &SagaEvent<P>) {
        if let SagaEvent::Paused { at, .. } = event {
            self.paused = Some(*at);
        } else if let SagaEvent::Unpaused { at, .. } = event {
            let still = stood_still(self.paused.take(), *at);
            self.stand_still(still);
        } else if let SagaEvent::TimersFrozen { at, .. } = event {
            self.frozen = Some(*at);
        } else if let SagaEvent::TimersThawed { at, .. } = event {
            let still = stood_still(self.frozen.take(), *at);
            self.stand_still(still);
        } else if let SagaEvent::TimersShifted { step, by_ms, .. } = event {
            self.delay(step.as_ref(), TimeDelta::milliseconds(*by_ms));
        } else if let SagaEvent::TimerCancelled { step: None, .. } = event {
            self.deadline = None;
        } else if let SagaEvent::TimerCancelled { step: Some(step), actor, reason } = event
            && let Some(attempt) = self.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned()
        {
            self.put(step, Phase::Pursued(Pursuit::Parked { attempt, detail: untimed(actor, reason) }));
        }
    }

    pub(super) fn hold(&mut self, step: &StepName, hold: &HoldTarget, since: DateTime<Utc>) {
        let asked = self.step(step.as_str()).and_then(|step| step.phase.pursuit()).map(Pursuit::kept);
        let attempt = asked.unwrap_or_else(Attempt::unasked);
        self.put(step, Phase::Pursued(Pursuit::Held { attempt, under: hold.clone(), since, output: None }));
        self.held = self.held.or(Some(since));
    }

    pub(super) fn release(&mut self, step: &StepName, at: DateTime<Utc>) {
        if let Some(attempt) = self.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
            self.put(step, Phase::Pursued(Pursuit::released(attempt)));
            self.let_go(at);
        }
    }

    /// Time goes on that did not count.
    fn stand_still(&mut self, still: TimeDelta) {
        self.delay(None, still);
        self.held = self.held.map(|since| since.checked_add_signed(still).unwrap_or(since));
    }

    /// Moves what is due, of one step, or of all and the deadline.
    pub(super) fn delay(&mut self, only: Option<&StepName>, by: TimeDelta) {
        let wanted = self.steps.iter_mut().filter(|step| only.is_none_or(|only| *only == step.name));
        wanted.filter_map(|step| step.phase.pursuit_mut()).for_each(|sought| sought.delay(by));
        if only.is_none() {
            self.delay_deadline(by);
        }
    }

    fn delay_deadline(&mut self, by: TimeDelta) {
        let later = |deadline: Deadline| deadline.at.checked_add_signed(by).unwrap_or(deadline.at);
        self.deadline = self.deadline.map(|deadline| Deadline { at: later(deadline), ..deadline });
    }

    /// A step has left its hold. When it was the last, the deadline counts again.
    fn let_go(&mut self, at: DateTime<Utc>) {
        let is_held = self.steps.iter().any(|step| step.phase.pursuit().is_some_and(|sought| sought.held().is_some()));
        if !is_held {
            let still = stood_still(self.held.take(), at);
            self.delay_deadline(still);
        }
    }

    pub(super) fn pursue(
        &mut self,
        step: &StepName,
        number: u32,
        request: Option<&Shared<P::Request>>,
        deadline: DateTime<Utc>,
    ) {
        let forgiven = self.step(step.as_str()).and_then(|step| step.phase.pursuit()).map_or(0, Pursuit::forgiven);
        let attempt = Attempt { number, forgiven, request: request.cloned() };
        self.put(step, Phase::Pursued(Pursuit::Asked { attempt, deadline }));
    }

    pub(super) fn put(&mut self, name: &StepName, phase: Phase<P>) {
        // From the end: what happens next happens to the last step, most of the time.
        match self.steps.iter_mut().rfind(|step| step.name == *name) {
            Some(step) => step.phase = phase,
            None => self.steps.push(RunningStep { name: name.clone(), phase }),
        }
    }

    pub(super) fn ended(self, ending: Ending) -> Saga<P> {
        let steps = self.views();
        let outputs = match ending {
            Ending::Completed | Ending::Abandoned { .. } => self.outputs(),
            Ending::Compensated { .. } => Vec::new(),
        };
        let (origin, cancel, asked_by) = (self.origin, self.cancel, self.asked_by);
        Saga::Ended(Ended { origin, ending, steps, outputs, cancel, asked_by })
    }

    fn outputs(&self) -> Vec<(StepName, Shared<P::Output>)> {
        let reported = self.steps.iter().filter_map(|step| match &step.phase {
            Phase::Done { output: Some(output), .. } => Some((step.name.clone(), output.clone())),
            Phase::Done { output: None, .. } | Phase::Pursued(_) | Phase::Rejected { .. } | Phase::Skipped { .. } => {
                None
            }
        });
        reported.collect()
    }
}

impl<P: Process> Compensating<P> {
    /// What operators do to its time.
    pub(super) fn timed(&mut self, event: &SagaEvent<P>) {
        if let SagaEvent::Paused { at, .. } = event {
            self.paused = Some(*at);
        } else if let SagaEvent::Unpaused { at, .. } = event {
            let still = stood_still(self.paused.take(), *at);
            self.delay(None, still);
        } else if let SagaEvent::TimersFrozen { at, .. } = event {
            self.frozen = Some(*at);
        } else if let SagaEvent::TimersThawed { at, .. } = event {
            let still = stood_still(self.frozen.take(), *at);
            self.delay(None, still);
        } else if let SagaEvent::TimersShifted { step, by_ms, .. } = event {
            self.delay(step.as_ref(), TimeDelta::milliseconds(*by_ms));
        } else if let SagaEvent::TimerCancelled { step: Some(step), actor, reason } = event
            && let Some(attempt) = self.attempt(step)
        {
            self.put(step, UndoPhase::Undoing(Pursuit::Parked { attempt, detail: untimed(actor, reason) }));
        }
    }

    /// Moves what is due, of one step or of all.
    pub(super) fn delay(&mut self, only: Option<&StepName>, by: TimeDelta) {
        let wanted = self.steps.iter_mut().filter(|step| only.is_none_or(|only| *only == step.name));
        wanted.filter_map(|step| step.phase.pursuit_mut()).for_each(|sought| sought.delay(by));
    }

    pub(super) fn hold(&mut self, step: &StepName, hold: &HoldTarget, since: DateTime<Utc>) {
        let (attempt, output) = match self.step(step.as_str()).map(|step| &step.phase) {
            Some(UndoPhase::Owed { output, .. }) => (Attempt::unasked(), output.clone()),
            Some(UndoPhase::Undoing(sought)) => (sought.kept(), None),
            Some(
                UndoPhase::NotDone { .. } | UndoPhase::LeftOut | UndoPhase::Undone { .. } | UndoPhase::Skipped { .. },
            )
            | None => return,
        };
        let under = hold.clone();
        self.put(step, UndoPhase::Undoing(Pursuit::Held { attempt, under, since, output }));
    }

    /// What was not asked for before is owed again, and asked for like everything that is.
    pub(super) fn release(&mut self, step: &StepName) {
        let phase = match self.step(step.as_str()).map(|step| &step.phase) {
            Some(UndoPhase::Undoing(Pursuit::Held { attempt, output, .. })) if attempt.number == 0 => {
                UndoPhase::Owed { attempts: 1, output: output.clone() }
            }
            Some(UndoPhase::Undoing(sought)) => UndoPhase::Undoing(Pursuit::released(sought.attempt().clone())),
            Some(
                UndoPhase::NotDone { .. }
                | UndoPhase::LeftOut
                | UndoPhase::Owed { .. }
                | UndoPhase::Undone { .. }
                | UndoPhase::Skipped { .. },
            )
            | None => return,
        };
        self.put(step, phase);
    }

    pub(super) fn put(&mut self, name: &StepName, phase: UndoPhase<P>) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == *name) {
            step.phase = phase;
        }
    }

    pub(super) fn attempt(&self, name: &StepName) -> Option<Attempt<P>> {
        Some(self.step(name.as_str())?.phase.pursuit()?.attempt().clone())
    }

    pub(super) fn request(
        &mut self,
        step: &StepName,
        number: u32,
        request: Option<&Shared<P::Request>>,
        deadline: DateTime<Utc>,
    ) {
        let forgiven = self.step(step.as_str()).and_then(|step| step.phase.pursuit()).map_or(0, Pursuit::forgiven);
        let attempt = Attempt { number, forgiven, request: request.cloned() };
        self.put(step, UndoPhase::Undoing(Pursuit::Asked { attempt, deadline }));
    }

    pub(super) fn ended(self, ending: Ending) -> Saga<P> {
        let steps = self.views();
        let outputs = match ending {
            Ending::Abandoned { .. } => self.outputs(),
            Ending::Completed | Ending::Compensated { .. } => Vec::new(),
        };
        Saga::Ended(Ended { origin: self.origin, ending, steps, outputs, cancel: None, asked_by: self.asked_by })
    }

    fn outputs(&self) -> Vec<(StepName, Shared<P::Output>)> {
        let reported = self.steps.iter().filter_map(|step| match &step.phase {
            UndoPhase::Owed { output, .. } | UndoPhase::Undoing(Pursuit::Held { output, .. }) => {
                Some((step.name.clone(), output.clone()?))
            }
            UndoPhase::NotDone { .. }
            | UndoPhase::LeftOut
            | UndoPhase::Undoing(_)
            | UndoPhase::Undone { .. }
            | UndoPhase::Skipped { .. } => None,
        });
        reported.collect()
    }
}

impl<P: Process> Attempt<P> {
    /// Before the first asking.
    pub(super) fn unasked() -> Self {
        Self { number: 0, forgiven: 0, request: None }
    }
}

impl<P: Process> Pursuit<P> {
    pub(super) fn unknown(attempt: Attempt<P>, detail: &str, retry_at: Option<DateTime<Utc>>) -> Self {
        match retry_at {
            Some(retry_at) => Self::Waiting { attempt, retry_at },
            None => Self::Exhausted { attempt, detail: detail.to_owned() },
        }
    }

    /// About to be asked again, with a fresh policy.
    pub(super) fn retried(attempt: Attempt<P>) -> Self {
        let forgiven = attempt.number;
        Self::Waiting { attempt: Attempt { forgiven, ..attempt }, retry_at: DateTime::UNIX_EPOCH }
    }

    /// What was asked so far, as a hold keeps it.
    pub(super) fn kept(&self) -> Attempt<P> {
        Attempt { forgiven: self.forgiven(), ..self.attempt().clone() }
    }

    /// About to be asked again, or for the first time: what the hold delayed costs no attempt.
    pub(super) fn released(attempt: Attempt<P>) -> Self {
        let forgiven = if attempt.number == 0 { 0 } else { attempt.forgiven.saturating_add(1) };
        Self::Waiting { attempt: Attempt { forgiven, ..attempt }, retry_at: DateTime::UNIX_EPOCH }
    }

    /// Moves what is due by `still`: the saga stood still for so long.
    pub(super) fn delay(&mut self, still: TimeDelta) {
        match self {
            Self::Asked { deadline: due, .. } | Self::Waiting { retry_at: due, .. } => {
                *due = due.checked_add_signed(still).unwrap_or(*due);
            }
            Self::Exhausted { .. } | Self::Parked { .. } | Self::Held { .. } => {}
        }
    }

    /// What the next attempt is forgiven: whoever tries a parked step again starts a new count.
    pub(super) fn forgiven(&self) -> u32 {
        match self {
            Self::Parked { attempt, .. } => attempt.number,
            Self::Asked { attempt, .. }
            | Self::Waiting { attempt, .. }
            | Self::Exhausted { attempt, .. }
            | Self::Held { attempt, .. } => attempt.forgiven,
        }
    }
}
