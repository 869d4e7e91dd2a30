//! Everything that can be read through the edges.

use std::collections::HashMap;

use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::order::State;
use farmera_proto::payment::v1 as payment;
use farmera_proto::products::v1::Product;
use farmera_proto::saga::v1 as sagas;
use farmera_proto::saga::v1::saga::State as SagaState;

use crate::catalogue;
use crate::clients::{Clients, Peer};
use crate::failure::Failure;

const PAGE_SIZE: i32 = 1_000;
const IDS_PER_QUERY: usize = 200;

/// Products, orders, payments and the provider's own books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Every product with its stock.
    pub products: Vec<Product>,
    /// Every order; completed ones with their lines.
    pub orders: Vec<orders::Order>,
    /// Sagas that have not ended, parked ones included.
    pub open_sagas: Vec<sagas::Saga>,
    /// Every payment.
    pub payments: Vec<payment::Payment>,
    /// What the provider says.
    pub charges: Vec<payment::ProviderCharge>,
}

/// Reads every page of a list.
macro_rules! every_page {
    ($clients:expr, $peer:expr, $client:ident . $call:ident ( $request:expr ) . $rows:ident) => {{
        let mut request = $request;
        let mut all = Vec::new();
        loop {
            let page = $clients.ask($peer, $clients.$client.clone().$call(request.clone())).await?;
            all.extend(page.$rows);
            if page.next_page_token.is_empty() {
                break all;
            }
            request.page_token = page.next_page_token;
        }
    }};
}

impl Books {
    /// Reads them all.
    ///
    /// # Errors
    /// [`Failure`] of a service.
    pub async fn read(clients: &Clients) -> Result<Self, Failure> {
        let (products, mut orders, open_sagas, payments, charges) = tokio::try_join!(
            catalogue::products(clients),
            all_orders(clients),
            open_sagas(clients),
            all_payments(clients),
            all_charges(clients),
        )?;
        add_lines(clients, &mut orders).await?;
        Ok(Self { products, orders, open_sagas, payments, charges })
    }

    /// How many orders are in a state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.orders.iter().filter(|order| order.state() == state).count()
    }
}

/// True while a saga goes on by itself: cheap to ask.
pub(super) async fn is_busy(clients: &Clients) -> Result<bool, Failure> {
    for state in [SagaState::Running, SagaState::Compensating] {
        let request =
            sagas::ListSagasRequest { page_size: 1, state: state.into(), ..sagas::ListSagasRequest::default() };
        let page = clients.ask(Peer::Orders, clients.sagas.clone().list_sagas(request)).await?;
        if !page.sagas.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn all_orders(clients: &Clients) -> Result<Vec<orders::Order>, Failure> {
    let request = orders::ListOrdersRequest { page_size: PAGE_SIZE, ..Default::default() };
    Ok(every_page!(clients, Peer::Orders, orders.list_orders(request).orders))
}

async fn open_sagas(clients: &Clients) -> Result<Vec<sagas::Saga>, Failure> {
    let mut all = Vec::new();
    for state in [SagaState::Running, SagaState::Compensating, SagaState::Parked] {
        let request =
            sagas::ListSagasRequest { page_size: PAGE_SIZE, state: state.into(), ..sagas::ListSagasRequest::default() };
        all.extend(every_page!(clients, Peer::Orders, sagas.list_sagas(request).sagas));
    }
    Ok(all)
}

async fn all_payments(clients: &Clients) -> Result<Vec<payment::Payment>, Failure> {
    let request = payment::ListPaymentsRequest { page_size: PAGE_SIZE, ..Default::default() };
    Ok(every_page!(clients, Peer::Payment, payment.list_payments(request).payments))
}

async fn all_charges(clients: &Clients) -> Result<Vec<payment::ProviderCharge>, Failure> {
    let request = payment::ListProviderChargesRequest { page_size: PAGE_SIZE, ..Default::default() };
    Ok(every_page!(clients, Peer::Payment, payment_query.list_provider_charges(request).charges))
}

/// Lists have no lines; what left the stock is known by those of the completed orders.
async fn add_lines(clients: &Clients, orders: &mut [orders::Order]) -> Result<(), Failure> {
    let completed: Vec<String> =
        orders.iter().filter(|order| order.state() == State::Completed).map(|order| order.id.clone()).collect();
    let mut lines = HashMap::with_capacity(completed.len());
    for ids in completed.chunks(IDS_PER_QUERY) {
        let request = orders::GetOrdersRequest { order_ids: ids.to_vec() };
        let answer = clients.ask(Peer::Orders, clients.orders_query.clone().get_orders(request)).await?;
        lines.extend(answer.orders.into_iter().map(|order| (order.id, order.lines)));
    }
    for order in orders {
        if let Some(found) = lines.remove(&order.id) {
            order.lines = found;
        }
    }
    Ok(())
}
