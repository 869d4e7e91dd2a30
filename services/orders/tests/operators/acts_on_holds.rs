//! Plans about holds, and what becomes of them.

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService as _;
use pb::act::Kind;
use pb::operation::State;
use tonic::{Code, Status};

use crate::desk::{Desk, by, reason};

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
    desk.forget_what_was_done().await;
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
