//! The ways in for questions: the edge for clients, and what other services may ask. Reads only.

use std::sync::Arc;
use std::time::Duration;

use chassis::projection::until_current;
use chassis::scan::LogScan;
use chassis::{page, problem::Violations};
use eventstore::{Aggregate as _, EventStore, Version};
use farmera_proto::payment::v1 as pb;
use farmera_proto::payment::v1::payment_query_service_server::PaymentQueryService;
use farmera_proto::payment::v1::payment_service_server::PaymentService;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::{Payment, Reference};
use crate::line::Line;
use crate::projections::payments::{PaymentList, PaymentProjection};
use crate::status::{DOMAIN, Unreadable};
use crate::view;

/// A ledger is as of the question: so long it waits for its read model.
const CURRENT_WITHIN: Duration = Duration::from_secs(4);
const READ_DEADLINE: Duration = Duration::from_secs(5);
const EVENTS_MAX: usize = 10_000;
const ORDERS_MAX: usize = 500;

/// Answers both services.
#[derive(Clone)]
pub struct Questions {
    store: Arc<dyn EventStore>,
    scan: LogScan,
    payments: PaymentList,
    line: Arc<Line>,
}

impl Questions {
    /// Answers from the log, the read model and the provider's books.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, scan: LogScan, payments: PaymentList, line: Arc<Line>) -> Self {
        Self { store, scan, payments, line }
    }

    /// From the log itself: as of now.
    async fn payment(&self, id: Uuid) -> Result<pb::Payment, Unreadable> {
        let stream = [(Payment::stream(id), Version::NONE)];
        let recorded = within(async { Ok(self.store.read_streams(&stream, EVENTS_MAX).await?) }).await?;
        view::payment(&recorded)?.ok_or(Unreadable::NotFound(id))
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Unreadable>>) -> Result<T, Unreadable> {
    timeout(READ_DEADLINE, answer).await.map_err(|_| Unreadable::Late)?
}

#[tonic::async_trait]
impl PaymentService for Questions {
    async fn get_payment(
        &self,
        request: Request<pb::GetPaymentRequest>,
    ) -> Result<Response<pb::GetPaymentResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.uuid("payment_id", &request.get_ref().payment_id);
        violations.finish(DOMAIN)?;
        let payment = Some(self.payment(id.unwrap_or_default()).await?);
        Ok(Response::new(pb::GetPaymentResponse { payment }))
    }

    async fn list_payments(
        &self,
        request: Request<pb::ListPaymentsRequest>,
    ) -> Result<Response<pb::ListPaymentsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let order_id = match request.order_id.as_str() {
            "" => None,
            text => violations.uuid("order_id", text),
        };
        let question = format!("payments/order={}", order_id.map(|id| id.to_string()).unwrap_or_default());
        let size = page::size(&mut violations, request.page_size);
        let after = page::key(&mut violations, &question, &request.page_token, page::one);
        violations.finish(DOMAIN)?;

        let after = after.unwrap_or_default();
        let read = async { Ok(self.payments.page(after, order_id, one_more(size)).await?) };
        let mut payments = within(read).await?;
        let next_page_token = cut(&mut payments, size, &question, |last| last.id.clone());
        Ok(Response::new(pb::ListPaymentsResponse { payments, next_page_token }))
    }
}

#[tonic::async_trait]
impl PaymentQueryService for Questions {
    async fn get_payments_of_orders(
        &self,
        request: Request<pb::GetPaymentsOfOrdersRequest>,
    ) -> Result<Response<pb::GetPaymentsOfOrdersResponse>, Status> {
        let order_ids = &request.get_ref().order_ids;
        let mut violations = Violations::new();
        if !(1..=ORDERS_MAX).contains(&order_ids.len()) {
            violations.add("order_ids", format!("has {} ids: allowed are 1 to {ORDERS_MAX}", order_ids.len()));
            violations.finish(DOMAIN)?;
            return Ok(Response::new(pb::GetPaymentsOfOrdersResponse::default()));
        }
        let ids: Vec<Uuid> = order_ids
            .iter()
            .enumerate()
            .filter_map(|(index, text)| violations.uuid(&format!("order_ids[{index}]"), text))
            .collect();
        violations.finish(DOMAIN)?;
        let payments = within(async { Ok(self.payments.of_orders(&ids).await?) }).await?;
        Ok(Response::new(pb::GetPaymentsOfOrdersResponse { payments }))
    }

    async fn list_ledger(
        &self,
        request: Request<pb::ListLedgerRequest>,
    ) -> Result<Response<pb::ListLedgerResponse>, Status> {
        const QUESTION: &str = "ledger";
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let after = page::key(&mut violations, QUESTION, &request.page_token, page::one);
        violations.finish(DOMAIN)?;
        let is_first = after.is_none();
        let after = after.unwrap_or_default();
        let read = async {
            if is_first {
                until_current(&PaymentProjection, self.payments.pool(), &self.scan, CURRENT_WITHIN).await?;
            }
            Ok(self.payments.page(after, None, one_more(size)).await?)
        };
        let mut payments = within(read).await?;
        let next_page_token = cut(&mut payments, size, QUESTION, |last| last.id.clone());
        Ok(Response::new(pb::ListLedgerResponse { payments, next_page_token }))
    }

    async fn list_provider_charges(
        &self,
        request: Request<pb::ListProviderChargesRequest>,
    ) -> Result<Response<pb::ListProviderChargesResponse>, Status> {
        const QUESTION: &str = "provider-charges";
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let after = page::key(&mut violations, QUESTION, &request.page_token, page::one).map(Reference);
        violations.finish(DOMAIN)?;

        let read = async { Ok(self.line.books(after.as_ref(), size + 1).await?) };
        let mut charges: Vec<_> = within(read).await?.into_iter().map(view::charge).collect();
        let next_page_token = cut(&mut charges, size, QUESTION, |last| last.reference.clone());
        Ok(Response::new(pb::ListProviderChargesResponse { charges, next_page_token }))
    }
}

/// One row beyond the page says that there is a next one.
fn one_more(size: usize) -> i64 {
    i64::try_from(size + 1).unwrap_or(i64::MAX)
}

/// Takes the row beyond the page away; the token of the next page, empty when there is none.
fn cut<T>(rows: &mut Vec<T>, size: usize, question: &str, key: impl FnOnce(&T) -> String) -> String {
    if rows.len() <= size {
        return String::new();
    }
    rows.truncate(size);
    rows.last().map(|last| page::token(question, &key(last))).unwrap_or_default()
}
