//! What a replica does with what has come in.

use std::rc::Rc;
use std::time::Duration;

use chrono::TimeDelta;
use eventstore::worker::SubmitError;
use eventstore::{Cache, Recorded};

use crate::agenda::{Event, Place};
use crate::nature::Nature;
use crate::shell::{Met, Shell, Traces, Verdict};
use crate::station::{Job, Pending, Replica, Station};
use crate::{Bug, Fault, Follow, Message, Origin, Service, Task};

/// Rounds of one task, whatever happens.
const ROUNDS_MAX: u32 = 64;

impl<S: Service> Station<S> {
    /// A batch of what has come in is decided and committed.
    pub(crate) fn work(&mut self, nature: &mut Nature, number: usize) {
        let Some(mut mine) = self.replicas.get_mut(number).and_then(Option::take) else { return };
        mine.is_due = false;
        if !mine.is_up || mine.queue.is_empty() {
            return self.put_back(number, mine);
        }
        let taken = mine.queue.len().min(nature.knobs.batch_max);
        let mut batches = vec![mine.queue.drain(..taken).collect::<Vec<_>>()];
        let mut died = false;
        while let Some(mut batch) = batches.pop() {
            let verdict = self.commit(nature, number, &mut mine, &batch);
            match verdict {
                Verdict::Stored(outputs, events) => {
                    self.tell_others(nature, &events);
                    let met = batch.into_iter().zip(outputs);
                    died =
                        met.fold(false, |died, (job, met)| died || self.settle(nature, number, &mut mine, job, &met));
                }
                Verdict::Split => {
                    let second = batch.split_off(batch.len() / 2);
                    batches.extend([second, batch]);
                }
                Verdict::Unknown => batch.iter().filter_map(|job| job.delivery).for_each(|d| nature.give_back(d)),
                Verdict::Died => died = true,
            }
            if died {
                self.die(nature, number, &mut mine);
                break;
            }
        }
        if mine.is_up && !mine.queue.is_empty() && !mine.is_due {
            mine.is_due = true;
            nature.after(Duration::ZERO, Event::Work(Place { station: self.index, replica: number }));
        }
        self.put_back(number, mine);
    }

    fn put_back(&mut self, number: usize, replica: Replica<S>) {
        if let Some(place) = self.replicas.get_mut(number) {
            *place = Some(replica);
        }
    }

    fn commit(&mut self, nature: &mut Nature, number: usize, mine: &mut Replica<S>, batch: &[Job<S>]) -> Verdict<S> {
        if nature.strikes(Fault::ClockStep) {
            let off = nature.up_to(nature.knobs.clock_step_max);
            let off = TimeDelta::from_std(off).unwrap_or_default();
            mine.skew = if nature.chance.strikes(5_000) { off } else { -off };
            nature.tell(&mine.name, || format!("has a clock that is off by {} ms", mine.skew.num_milliseconds()));
        }
        mine.clock.set(nature.time() + mine.skew);
        let tasks: Vec<Task<S>> = batch.iter().map(|job| job.task.clone()).collect();
        let (rules, store, ids) = (Rc::clone(&self.rules), Rc::clone(&self.store), Rc::clone(&self.ids));
        let mut traces = Traces::default();
        let shell = Shell {
            name: &mine.name,
            store: &store,
            cache: &mut mine.cache,
            ids: &ids,
            clock: &mine.clock,
            traces: &mut traces,
        };
        let me = std::cell::RefCell::new(&mut *self);
        let verdict = shell.commit::<S>(
            nature,
            &rules,
            &tasks,
            &mut |nature| me.borrow_mut().overtake(nature, number),
            &mut |nature, events| {
                me.borrow_mut().publish(nature, events);
            },
        );
        self.look_after(&traces.grown);
        if let Some(due) = traces.due {
            mine.skew = TimeDelta::zero();
            self.expect_timer(nature, due);
        }
        verdict
    }

    /// Another replica that has something to do does it now.
    fn overtake(&mut self, nature: &mut Nature, than: usize) {
        let busy = |(number, replica): (usize, &Option<Replica<S>>)| {
            let replica = replica.as_ref()?;
            (number != than && replica.is_up && !replica.queue.is_empty()).then_some(number)
        };
        if let Some(other) = self.replicas.iter().enumerate().find_map(busy) {
            nature.tell("nature", || "lets another replica go first".to_owned());
            self.work(nature, other);
        }
    }

    fn tell_others(&mut self, nature: &mut Nature, events: &[Recorded]) {
        let Some(first) = events.first() else { return };
        if self.publish(nature, events) || nature.has(Bug::OutboxBeforeAck) {
            self.store.outbox_published_now(&[first.cursor.tx]);
        }
    }

    /// Does what follows on an input; true when the process dies of it.
    fn settle(
        &mut self,
        nature: &mut Nature,
        number: usize,
        mine: &mut Replica<S>,
        mut job: Job<S>,
        met: &Met<S>,
    ) -> bool {
        job.task.rounds += 1;
        let follow = match met {
            Err(SubmitError::Unavailable(_) | SubmitError::Stopping) => Follow::Later,
            Ok(_)
            | Err(
                SubmitError::Rejected(_) | SubmitError::Parked(_) | SubmitError::Unstorable(_) | SubmitError::Duplicate,
            ) => self.service.follow(&job.task, met.as_ref()),
        };
        self.go_on(nature, number, mine, job, follow)
    }

    fn go_on(
        &mut self,
        nature: &mut Nature,
        number: usize,
        mine: &mut Replica<S>,
        mut job: Job<S>,
        follow: Follow<S>,
    ) -> bool {
        match follow {
            Follow::Done => return self.done(nature, mine, &job),
            Follow::Say(message) => {
                self.repeat(nature, &message);
                return self.done(nature, mine, &job);
            }
            Follow::Again(input) if job.task.rounds < ROUNDS_MAX => {
                job.task.input = Rc::new(input);
                mine.queue.push_front(job);
            }
            Follow::Call(call) => self.begin_call(nature, number, mine, job, call),
            Follow::Again(_) | Follow::Later => {
                if let Some(delivery) = job.delivery {
                    nature.give_back(delivery);
                }
            }
            Follow::Park(reason) => {
                nature.accuse("nothing needs an operator", format!("{}: {reason}", mine.name));
                return self.done(nature, mine, &job);
            }
        }
        false
    }

    fn repeat(&mut self, nature: &mut Nature, message: &Message) {
        if !nature.has(Bug::AnsweredOnce) {
            nature.publish(self.service.name(), message);
        }
    }

    fn done(&mut self, nature: &mut Nature, mine: &Replica<S>, job: &Job<S>) -> bool {
        if let Origin::Command(number) = job.task.origin {
            self.commands_done.insert(number);
        }
        let Some(delivery) = job.delivery else { return false };
        if nature.strikes(Fault::CrashBeforeAck) {
            nature.tell(&mine.name, || "dies before it acknowledges".to_owned());
            return true;
        }
        nature.acknowledge(delivery);
        false
    }

    /// The process is gone, and all that it had in memory.
    fn die(&mut self, nature: &mut Nature, number: usize, mine: &mut Replica<S>) {
        mine.is_up = false;
        mine.queue.clear();
        mine.cache = Cache::new(nature.knobs.cached_streams);
        mine.skew = TimeDelta::zero();
        // What is on its way arrives all the same; nobody waits for the answer.
        for (id, pending) in std::mem::take(&mut mine.calls) {
            if !pending.lost && pending.answer.is_none() {
                self.strays.insert(id, pending.call);
            }
        }
        let away = nature.up_to(nature.knobs.restart_max);
        nature.after(away, Event::Restart(Place { station: self.index, replica: number }));
    }

    pub(crate) fn restart(&mut self, nature: &mut Nature, number: usize) {
        let Some(replica) = self.replica(number) else { return };
        replica.is_up = true;
        replica.is_due = false;
        nature.tell(&replica.name, || "is back".to_owned());
    }

    fn begin_call(&mut self, nature: &mut Nature, number: usize, mine: &mut Replica<S>, job: Job<S>, call: S::Call) {
        self.calls_made += 1;
        let id = self.calls_made;
        let place = Place { station: self.index, replica: number };
        let timeout = nature.knobs.call_timeout;
        let lost = nature.strikes(Fault::CallLost);
        let unheard = nature.strikes(Fault::CallAnswerLost);
        let mut way = nature.up_to(nature.knobs.call_max);
        if nature.strikes(Fault::CallLate) {
            way += timeout + nature.up_to(Duration::from_secs(30));
        }
        nature.tell(&mine.name, || format!("calls {call:?}"));
        if !lost {
            nature.after(way, Event::CallArrives { place, call: id });
        }
        let ends = if lost || unheard { timeout } else { (way * 2).min(timeout) };
        mine.calls.insert(id, Pending { job, call, answer: None, lost: lost || unheard });
        nature.after(ends, Event::CallEnds { place, call: id });
    }

    pub(crate) fn call_arrives(&mut self, nature: &mut Nature, number: usize, id: u64) {
        let known = self.replica(number).and_then(|replica| Some(replica.calls.get(&id)?.call.clone()));
        let Some(call) = known.or_else(|| self.strays.remove(&id)) else { return };
        let answer = self.service.call(&call);
        nature.tell("outside", || format!("is asked {call:?}: {answer:?}"));
        if let Some(pending) = self.replica(number).and_then(|replica| replica.calls.get_mut(&id)) {
            pending.answer = Some(answer);
        }
    }

    pub(crate) fn call_ends(&mut self, nature: &mut Nature, number: usize, id: u64) {
        let Some(mut mine) = self.replicas.get_mut(number).and_then(Option::take) else { return };
        if let Some(Pending { mut job, call, answer, lost }) = mine.calls.remove(&id) {
            let answer = answer.filter(|_| !lost);
            if answer.is_none() {
                job.task.unanswered += 1;
                // It may still be on its way.
                self.strays.insert(id, call.clone());
            }
            let follow = self.service.answered(&job.task, &call, answer.as_ref());
            if self.go_on(nature, number, &mut mine, job, follow) {
                self.die(nature, number, &mut mine);
            }
            if mine.is_up && !mine.queue.is_empty() && !mine.is_due {
                mine.is_due = true;
                nature.after(Duration::ZERO, Event::Work(Place { station: self.index, replica: number }));
            }
        }
        self.put_back(number, mine);
    }
}
