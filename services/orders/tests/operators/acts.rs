//! Plans say what would happen; operations make it happen, once, whatever happens to the process.

use std::sync::Arc;
use std::time::Duration;

use chassis::operations::Acts;
use chassis::operations::book::OperationBook;
use chassis::operations::letters::LetterActs;
use chassis::operations::operator::Operator;
use chassis::operations::plan_book::PlanBook;
use chassis::operations::runner::Runner;
use chassis::scan::LogScan;
use chassis::shutdown::{Shutdown, Trigger};
use eventstore::{Aggregate as _, Commit, DeadLetter, DeadLetters as _, EventStore as _, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService as _;
use orders::operations::hands::SagaActs;
use orders::operations::plan::Planner;
use orders::projections::held::HeldList;
use orders::sagas::{AUTHORIZE_PAYMENT, OrderProcess, RESERVE_INVENTORY};
use orders::status::DOMAIN;
use pb::act::Kind;
use pb::operation::State;
use saga::Saga;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::Market;

struct Desk {
    market: Market,
    operator: Operator,
    _trigger: Trigger,
}

/// What can be done in orders.
fn acts(market: &Market) -> Vec<Arc<dyn Acts>> {
    let planner = Planner {
        store: market.store.clone(),
        list: market.sagas(),
        library: Arc::clone(&market.library),
        holds: market.holds.clone(),
        held: HeldList::new(market.pool.clone()),
    };
    let scan = LogScan::new(Arc::clone(&market.store));
    let letters = LetterActs { store: market.store.clone(), letters: market.store.clone(), domain: DOMAIN };
    vec![Arc::new(SagaActs { planner, scan, worker: market.worker.clone() }), Arc::new(letters)]
}

impl Desk {
    async fn open(approval_above: u32) -> Self {
        let market = Market::open().await;
        let (trigger, shutdown) = Shutdown::new();
        let operator = Operator {
            service: "orders",
            domain: DOMAIN,
            acts: acts(&market),
            plans: PlanBook { pool: market.pool.clone(), domain: DOMAIN },
            operations: OperationBook::new(market.pool.clone(), "orders", DOMAIN),
            clock: Arc::clone(&market.clock),
            ids: Arc::clone(&market.ids),
            shutdown,
            approval_above,
        };
        Self { market, operator, _trigger: trigger }
    }

    /// A process that carries operations out, until it is dropped.
    fn process(&self) -> tokio::task::JoinHandle<()> {
        let runner = Runner::new(self.operator.operations.clone(), acts(&self.market));
        let (trigger, shutdown) = Shutdown::new();
        #[expect(clippy::disallowed_methods, reason = "the test ends it")]
        tokio::spawn(async move {
            let _never = trigger;
            runner.run(shutdown).await;
        })
    }

    async fn placed(&self, count: usize) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = self.market.place(1, 1_000).await;
            self.market.done(id, RESERVE_INVENTORY).await;
            ids.push(id);
        }
        ids
    }

    async fn plan(&self, who: &str, kind: Kind, selection: pb::Selection) -> Result<pb::Plan, Status> {
        let act = Some(pb::Act { kind: kind.into(), ..pb::Act::default() });
        let request =
            pb::CreatePlanRequest { act, selection: Some(selection), reason: "provider back, INC-204".to_owned() };
        let response = self.operator.create_plan(by(who, request)).await?;
        Ok(response.into_inner().plan.unwrap())
    }

    async fn plan_for(&self, who: &str, kind: Kind, ids: &[Uuid]) -> Result<pb::Plan, Status> {
        let saga_ids = ids.iter().map(ToString::to_string).collect();
        self.plan(who, kind, pb::Selection { saga_ids, ..pb::Selection::default() }).await
    }

    async fn apply(&self, who: &str, hash: &str) -> Result<pb::Operation, Status> {
        self.apply_with(who, pb::ApplyPlanRequest { hash: hash.to_owned(), rate: 500, ..Default::default() }).await
    }

    async fn apply_with(&self, who: &str, request: pb::ApplyPlanRequest) -> Result<pb::Operation, Status> {
        Ok(self.operator.apply_plan(by(who, request)).await?.into_inner().operation.unwrap())
    }

    /// The operation once it is over.
    async fn over(&self, id: &str) -> pb::Operation {
        let request = pb::WatchOperationRequest { operation_id: id.to_owned() };
        let mut watched = self.operator.watch_operation(by("ana", request)).await.unwrap().into_inner();
        let followed = async {
            let mut last = pb::Operation::default();
            while let Some(next) = futures::StreamExt::next(&mut watched).await {
                last = next.unwrap().operation.unwrap();
            }
            last
        };
        tokio::time::timeout(Duration::from_secs(60), followed).await.expect("the operation ends")
    }

    async fn history(&self, saga_id: Uuid) -> Vec<(String, String, String)> {
        let stream = [(Saga::<OrderProcess>::stream(saga_id), Version::NONE)];
        let events = self.market.store.read_streams(&stream, 1_000).await.unwrap();
        let told =
            events.into_iter().map(|event| (event.type_name, event.cause.actor.as_str().to_owned(), event.payload));
        told.collect()
    }
}

fn by<T>(who: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-farmera-actor", who.parse().unwrap());
    request
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_would_happen_and_changes_nothing() {
    let desk = Desk::open(100).await;
    let ids = desk.placed(3).await;
    desk.market.rejected(ids[2], AUTHORIZE_PAYMENT, "CARD_DECLINED").await;
    let before = desk.market.log("saga").await.len();
    let plan = desk.plan_for("ana", Kind::Cancel, &ids).await.unwrap();
    assert_eq!((plan.selected, plan.effective, plan.refused), (3, 2, 1));
    let group = &plan.groups[0];
    assert_eq!(
        group.events,
        ["CancelRequested", "CompensationStarted", "CompensationRequested authorize-payment"],
        "an authorization that may be done is undone first"
    );
    assert_eq!((group.requests.as_slice(), group.count), (&["VoidPayment (payment)".to_owned()][..], 2));
    assert_eq!(plan.groups[1].refused, "the saga is being undone already");
    let exposure = &plan.exposures[0];
    assert_eq!((exposure.authorized_minor_units, exposure.reserved_units), (2_000, 6));
    assert_eq!(desk.market.log("saga").await.len(), before);
    assert_eq!(desk.plan_for("ana", Kind::Cancel, &ids).await.unwrap().hash, plan.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_plan_is_in_the_history_of_every_saga_with_who_and_why() {
    let desk = Desk::open(100).await;
    let ids = desk.placed(3).await;
    desk.market.project(100).await;
    let _process = desk.process();
    let selection = pb::Selection { query: "step = authorize-payment".to_owned(), ..pb::Selection::default() };
    let plan = desk.plan("ana", Kind::Pause, selection).await.unwrap();
    let operation = desk.apply("operator:ana", &plan.hash[..12]).await.unwrap();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Done, 3, 0), "{over:?}");
    for id in ids {
        let (kind, actor, payload) = desk.history(id).await.pop().unwrap();
        assert_eq!((kind.as_str(), actor.as_str()), ("SagaPaused", "operator:ana"));
        let why = format!("provider back, INC-204 [plan {}]", &plan.hash[..12]);
        assert!(payload.contains(&why), "{payload}");
    }
    let again = desk.apply("ana", &plan.hash).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::FailedPrecondition, "PLAN_APPLIED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_refused_when_a_saga_has_moved_since() {
    let desk = Desk::open(100).await;
    let ids = desk.placed(2).await;
    let plan = desk.plan_for("ana", Kind::Pause, &ids).await.unwrap();
    desk.market.done(ids[1], AUTHORIZE_PAYMENT).await;
    let stale = desk.apply("ana", &plan.hash).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "PLAN_STALE"));
    assert!(desk.history(ids[0]).await.iter().all(|(kind, ..)| kind != "SagaPaused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_moves_before_its_turn_is_left_alone_and_told_as_failed() {
    let desk = Desk::open(100).await;
    let ids = desk.placed(2).await;
    let plan = desk.plan_for("ana", Kind::Pause, &ids).await.unwrap();
    let request = pb::ApplyPlanRequest { hash: plan.hash.clone(), rate: 100, failures_max: 5, ..Default::default() };
    let operation = desk.apply_with("ana", request).await.unwrap();
    // Nobody carries it out yet.
    desk.market.done(ids[0], AUTHORIZE_PAYMENT).await;
    let _process = desk.process();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Done, 1, 1), "{over:?}");
    let request = pb::GetOperationRequest { operation_id: operation.id };
    let failures = desk.operator.get_operation(by("ana", request)).await.unwrap().into_inner().failures;
    assert_eq!(failures[0].id, ids[0].to_string());
    assert!(failures[0].failure.starts_with("it has moved since the plan"), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_survives_the_death_of_its_process_and_acts_once_on_each_saga() {
    let desk = Desk::open(100).await;
    let ids = desk.placed(20).await;
    let plan = desk.plan_for("ana", Kind::Pause, &ids).await.unwrap();
    let request = pb::ApplyPlanRequest { hash: plan.hash, rate: 20, ..Default::default() };
    let operation = desk.apply_with("ana", request).await.unwrap();
    let first = desk.process();
    let request = pb::WatchOperationRequest { operation_id: operation.id.clone() };
    let mut watched = desk.operator.watch_operation(by("ana", request)).await.unwrap().into_inner();
    let seen = |next: Option<Result<pb::WatchOperationResponse, Status>>| next.unwrap().unwrap().operation.unwrap();
    while seen(futures::StreamExt::next(&mut watched).await).succeeded < 3 {}
    first.abort();
    // As if it had died between a saga's commit and writing that down.
    sqlx::query("update operation_item set state = 0 where ordinal = 1").execute(&desk.market.pool).await.unwrap();
    sqlx::query("update operation set claimed_until = now()").execute(&desk.market.pool).await.unwrap();
    let _second = desk.process();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Done, 20, 0), "{over:?}");
    for id in ids {
        let paused = desk.history(id).await.into_iter().filter(|(kind, ..)| kind == "SagaPaused").count();
        assert_eq!(paused, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_stops_the_operation_before_the_others() {
    let desk = Desk::open(100).await;
    let mut ids = desk.placed(10).await;
    let plan = desk.plan_for("ana", Kind::Pause, &ids).await.unwrap();
    let request = pb::ApplyPlanRequest { hash: plan.hash, rate: 500, canary: 2, failures_max: 9 };
    let operation = desk.apply_with("ana", request).await.unwrap();
    ids.sort();
    desk.market.done(ids[0], AUTHORIZE_PAYMENT).await;
    let _process = desk.process();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Failed, 1, 1), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn destructive_and_large_plans_wait_for_a_second_person() {
    let desk = Desk::open(2).await;
    let ids = desk.placed(3).await;
    for (kind, ids) in [(Kind::Abandon, &ids[..1]), (Kind::Pause, &ids[..])] {
        let plan = desk.plan_for("ana", kind, ids).await.unwrap();
        assert_eq!(plan.state(), pb::plan::State::NeedsApproval);
        let refused = desk.apply("ana", &plan.hash).await.unwrap_err();
        assert_eq!(reason(&refused), "APPROVAL_REQUIRED");
        let request = || pb::ApprovePlanRequest { hash: plan.hash.clone() };
        let own = desk.operator.approve_plan(by("ana", request())).await.unwrap_err();
        assert_eq!((own.code(), reason(&own).as_str()), (Code::PermissionDenied, "APPROVAL_BY_ANOTHER_REQUIRED"));
        let approved = desk.operator.approve_plan(by("bob", request())).await.unwrap().into_inner().plan.unwrap();
        assert_eq!((approved.state(), approved.approved_by.as_str()), (pb::plan::State::Ready, "operator:bob"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_without_a_name_and_nonsense_is_refused() {
    let desk = Desk::open(100).await;
    let ids = desk.placed(1).await;
    let request = || pb::CreatePlanRequest {
        act: Some(pb::Act { kind: Kind::Pause.into(), ..pb::Act::default() }),
        selection: Some(pb::Selection { saga_ids: vec![ids[0].to_string()], ..pb::Selection::default() }),
        reason: "why".to_owned(),
    };
    let nameless = desk.operator.create_plan(Request::new(request())).await.unwrap_err();
    assert_eq!((nameless.code(), reason(&nameless).as_str()), (Code::PermissionDenied, "ACTOR_REQUIRED"));
    let wrong = [
        pb::CreatePlanRequest { reason: " ".to_owned(), ..request() },
        pb::CreatePlanRequest { act: None, ..request() },
        pb::CreatePlanRequest { selection: None, ..request() },
        pb::CreatePlanRequest {
            selection: Some(pb::Selection { query: "state = STUCK".to_owned(), ..pb::Selection::default() }),
            ..request()
        },
    ];
    for request in wrong {
        let refused = desk.operator.create_plan(by("ana", request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let unknown = desk.apply("ana", "000000000000").await.unwrap_err();
    assert_eq!(reason(&unknown), "PLAN_NOT_FOUND");
}

impl Desk {
    async fn plan_hold(&self, kind: Kind, hold_target: &str) -> Result<pb::Plan, Status> {
        self.plan("ana", kind, pb::Selection { hold_target: hold_target.to_owned(), ..pb::Selection::default() }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_planned_then_placed_once_whatever_happens_to_the_process() {
    let desk = Desk::open(100).await;
    desk.placed(3).await;
    desk.market.project(100).await;
    let plan = desk.plan_hold(Kind::Hold, "payment").await.unwrap();
    assert_eq!((plan.effective, plan.items[0].affected), (1, 3));
    let other = desk.plan_hold(Kind::Hold, "place-order/authorize-payment").await.unwrap();
    let operation = desk.apply("ana", &plan.hash).await.unwrap();
    let first = desk.process();
    assert_eq!(desk.over(&operation.id).await.state(), State::Done);
    first.abort();
    // As if it had died between the hold's commit and writing that down.
    let again = "update operation_item set state = 0";
    sqlx::query(again).execute(&desk.market.pool).await.unwrap();
    sqlx::query("update operation set state = 1, claimed_until = now()").execute(&desk.market.pool).await.unwrap();
    let _second = desk.process();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Done, 1, 0), "{over:?}");
    assert_eq!(desk.market.log("hold").await.len(), 1);
    // A plan about something else still holds.
    desk.apply("ana", &other.hash).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_about_a_hold_is_stale_once_it_was_held_or_there_are_far_more_sagas() {
    let desk = Desk::open(2).await;
    let _process = desk.process();
    let plan = desk.plan_hold(Kind::Hold, "payment").await.unwrap();
    desk.placed(11).await;
    desk.market.project(100).await;
    let stale = desk.apply("ana", &plan.hash).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "PLAN_STALE"), "11 are more than 10 more");
    let plan = desk.plan_hold(Kind::Hold, "payment").await.unwrap();
    let operation = desk.apply("ana", &plan.hash).await.unwrap();
    desk.over(&operation.id).await;
    let refused = desk.plan_hold(Kind::Hold, "payment").await.unwrap();
    assert_eq!((refused.effective, refused.items[0].refused.as_str()), (0, "payment is held already"));
    let release = desk.plan_hold(Kind::Release, "payment").await.unwrap();
    let again = desk.plan_hold(Kind::Release, "payment").await.unwrap();
    assert_eq!(release.hash, again.hash);
    let operation = desk.apply("ana", &release.hash).await.unwrap();
    assert_eq!(desk.over(&operation.id).await.succeeded, 1);
    let other = pb::Act {
        kind: Kind::Release.into(),
        pace: Some(pb::ReleasePace { rate: 1, ..Default::default() }),
        ..Default::default()
    };
    let request = pb::CreatePlanRequest {
        act: Some(other),
        selection: Some(pb::Selection { hold_target: "payment".to_owned(), ..pb::Selection::default() }),
        reason: "why".to_owned(),
    };
    let unsound = desk.operator.create_plan(by("ana", request)).await.unwrap().into_inner().plan.unwrap();
    assert!(unsound.items[0].refused.starts_with("the plan is out of bounds"), "{unsound:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_not_held_and_what_is_known_is_named() {
    let desk = Desk::open(100).await;
    for kind in [Kind::Hold, Kind::Release] {
        let refused = desk.plan_hold(kind, "paymnet").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("notification, payment, products"), "{refused}");
    }
    let both =
        pb::Selection { hold_target: "payment".to_owned(), query: "state = OPEN".to_owned(), ..Default::default() };
    assert_eq!(desk.plan("ana", Kind::Hold, both.clone()).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(desk.plan("ana", Kind::Pause, both).await.unwrap_err().code(), Code::InvalidArgument);
}

impl Desk {
    /// A message that nobody could handle, in the line of `key`.
    async fn letter(&self, message: &str, key: &str) -> i64 {
        let letter = DeadLetter {
            consumer: "orders-payment".to_owned(),
            message: message.to_owned(),
            key: Some(key.to_owned()),
            sequence: 0,
            subject: "farmera.payment.payment_captured".to_owned(),
            headers: "{}".to_owned(),
            body: Vec::new(),
            reason: "damaged".to_owned(),
        };
        let commit = Commit { dead_letters: vec![letter], ..Commit::default() };
        self.market.store.commit(commit).await.unwrap();
        self.market.store.dead_letters(0, 1_000).await.unwrap().last().unwrap().id
    }

    async fn plan_letters(&self, kind: Kind, letter_ids: Vec<i64>) -> pb::Plan {
        self.plan("ana", kind, pb::Selection { letter_ids, ..pb::Selection::default() }).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_about_letters_is_stale_once_one_was_tried_or_has_ended() {
    let desk = Desk::open(100).await;
    let (tried, ended) = (desk.letter("m-1", "saga/a").await, desk.letter("m-2", "saga/b").await);
    let plan = desk.plan_letters(Kind::Redrive, vec![tried]).await;
    desk.market.store.failed_again(tried, "damaged").await.unwrap();
    let stale = desk.apply("ana", &plan.hash).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "PLAN_STALE"));
    let plan = desk.plan_letters(Kind::Redrive, vec![tried, ended]).await;
    assert_eq!(plan.effective, 2);
    desk.market.store.discard(ended, "operator:bob", "forged").await.unwrap();
    let stale = desk.apply("ana", &plan.hash).await.unwrap_err();
    assert_eq!(reason(&stale), "PLAN_STALE");
    let plan = desk.plan_letters(Kind::Redrive, vec![tried, ended, 4_711]).await;
    assert_eq!((plan.effective, plan.refused), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_discarded_once_by_a_second_persons_leave_whatever_happens_to_the_process() {
    let desk = Desk::open(100).await;
    let letter = desk.letter("m-1", "saga/a").await;
    let group = desk.market.store.dead_letters(0, 10).await.unwrap();
    let letter_group = chassis::operations::letters::group_name(&group[0]);
    let selection = pb::Selection { letter_group, ..pb::Selection::default() };
    let plan = desk.plan("ana", Kind::Discard, selection).await.unwrap();
    assert_eq!((plan.state(), plan.items[0].id.as_str()), (pb::plan::State::NeedsApproval, &*letter.to_string()));
    let request = pb::ApprovePlanRequest { hash: plan.hash.clone() };
    desk.operator.approve_plan(by("bob", request)).await.unwrap();
    let operation = desk.apply("ana", &plan.hash).await.unwrap();
    let first = desk.process();
    assert_eq!(desk.over(&operation.id).await.succeeded, 1);
    first.abort();
    // As if it had died between the letter's end and writing that down.
    sqlx::query("update operation_item set state = 0").execute(&desk.market.pool).await.unwrap();
    sqlx::query("update operation set state = 1, claimed_until = now()").execute(&desk.market.pool).await.unwrap();
    let _second = desk.process();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Done, 1, 0), "{over:?}");
}
