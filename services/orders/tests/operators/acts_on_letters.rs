//! Plans about dead letters, and what becomes of them.

use eventstore::{Commit, DeadLetter, DeadLetters as _, EventStore as _};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService as _;
use pb::act::Kind;
use pb::operation::State;
use tonic::Code;

use crate::desk::{Desk, by, reason};

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
    desk.forget_what_was_done().await;
    let _second = desk.process();
    let over = desk.over(&operation.id).await;
    assert_eq!((over.state(), over.succeeded, over.failed), (State::Done, 1, 0), "{over:?}");
}
