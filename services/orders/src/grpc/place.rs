//! A client's order, checked: every violation is found in one go, nothing of a refused order is stored.

use std::collections::HashMap;
use std::fmt::Write as _;

use chassis::problem::{Violations, check_size};
use farmera_proto::orders::v1 as pb;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use uuid::Uuid;

use crate::domain::{Facts, Offer, Problem, Wish, quote};
use crate::status::DOMAIN;

/// An order request is larger than this only by mistake.
const BYTES_MAX: usize = 256 * 1024;
const LINES_MAX: usize = 500;
const QUANTITY_MAX: u32 = 10_000;
const TOKEN_LENGTH_MAX: usize = 128;

/// A request that makes sense in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Follows from the client's request id: asking again is asking for the same order.
    pub order_id: Uuid,
    /// Who orders.
    pub customer_id: Uuid,
    /// Where they are told.
    pub email: String,
    /// What they pay with.
    pub payment_token: String,
    /// What they want.
    pub wishes: Vec<Wish>,
}

impl Request {
    /// Checks everything that can be checked without asking anybody.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with every violation, its field and its limit.
    pub fn parse(request: &pb::PlaceOrderRequest, encoded_bytes: usize) -> Result<Self, Status> {
        check_size(DOMAIN, encoded_bytes, BYTES_MAX)?;
        let mut violations = Violations::new();
        let request_id = violations.uuid("request_id", &request.request_id);
        let customer_id = violations.uuid("customer_id", &request.customer_id);
        let email = violations.email("email", &request.email);
        let payment_token = violations.token("payment_token", &request.payment_token, TOKEN_LENGTH_MAX);
        let wishes = wishes(&mut violations, &request.lines);
        violations.finish(DOMAIN)?;
        match (request_id, customer_id, email, payment_token) {
            (Some(request_id), Some(customer_id), Some(email), Some(payment_token)) => {
                // One customer's request ids say nothing about another's.
                let order_id = eventstore::derived_id(request_id, &format!("order of {customer_id}"));
                Ok(Self { order_id, customer_id, email, payment_token, wishes })
            }
            _ => Err(chassis::problem::internal(DOMAIN)),
        }
    }

    /// The digest of what the client asked for; prices are not part of it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.customer_id, self.email, self.payment_token);
        for wish in &self.wishes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}", wish.product_id, wish.quantity);
        }
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The products asked for.
    #[must_use]
    pub fn products(&self) -> Vec<Uuid> {
        self.wishes.iter().map(|wish| wish.product_id).collect()
    }

    /// Fixes prices and total.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with every line that cannot be priced.
    pub fn priced(self, offers: &HashMap<Uuid, Offer>) -> Result<Facts, Status> {
        match quote(&self.wishes, offers) {
            Ok((lines, total)) => {
                let Self { customer_id, email, payment_token, .. } = self;
                Ok(Facts { customer_id, email, payment_token, lines, total })
            }
            Err(problems) => {
                let mut violations = Violations::new();
                for (index, problem) in problems {
                    let field = match problem {
                        Problem::Unknown(_) | Problem::Closed(_) | Problem::Mixed { .. } => "product_id",
                        Problem::TooLarge { .. } => "quantity",
                    };
                    violations.add(format!("lines[{index}].{field}"), problem.to_string());
                }
                violations.finish(DOMAIN)?;
                Err(chassis::problem::internal(DOMAIN))
            }
        }
    }
}

fn wishes(violations: &mut Violations, lines: &[pb::PlaceOrderLine]) -> Vec<Wish> {
    if !(1..=LINES_MAX).contains(&lines.len()) {
        violations.add("lines", format!("has {} lines: allowed are 1 to {LINES_MAX}", lines.len()));
        return Vec::new();
    }
    let mut first_of = HashMap::with_capacity(lines.len());
    let mut wishes = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let product_id = violations.uuid(&format!("lines[{index}].product_id"), &line.product_id);
        if !(1..=QUANTITY_MAX).contains(&line.quantity) {
            let description = format!("is {}: allowed are 1 to {QUANTITY_MAX}", line.quantity);
            violations.add(format!("lines[{index}].quantity"), description);
        }
        let Some(product_id) = product_id else { continue };
        match first_of.insert(product_id, index) {
            Some(first) => violations.add(
                format!("lines[{index}].product_id"),
                format!("is in lines[{first}] already: allowed is one line for each product"),
            ),
            None => wishes.push(Wish { product_id, quantity: line.quantity }),
        }
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT: &str = "01990000-0000-7000-8000-000000000001";

    fn request() -> pb::PlaceOrderRequest {
        pb::PlaceOrderRequest {
            request_id: "01990000-0000-7000-8000-00000000000a".to_owned(),
            customer_id: "01990000-0000-7000-8000-00000000000b".to_owned(),
            lines: vec![pb::PlaceOrderLine { product_id: PRODUCT.to_owned(), quantity: 2 }],
            payment_token: "tok_success".to_owned(),
            email: "ana@example.org".to_owned(),
        }
    }

    fn refused(change: impl FnOnce(&mut pb::PlaceOrderRequest)) -> String {
        let mut request = request();
        change(&mut request);
        Request::parse(&request, 100).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_sound_request_is_taken_and_its_order_id_depends_on_request_and_customer() {
        let parsed = Request::parse(&request(), 100).unwrap();
        let again = Request::parse(&request(), 100).unwrap();
        assert_eq!(parsed, again);
        let mut other = request();
        other.customer_id = PRODUCT.to_owned();
        assert_ne!(Request::parse(&other, 100).unwrap().order_id, parsed.order_id);
    }

    #[test]
    fn the_fingerprint_tells_another_payload_from_the_same() {
        let parsed = Request::parse(&request(), 100).unwrap();
        let mut other = request();
        other.lines[0].quantity = 3;
        assert_ne!(Request::parse(&other, 100).unwrap().fingerprint(), parsed.fingerprint());
        assert_eq!(Request::parse(&request(), 100).unwrap().fingerprint(), parsed.fingerprint());
    }

    #[test]
    fn what_is_refused_names_field_reason_and_limit() {
        assert_eq!(refused(|r| r.lines.clear()), "lines: has 0 lines: allowed are 1 to 500");
        assert_eq!(refused(|r| r.lines[0].quantity = 0), "lines[0].quantity: is 0: allowed are 1 to 10000");
        assert_eq!(refused(|r| r.lines[0].quantity = 10_001), "lines[0].quantity: is 10001: allowed are 1 to 10000");
        assert_eq!(refused(|r| r.request_id = "x".to_owned()), "request_id: is \"x\": expected a UUID that is not nil");
        let twice = refused(|r| r.lines = vec![r.lines[0].clone(), r.lines[0].clone()]);
        assert_eq!(twice, "lines[1].product_id: is in lines[0] already: allowed is one line for each product");
        let many = refused(|r| r.lines = vec![r.lines[0].clone(); 501]);
        assert_eq!(many, "lines: has 501 lines: allowed are 1 to 500");
    }

    #[test]
    fn a_message_above_256_kib_is_refused_with_its_size() {
        let status = Request::parse(&request(), BYTES_MAX + 1).unwrap_err();
        assert_eq!(status.message(), "request: has 262145 bytes: allowed are 262144");
    }
}
