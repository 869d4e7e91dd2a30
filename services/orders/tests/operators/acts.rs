//! Plans say what would happen; operations make it happen, once, whatever happens to the process.

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService as _;
use orders::sagas::AUTHORIZE_PAYMENT;
use pb::act::Kind;
use pb::operation::State;
use tonic::{Code, Request, Status};

use crate::desk::{Desk, by, reason};

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
    let too_fast = pb::ApplyPlanRequest { hash: "000000000000".to_owned(), rate: 501, ..Default::default() };
    let refused = desk.apply_with("ana", too_fast).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("allowed are 0 to 500"), "{refused}");
    let unknown = desk.apply("ana", "000000000000").await.unwrap_err();
    assert_eq!(reason(&unknown), "PLAN_NOT_FOUND");
}
