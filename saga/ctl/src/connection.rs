//! The way to a server: gRPC, with a deadline on every call. Nothing here, or anywhere in this program, opens a database.

use std::path::Path;
use std::time::Duration;

use farmera_proto::saga::v1::event_query_service_client::EventQueryServiceClient;
use farmera_proto::saga::v1::machinery_query_service_client::MachineryQueryServiceClient;
use farmera_proto::saga::v1::operator_service_client::OperatorServiceClient;
use farmera_proto::saga::v1::replay_service_client::ReplayServiceClient;
use farmera_proto::saga::v1::saga_query_service_client::SagaQueryServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status, Streaming};

use crate::context::Context;
use crate::failure::Failure;
use crate::status;

/// A page of sagas with all that is known of them is larger than gRPC's default allows.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Who calls; the server makes it part of every event that an act leads to.
const ACTOR: &str = "x-farmera-actor";

/// Says in every call who calls.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    actor: Option<MetadataValue<Ascii>>,
    token: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(actor) = &self.actor {
            request.metadata_mut().insert(ACTOR, actor.clone());
        }
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection that says who calls.
pub type Wire = InterceptedService<Channel, Caller>;

/// One server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it is called.
    pub name: &'static str,
    /// Where it is.
    pub url: String,
    timeout: Duration,
    wire: Wire,
}

impl Server {
    /// A server that is connected to when it is first asked.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the address makes no sense or a file of the context cannot be used.
    pub fn new(name: &'static str, url: &str, context: &Context, timeout: Duration) -> Result<Self, Failure> {
        let wire = InterceptedService::new(channel(url, context)?, caller(context)?);
        Ok(Self { name, url: url.to_owned(), timeout, wire })
    }

    /// Its connection.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// Sagas.
    #[must_use]
    pub fn sagas(&self) -> SagaQueryServiceClient<Wire> {
        SagaQueryServiceClient::new(self.wire()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// What operators may do.
    #[must_use]
    pub fn operators(&self) -> OperatorServiceClient<Wire> {
        OperatorServiceClient::new(self.wire()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The log.
    #[must_use]
    pub fn events(&self) -> EventQueryServiceClient<Wire> {
        EventQueryServiceClient::new(self.wire()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Timers, letters, read models, the way to the broker.
    #[must_use]
    pub fn machinery(&self) -> MachineryQueryServiceClient<Wire> {
        MachineryQueryServiceClient::new(self.wire()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// History, folded again.
    #[must_use]
    pub fn replay(&self) -> ReplayServiceClient<Wire> {
        ReplayServiceClient::new(self.wire()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The answer of a call, or what went wrong in words.
    ///
    /// # Errors
    /// [`Failure`] by the status; [`Failure::Unavailable`] when it takes too long.
    pub async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => Err(status::silent(self.name, &self.url)),
        }
    }

    /// The same, for a call with a query: a mistake in it is shown.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn ask_for<T>(
        &self,
        query: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(status::explain_query(self.name, &self.url, &status, query)),
            Err(_) => Err(status::silent(self.name, &self.url)),
        }
    }

    /// What comes next in a stream, however long it takes: whoever streams is there, or the connection breaks.
    ///
    /// # Errors
    /// [`Failure`] by the status.
    pub async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Failure> {
        stream.message().await.map_err(|status| self.failure(&status))
    }

    /// What a status means to a person.
    #[must_use]
    pub fn failure(&self, status: &Status) -> Failure {
        status::explain(self.name, &self.url, status)
    }
}

fn caller(context: &Context) -> Result<Caller, Failure> {
    let actor = match context.actor.as_deref().map(str::trim).filter(|actor| !actor.is_empty()) {
        Some(actor) => Some(actor.parse().ok().filter(|_| actor.is_ascii()).ok_or_else(|| {
            Failure::Usage(format!("the actor {actor:?} has letters that cannot be sent: use ASCII, such as ana"))
        })?),
        None => None,
    };
    let token = match &context.token_file {
        Some(file) => {
            let token = String::from_utf8_lossy(&read(file, "the token")?).trim().to_owned();
            let value = format!("Bearer {token}").parse();
            Some(value.map_err(|_| Failure::Usage(format!("{} holds no token: use ASCII", file.display())))?)
        }
        None => None,
    };
    Ok(Caller { actor, token })
}

fn channel(url: &str, context: &Context) -> Result<Channel, Failure> {
    let senseless = || Failure::Usage(format!("{url:?} is no address; expected one such as http://127.0.0.1:50052"));
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| senseless())?;
    let (scheme, host) = (endpoint.uri().scheme_str().map(str::to_owned), endpoint.uri().host());
    let is_secure = match (scheme.as_deref(), host) {
        (Some("http"), Some(_)) => false,
        (Some("https"), Some(_)) => true,
        (Some(_) | None, Some(_) | None) => return Err(senseless()),
    };
    let mut endpoint = endpoint
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    if is_secure {
        let unusable = |error: tonic::transport::Error| {
            Failure::Usage(format!("the TLS files of this context cannot be used: {}", lowest(&error)))
        };
        endpoint = endpoint.tls_config(tls(context)?).map_err(unusable)?;
    }
    Ok(endpoint.connect_lazy())
}

fn lowest(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), lowest)
}

fn tls(context: &Context) -> Result<ClientTlsConfig, Failure> {
    let mut tls = match &context.tls_ca {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file, "the authority")?)),
        None => ClientTlsConfig::new().with_webpki_roots(),
    };
    tls = match (&context.tls_certificate, &context.tls_key) {
        (Some(certificate), Some(key)) => {
            tls.identity(Identity::from_pem(read(certificate, "the certificate")?, read(key, "the key")?))
        }
        (None, None) => tls,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::Usage(
                "a certificate and its key go together: --tls-certificate, --tls-key".to_owned(),
            ));
        }
    };
    Ok(tls)
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Usage(format!("cannot read {what} from {}: {error}", file.display())))
}
