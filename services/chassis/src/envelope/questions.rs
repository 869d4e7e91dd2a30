//! Questions of sagas and answers to them say twice whose they are: in their attributes and in their data. Both are
//! believed only when they agree.

use serde::Deserialize;
use uuid::Uuid;

use super::{Attributes, EnvelopeError};

/// What is looked at of the data, without the rest.
#[derive(Deserialize)]
struct Asking {
    #[serde(rename = "sagaId", alias = "saga_id", default)]
    saga_id: String,
}

/// Checks that a question, or an answer to one, is from whom it has to be, names the question that `saga` asks with
/// such messages, if it names one, and says the same saga in its data.
///
/// # Errors
/// [`EnvelopeError`]: it contradicts itself and is to be parked.
pub(super) fn agree(
    said: &Attributes<'_>,
    message_type: &str,
    saga: Uuid,
    question: Uuid,
) -> Result<(), EnvelopeError> {
    let malformed = |name, found: &str, expected| {
        Err(EnvelopeError::Malformed { name, found: found.chars().take(64).collect(), expected })
    };
    if let Some(source) = said.source.as_deref().filter(|source| !is_of(message_type, source)) {
        return malformed("source", source, "the service that this type belongs to");
    }
    if let Some(request) = said.request.as_deref().filter(|request| request.parse() != Ok(question)) {
        return malformed("requestid", request, "what the saga of correlationid asks with such a message");
    }
    let asking: Asking = serde_json::from_slice(said.data)
        .map_err(|error| EnvelopeError::Body { expected: "message of a saga", reason: error.to_string() })?;
    if asking.saga_id.parse() != Ok(saga) {
        return malformed("sagaId in the data", &asking.saga_id, "the saga of correlationid");
    }
    Ok(())
}

/// `farmera.payment.v1.PaymentVoided` is said by `/farmera/payment`.
fn is_of(message_type: &str, source: &str) -> bool {
    let service = message_type.strip_prefix("farmera.").and_then(|rest| rest.split_once('.'));
    service.is_some_and(|(service, _)| source.strip_prefix("/farmera/") == Some(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "farmera.payment.v1.PaymentVoided";
    const SAGA: Uuid = Uuid::from_u128(1);

    fn refused(source: &str, request: Option<Uuid>, data: &str) -> Option<EnvelopeError> {
        let question = super::super::request_id(SAGA, TYPE).unwrap();
        let request = request.map(|request| request.to_string());
        let said = Attributes {
            source: Some(source.into()),
            request: request.as_deref().map(Into::into),
            data: data.as_bytes(),
            ..Attributes::default()
        };
        agree(&said, TYPE, SAGA, question).err()
    }

    #[test]
    fn a_message_that_contradicts_itself_is_refused_by_what_it_contradicts() {
        let question = super::super::request_id(SAGA, TYPE);
        let (ours, other) = (format!(r#"{{"sagaId":"{SAGA}"}}"#), r#"{"sagaId":"another"}"#);
        assert_eq!(refused("/farmera/payment", question, &ours), None);
        assert_eq!(refused("/farmera/payment", None, &ours.replace("sagaId", "saga_id")), None);
        let name = |refused: Option<EnvelopeError>| match refused {
            Some(EnvelopeError::Malformed { name, .. }) => name,
            Some(EnvelopeError::Body { .. }) => "body",
            Some(EnvelopeError::Unreadable { .. } | EnvelopeError::Missing(_)) | None => "-",
        };
        assert_eq!(name(refused("/farmera/orders", question, &ours)), "source");
        assert_eq!(name(refused("/farmera/payment", Some(SAGA), &ours)), "requestid");
        assert_eq!(name(refused("/farmera/payment", question, other)), "sagaId in the data");
        assert_eq!(name(refused("/farmera/payment", question, "{}")), "sagaId in the data");
        assert_eq!(name(refused("/farmera/payment", question, "")), "body");
    }
}
