//! The production rules, and where a bug can be planted around them. Without a plant they are what they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventstore::worker::Handler;
use eventstore::{Need, Unit};
use orders::domain::{Order, Placed, Stage};
use orders::handler::{HandleError as OrdersError, Input as OrdersInput, OrdersHandler, place_saga_id};
use orders::sagas::{CAPTURE_PAYMENT, COMMIT_INVENTORY, OrderProcess, RESERVE_INVENTORY};
use products::domain::{Product, ProductEvent, Request, Reservation, ReservationEvent, Wish};
use products::handler::{
    HandleError as ProductsError, Input as ProductsInput, Output as ProductsOutput, ProductsHandler,
};
use saga::{
    CompensationCause, Input as SagaInput, Lane, Library, Outcome, Rejection, Saga, SagaEvent, StepPhase, UndoOutcome,
    Until, pending,
};
use uuid::Uuid;

use super::orders::Answer;
use super::plants::Plant;
use super::stillness;

/// The rules of orders.
pub struct OrdersRules {
    /// As they are at first.
    pub released: OrdersHandler,
    /// As they are when a new version is out; `None` where none comes.
    pub upgraded: Option<OrdersHandler>,
    /// Whether it is.
    pub is_upgraded: AtomicBool,
    /// Every definition there is, for bugs that decide on their own.
    pub every: Arc<Library<OrderProcess>>,
    /// The bug around them.
    pub plant: Option<Plant>,
}

impl Handler for OrdersRules {
    type Input = OrdersInput;
    type Output = <OrdersHandler as Handler>::Output;
    type Error = OrdersError;

    fn handle(&self, unit: &mut Unit<'_>, input: &OrdersInput) -> Answer {
        match (self.plant, input) {
            // What is planted is planted behind the check.
            (Some(_), OrdersInput::Answer { saga_id, answer }) => {
                answer.check(*saga_id, unit.get::<Saga<OrderProcess>>(*saga_id)?)?;
                self.handle(unit, &OrdersInput::Saga { saga_id: *saga_id, input: answer.input() })
            }
            (Some(Plant::WakeIgnored), OrdersInput::Wake { .. }) => Ok(None),
            (Some(Plant::TimeoutIsNo), OrdersInput::Wake { saga_id }) => self.timeout_is_no(unit, *saga_id),
            (Some(Plant::CancelPastPivot), OrdersInput::Cancel { order_id, .. }) => {
                if self.turn_past_pivot(unit, *order_id)? {
                    return Ok(None);
                }
                self.rules().handle(unit, input)
            }
            (
                Some(Plant::RefusalTakenForYes),
                OrdersInput::Saga { saga_id, input: SagaInput::Reply { step, outcome } },
            ) if *step == *RESERVE_INVENTORY && matches!(outcome, Outcome::Rejected(_)) => {
                let input = SagaInput::Reply { step: step.clone(), outcome: Outcome::Done(None) };
                self.rules().handle(unit, &OrdersInput::Saga { saga_id: *saga_id, input })
            }
            (Some(Plant::UndoTakenForDone), OrdersInput::Saga { saga_id, .. } | OrdersInput::Wake { saga_id }) => {
                let answer = self.rules().handle(unit, input)?;
                self.take_undo_for_done(unit, *saga_id)?;
                Ok(answer)
            }
            (Some(Plant::CompletedEarly), OrdersInput::Saga { saga_id, .. }) => {
                let answer = self.rules().handle(unit, input)?;
                complete_early(unit, *saga_id)?;
                Ok(answer)
            }
            (Some(Plant::GoesOnAfterItsEnd), OrdersInput::Saga { saga_id, input: SagaInput::Reply { step, .. } }) => {
                let over = unit.get::<Saga<OrderProcess>>(*saga_id)?.is_ended();
                if over {
                    let event = SagaEvent::StepSucceeded { step: step.clone(), output: None };
                    unit.record::<Saga<OrderProcess>>(*saga_id, &[event])?;
                }
                self.rules().handle(unit, input)
            }
            (Some(Plant::ReleaseUnheard), OrdersInput::Saga { input: SagaInput::Release { .. }, .. }) => Ok(None),
            (Some(Plant::GoesOnWhilePaused), OrdersInput::Saga { saga_id, input: SagaInput::Reply { .. } }) => {
                let answer = self.rules().handle(unit, input)?;
                stillness::goes_on_while_paused(unit, &self.every, *saga_id)?;
                Ok(answer)
            }
            (Some(Plant::HoldPassed), OrdersInput::Wake { saga_id }) => {
                let answer = self.rules().handle(unit, input)?;
                stillness::passes_its_hold(unit, &self.every, *saga_id)?;
                Ok(answer)
            }
            (Some(Plant::FrozenTimePasses), OrdersInput::Wake { saga_id }) => {
                let late = stillness::late_while_frozen(unit, *saga_id)?;
                let late = late.map(|input| OrdersInput::Saga { saga_id: *saga_id, input });
                self.rules().handle(unit, late.as_ref().unwrap_or(input))
            }
            (Some(_) | None, _) => self.rules().handle(unit, input),
        }
    }
}

impl OrdersRules {
    /// From now on the new version is out.
    pub fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    fn rules(&self) -> &OrdersHandler {
        self.upgraded.as_ref().filter(|_| self.is_upgraded.load(Ordering::Relaxed)).unwrap_or(&self.released)
    }

    fn timeout_is_no(&self, unit: &mut Unit<'_>, saga_id: Uuid) -> Answer {
        let now = unit.now();
        let wanted = pending(unit.get::<Saga<OrderProcess>>(saga_id)?).wanted;
        let late = wanted.into_iter().find(|wanted| match wanted.until {
            Until::Deadline(due) => wanted.lane == Lane::Forward && due <= now,
            Until::Retry(_) | Until::Operator | Until::Release => false,
        });
        let input = match late {
            Some(wanted) => {
                let outcome = Outcome::Rejected(Rejection::new("NO_ANSWER", "no answer in time"));
                OrdersInput::Saga { saga_id, input: SagaInput::Reply { step: wanted.step, outcome } }
            }
            None => OrdersInput::Wake { saga_id },
        };
        self.rules().handle(unit, &input)
    }

    fn take_undo_for_done(&self, unit: &mut Unit<'_>, saga_id: Uuid) -> Result<(), OrdersError> {
        let wanted = pending(unit.get::<Saga<OrderProcess>>(saga_id)?).wanted;
        for wanted in wanted.into_iter().filter(|wanted| wanted.lane == Lane::Undo) {
            let input = SagaInput::UndoReply { step: wanted.step, outcome: UndoOutcome::Done };
            self.rules().handle(unit, &OrdersInput::Saga { saga_id, input })?;
        }
        Ok(())
    }

    fn turn_past_pivot(&self, unit: &mut Unit<'_>, order_id: Uuid) -> Result<bool, Need> {
        let Order::Placed(Placed { stage: Stage::Confirmed, .. }) = unit.get::<Order>(order_id)? else {
            return Ok(false);
        };
        let saga_id = place_saga_id(order_id);
        let turns = matches!(unit.get::<Saga<OrderProcess>>(saga_id)?, Saga::Running(_));
        if turns {
            let actor = unit.cause().actor.clone();
            let cause = CompensationCause::Cancelled { reason: "too late".to_owned(), actor };
            unit.record::<Saga<OrderProcess>>(saga_id, &[SagaEvent::CompensationStarted { cause }])?;
        }
        Ok(turns)
    }
}

fn complete_early(unit: &mut Unit<'_>, saga_id: Uuid) -> Result<(), Need> {
    let saga = unit.get::<Saga<OrderProcess>>(saga_id)?;
    let phase = |name: &str| saga.steps().into_iter().find(|step| step.name == *name).map(|step| step.phase);
    let captured = phase(CAPTURE_PAYMENT) == Some(StepPhase::Done);
    if matches!(saga, Saga::Running(_)) && captured && phase(COMMIT_INVENTORY) != Some(StepPhase::Done) {
        unit.record::<Saga<OrderProcess>>(saga_id, &[SagaEvent::Completed])?;
    }
    Ok(())
}

/// The rules of products.
pub struct ProductsRules {
    /// As they are.
    pub rules: ProductsHandler,
    /// The bug around them.
    pub plant: Option<Plant>,
}

impl Handler for ProductsRules {
    type Input = ProductsInput;
    type Output = ProductsOutput;
    type Error = ProductsError;

    fn handle(&self, unit: &mut Unit<'_>, input: &ProductsInput) -> Result<ProductsOutput, ProductsError> {
        let (Some(plant), ProductsInput::Reservation(request)) = (self.plant, input) else {
            return self.rules.handle(unit, input);
        };
        let id = request.reservation_id;
        match (plant, &request.wish) {
            (Plant::NoBarrier, Wish::Release) if *unit.get::<Reservation>(id)? == Reservation::Absent => {
                Ok(ProductsOutput::Repeat(released(request)))
            }
            (Plant::ReleaseWithoutEffect, Wish::Release) => match unit.get::<Reservation>(id)? {
                Reservation::Reserved { .. } => {
                    unit.record::<Reservation>(id, &[released(request)])?;
                    Ok(ProductsOutput::Answered)
                }
                Reservation::Absent
                | Reservation::Rejected { .. }
                | Reservation::Released { .. }
                | Reservation::ReleasedBefore { .. }
                | Reservation::Committed { .. }
                | Reservation::Restocked { .. } => self.rules.handle(unit, input),
            },
            (Plant::ReleasedTwice, Wish::Release) => {
                if let Reservation::Released { lines, .. } = unit.get::<Reservation>(id)?.clone() {
                    for line in lines.iter() {
                        unit.get::<Product>(line.product_id)?;
                        let event = ProductEvent::StockReleased { reservation_id: id, quantity: line.quantity };
                        unit.record::<Product>(line.product_id, &[event])?;
                    }
                }
                self.rules.handle(unit, input)
            }
            (Plant::Oversell, Wish::Reserve(lines)) => {
                let answer = self.rules.handle(unit, input)?;
                let (saga_id, order_id) = (request.saga_id, request.order_id);
                if matches!(unit.get::<Reservation>(id)?, Reservation::Rejected { .. }) {
                    for line in lines.iter() {
                        let event = ProductEvent::StockReserved { reservation_id: id, quantity: line.quantity };
                        unit.record::<Product>(line.product_id, &[event])?;
                    }
                    let lines = lines.clone();
                    let held = ReservationEvent::InventoryReserved { saga_id, order_id, lines };
                    unit.record::<Reservation>(id, &[held])?;
                }
                Ok(answer)
            }
            (_, Wish::Reserve(_) | Wish::Release | Wish::Commit | Wish::Restock) => self.rules.handle(unit, input),
        }
    }
}

fn released(request: &Request) -> ReservationEvent {
    ReservationEvent::InventoryReleased { saga_id: request.saga_id, order_id: request.order_id }
}
