//! What an abandoned saga owes is listed until somebody has seen to it.

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService as _;
use orders::operations::debts;
use orders::operations::query::parse;
use orders::projections::sagas::{Group, Order, Page, Row};
use orders::sagas::{AUTHORIZE_PAYMENT, RESERVE_INVENTORY};
use pb::act::Kind;
use pb::operation::State;
use uuid::Uuid;

use crate::desk::{Desk, by};
use crate::support::Market;

const ABANDONED: i16 = 6;

async fn rows(market: &Market, query: &str) -> Vec<Row> {
    let page = Page { order: Order::Oldest, after: None, size: 10 };
    market.sagas().find(&parse(query).unwrap(), page, market.clock.now()).await.unwrap().0
}

async fn counted(market: &Market) -> (i64, i64, i64) {
    let groups = market.sagas().count(&parse("").unwrap(), market.clock.now()).await.unwrap().0;
    let sum = |field: fn(&Group) -> i64| groups.iter().map(field).sum::<i64>();
    (sum(|group| group.count), sum(|group| group.authorized), sum(|group| group.reserved_units))
}

/// `ana` plans it, `bob` approves, and it is carried out.
async fn acted(desk: &Desk, kind: Kind, saga_id: Uuid, step: &str) -> pb::Plan {
    let act = Some(pb::Act { kind: kind.into(), step: step.to_owned(), ..pb::Act::default() });
    let selection = Some(pb::Selection { saga_ids: vec![saga_id.to_string()], ..pb::Selection::default() });
    let request = pb::CreatePlanRequest { act, selection, reason: "INC-7".to_owned() };
    let plan = desk.operator.create_plan(by("ana", request)).await.unwrap().into_inner().plan.unwrap();
    if plan.state() == pb::plan::State::NeedsApproval {
        let request = pb::ApprovePlanRequest { hash: plan.hash.clone() };
        desk.operator.approve_plan(by("bob", request)).await.unwrap();
    }
    let operation = desk.apply("ana", &plan.hash).await.unwrap();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded), (State::Done, 1), "{over:?}");
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_abandoned_saga_owes_is_listed_by_saga_and_in_sum_until_it_is_seen_to() {
    let desk = Desk::open(100).await;
    let _process = desk.process();
    let market = &desk.market;
    let saga_id = desk.placed(1).await[0];
    acted(&desk, Kind::Abandon, saga_id, "").await;
    for batch in [1, 3, 100] {
        market.project(batch).await;
        let listed = rows(market, "state = ABANDONED and exposure > 0").await;
        assert_eq!(listed.len(), 1, "in batches of {batch}");
        assert_eq!((listed[0].authorized, listed[0].reserved, listed[0].reserved_units), (1_000, 1_000, 2));
        assert_eq!(counted(market).await, (1, 1_000, 2), "in batches of {batch}");
        let debts = debts::all(&market.pool).await.unwrap();
        assert_eq!(debts.iter().map(|debt| debt.saga_id).collect::<Vec<_>>(), [saga_id]);
    }
    // The goods are asked back, the money was seen to at the provider.
    let plan = acted(&desk, Kind::Retry, saga_id, RESERVE_INVENTORY).await;
    assert_eq!(plan.groups[0].requests, ["ReleaseInventory (products)"]);
    market.project(2).await;
    assert_eq!(counted(market).await, (1, 1_000, 2), "asked is not answered");
    market.undone(saga_id, RESERVE_INVENTORY).await;
    market.project(2).await;
    assert_eq!(counted(market).await, (1, 1_000, 0));
    acted(&desk, Kind::Skip, saga_id, AUTHORIZE_PAYMENT).await;
    for batch in [1, 3, 100] {
        market.project(batch).await;
        assert_eq!(counted(market).await, (1, 0, 0), "in batches of {batch}");
        let row = rows(market, "state = ABANDONED").await.pop().unwrap();
        assert_eq!((row.state, row.step.as_str(), row.attempt), (ABANDONED, "", 0), "in batches of {batch}");
        assert_eq!(debts::all(&market.pool).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_was_authorized_after_a_decline_is_voided_by_a_planned_act() {
    let desk = Desk::open(100).await;
    let _process = desk.process();
    let market = &desk.market;
    let saga_id = desk.placed(1).await[0];
    market.rejected(saga_id, AUTHORIZE_PAYMENT, "CARD_DECLINED").await;
    market.undone(saga_id, RESERVE_INVENTORY).await;
    // The true answer comes when it is all over: the money is held.
    market.done(saga_id, AUTHORIZE_PAYMENT).await;
    let plan = acted(&desk, Kind::Retry, saga_id, AUTHORIZE_PAYMENT).await;
    assert_eq!(plan.groups[0].requests, ["VoidPayment (payment)"]);
    market.undone(saga_id, AUTHORIZE_PAYMENT).await;
    let told: Vec<_> = desk.history(saga_id).await.into_iter().map(|(kind, ..)| kind).collect();
    let end = ["SagaCompensated", "StepRetried", "CompensationRequested", "CompensationSucceeded"];
    assert!(told.ends_with(&end.map(str::to_owned)), "{told:?}");
    for batch in [1, 100] {
        market.project(batch).await;
        assert_eq!(counted(market).await, (1, 0, 0), "in batches of {batch}");
        assert_eq!(rows(market, "state = COMPENSATED").await.len(), 1, "in batches of {batch}");
    }
}
