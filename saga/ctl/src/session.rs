//! What every command has at hand: where answers go, and the servers, connected to when they are first needed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::connection::Server;
use crate::context::{Context, Contexts};
use crate::failure::Failure;
use crate::output::Format;
use crate::output::Out;
use crate::output::paint::ColorChoice;
use crate::output::words::parse_length;

const TIMEOUT: Duration = Duration::from_secs(20);

/// What can be said to every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// The form of the answer; jsonl is the one for what does not end.
    #[arg(short, long, global = true, value_enum, value_name = "FORM", default_value_t)]
    pub output: Format,
    /// When to use colours; auto heeds NO_COLOR.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,
    /// Never ask back; without a terminal nothing is asked anyway.
    #[arg(long, global = true)]
    pub no_input: bool,
    /// How long an answer is waited for.
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_length)]
    pub timeout: Option<Duration>,
    /// The context to use instead of the current one.
    #[arg(long, global = true, env = "SAGACTL_CONTEXT", hide_env_values = true)]
    pub context: Option<String>,
    /// The file of contexts.
    #[arg(long, global = true, env = "SAGACTL_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// The orders service, where sagas run.
    #[arg(long, global = true, env = "FARMERA_ORDERS_URL", value_name = "URL", hide_env_values = true)]
    pub orders_url: Option<String>,
    /// The products service.
    #[arg(long, global = true, env = "FARMERA_PRODUCTS_URL", value_name = "URL", hide_env_values = true)]
    pub products_url: Option<String>,
    /// The payment service.
    #[arg(long, global = true, env = "FARMERA_PAYMENT_URL", value_name = "URL", hide_env_values = true)]
    pub payment_url: Option<String>,
    /// The notification service.
    #[arg(long, global = true, env = "FARMERA_NOTIFICATION_URL", value_name = "URL", hide_env_values = true)]
    pub notification_url: Option<String>,
    /// Who acts; whoever is logged in unless said otherwise.
    #[arg(long, global = true, env = "SAGACTL_ACTOR", value_name = "NAME", hide_env_values = true)]
    pub actor: Option<String>,
    /// A file with a bearer token.
    #[arg(long, global = true, env = "SAGACTL_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// PEM of the authority that vouches for the servers.
    #[arg(long, global = true, env = "SAGACTL_TLS_CA", value_name = "FILE", hide_env_values = true)]
    pub tls_ca: Option<PathBuf>,
    /// PEM of this client's certificate.
    #[arg(long, global = true, env = "SAGACTL_TLS_CERTIFICATE", value_name = "FILE", hide_env_values = true)]
    pub tls_certificate: Option<PathBuf>,
    /// PEM of the certificate's key.
    #[arg(long, global = true, env = "SAGACTL_TLS_KEY", value_name = "FILE", hide_env_values = true)]
    pub tls_key: Option<PathBuf>,
}

impl Globals {
    /// What flags and environment say about the context.
    #[must_use]
    pub fn said(&self) -> Context {
        Context {
            orders: self.orders_url.clone(),
            products: self.products_url.clone(),
            payment: self.payment_url.clone(),
            notification: self.notification_url.clone(),
            actor: self.actor.clone(),
            token_file: self.token_file.clone(),
            tls_ca: self.tls_ca.clone(),
            tls_certificate: self.tls_certificate.clone(),
            tls_key: self.tls_key.clone(),
        }
    }
}

/// One command's surroundings.
pub struct Session {
    /// Where answers go.
    pub out: Out,
    /// What was said to every command.
    pub globals: Globals,
}

impl Session {
    /// The file of contexts.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.globals.config.clone().unwrap_or_else(|| Contexts::default_path(|name| std::env::var(name).ok()))
    }

    /// The context that is meant: flags over environment over file over what `farmera up` has.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none of this name, or the file cannot be used.
    pub fn context(&self) -> Result<(String, Context), Failure> {
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
        let contexts = Contexts::load(&self.config())?;
        let (name, context) = contexts.chosen(self.globals.context.as_deref(), user)?;
        Ok((name, context.overlaid(self.globals.said())))
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.globals.timeout.unwrap_or(TIMEOUT)
    }

    /// The server that runs the sagas.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the context makes no sense.
    pub fn server(&self) -> Result<Server, Failure> {
        let (_, context) = self.context()?;
        Server::new("orders", context.orders.as_deref().unwrap_or_default(), &context, self.timeout())
    }

    /// Every server, by name.
    ///
    /// # Errors
    /// As [`Session::server`].
    pub fn servers(&self) -> Result<Vec<Server>, Failure> {
        let (_, context) = self.context()?;
        let all = [
            ("orders", &context.orders),
            ("products", &context.products),
            ("payment", &context.payment),
            ("notification", &context.notification),
        ];
        let server = |(name, url): &(&'static str, &Option<String>)| {
            Server::new(name, url.as_deref().unwrap_or_default(), &context, self.timeout())
        };
        all.iter().map(server).collect()
    }

    /// The server of this name.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none of this name, or the context makes no sense.
    pub fn server_of(&self, name: &str) -> Result<Server, Failure> {
        let servers = self.servers()?;
        let known = servers.iter().map(|server| server.name).collect::<Vec<_>>().join(", ");
        let found = servers.into_iter().find(|server| server.name == name);
        found.ok_or_else(|| Failure::Usage(format!("there is no service {name:?}; there is {known}")))
    }
}
