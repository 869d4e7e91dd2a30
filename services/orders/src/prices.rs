//! What products says of the goods in an order. The one question that orders asks another service.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chassis::coalesce::Coalescer;
use farmera_proto::products::v1 as pb;
use farmera_proto::products::v1::products_query_service_client::ProductsQueryServiceClient;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::domain::{Farm, Offer};

/// Products in one question.
const QUESTION_MAX: usize = 500;
/// Callers that share a question.
const CALLERS_MAX: usize = 256;
const DEADLINE: Duration = Duration::from_secs(3);

/// Why there are no prices now. Try again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("products does not answer: {0}")]
pub struct NoPrices(String);

type Answer = Result<HashMap<Uuid, Offer>, NoPrices>;

/// Asks for offers; questions that come up together are asked together.
#[derive(Clone)]
pub struct Prices(Coalescer<Vec<Uuid>, Answer>);

impl Prices {
    /// Over `channel`; the future must run for it.
    pub fn new(channel: Channel) -> (Self, impl Future<Output = ()> + Send) {
        let client =
            ProductsQueryServiceClient::new(channel).max_decoding_message_size(chassis::grpc::MESSAGE_BYTES_MAX);
        let (coalescer, run) =
            Coalescer::new(CALLERS_MAX, move |wanted: Vec<Vec<Uuid>>| answer_all(client.clone(), wanted));
        (Self(coalescer), run)
    }

    /// The offers of these products. Unknown ones are left out.
    ///
    /// # Errors
    /// [`NoPrices`]: products is away.
    pub async fn offers(&self, products: Vec<Uuid>) -> Answer {
        self.0.ask(products).await.map_err(|stopped| NoPrices(stopped.to_string()))?
    }
}

async fn answer_all(client: ProductsQueryServiceClient<Channel>, wanted: Vec<Vec<Uuid>>) -> Vec<Answer> {
    let all: Vec<Uuid> = wanted.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let mut offers = HashMap::with_capacity(all.len());
    for some in all.chunks(QUESTION_MAX) {
        match ask(client.clone(), some).await {
            Ok(found) => offers.extend(found),
            Err(failed) => return vec![Err(failed); wanted.len()],
        }
    }
    let pick =
        |products: Vec<Uuid>| products.into_iter().filter_map(|id| Some((id, offers.get(&id)?.clone()))).collect();
    wanted.into_iter().map(|products| Ok(pick(products))).collect()
}

async fn ask(
    mut client: ProductsQueryServiceClient<Channel>,
    products: &[Uuid],
) -> Result<Vec<(Uuid, Offer)>, NoPrices> {
    let request = pb::GetProductsRequest { product_ids: products.iter().map(Uuid::to_string).collect() };
    // A connection that broke while idle shows only when it is used: ask once more on a new one.
    for last_try in [false, true] {
        match timeout(DEADLINE, client.get_products(request.clone())).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner().products.iter().filter_map(offer).collect()),
            Ok(Err(status)) if status.code() == Code::Unavailable && !last_try => {}
            Ok(Err(status)) => return Err(NoPrices(status.message().to_owned())),
            Err(_) => return Err(NoPrices(format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }
    Err(NoPrices("unavailable".to_owned()))
}

/// An offer that makes no sense is no offer.
fn offer(product: &pb::Product) -> Option<(Uuid, Offer)> {
    let farm =
        Farm { id: product.farm_id.parse().ok()?, name: product.farm_name.clone(), email: product.farm_email.clone() };
    let price = chassis::money::from_proto(product.price.as_ref()?)?;
    Some((product.id.parse().ok()?, Offer { name: product.name.clone(), price, active: product.active, farm }))
}
