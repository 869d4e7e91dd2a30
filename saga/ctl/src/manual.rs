//! What can be read about this program: cheat sheet, completions, man pages, versions.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use farmera_proto::saga::v1::GetServiceInfoRequest;
use serde::Serialize;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::tell;
use crate::output::words::{harmless, or_dash};
use crate::session::Session;

/// The first number of the contract that this program speaks.
const CONTRACT: &str = "1";

const CHEAT: &str = "\
FIND WHAT IS STUCK
  sagactl saga count --by state-step                   what there is, and the money and goods it holds
  sagactl saga list -q 'state = PARKED' --sort oldest  what waits for you, longest first
  sagactl dlq groups                                   messages nobody could handle, by cause
  sagactl top                                          a live screen

QUERIES
  state in (RUNNING, COMPENSATING) AND step = capture-payment AND age > 10m
  NOT error = OUT_OF_STOCK AND (amount >= 100.00EUR OR exposure > 50.00EUR)
  started > 2026-11-29T23:00:00Z AND updated between 2026-11-30T08:00+01:00 and 2026-11-30T09:00+01:00
  fields     state saga step error age idle started updated customer order id amount exposure
  operators  = != ~ < <= > >= in between; AND OR NOT; parentheses; state = OPEN, state = ENDED
  times      age and idle in 90s 10m 2h 3d; started and updated with their zone, Z for UTC

KNOW WHY
  sagactl saga explain ID                              what it waits for, who owes it, what you can do
  sagactl saga show ID                                 its timeline, forward and undo; --events, --follow, --at 7
  sagactl saga graph ID                                the definition with its progress; --format svg
  sagactl saga trace ID                                every message it led to, as a tree
  sagactl saga diff ID 3 7                             what changed in its state

PREVIEW, THEN ACT
  sagactl saga retry -q 'state = PARKED AND step = refund-payment' --reason 'provider is back' --plan
  sagactl saga retry --apply HASH --rate 5/s --canary 3 --max-failures 2
  sagactl saga list -q 'state = PARKED' -o name | sagactl saga cancel - --reason 'sold out' --plan
  cancel undoes what is done; abandon ends it as it stands and undoes nothing
  sagactl op list; op watch ID; op stop ID --reason WHY; op approve HASH (a second person)
  sagactl timer shift -q 'step = authorize-payment' --by 2h --reason 'provider is slow' --plan
  sagactl hold set payment --for 2h --reason 'processor is away' --plan; hold set --apply HASH; hold release payment …
  sagactl dlq redrive --group payment/g-1a2b3c --reason 'fixed in 1.2' --plan
  sagactl projection rebuild orders/order_view --check; … --reason 'rows are wrong' --plan; transport rebuild orders …
  sagactl replay events --to farmera.orders.order_failed --from 12:00 --reason 'mail was down' --plan

LOOK BACK, LOOK ELSEWHERE
  sagactl event tail --type 'Step*'; event grep --text CARD_DECLINED; event export --to-file events.jsonl
  sagactl replay at saga ID --at 12:30; replay check; replay what-if --step authorize-payment --attempts 9
  sagactl reconcile                                    payments, goods and orders that no saga explains

IN SCRIPTS
  sagactl saga wait ID --within 30s                    0 completed, 8 compensated, 9 stuck, 7 still at it
  -o table|wide|json|jsonl|yaml|name                   data on standard output, messages on standard error";

/// Which shell.
#[derive(Args, Debug)]
pub struct CompletionArguments {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Where to.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// Write a page per command into this folder; without it the page of sagactl itself is printed.
    pub folder: Option<PathBuf>,
}

/// Whose version.
#[derive(Args, Debug)]
pub struct VersionArguments {
    /// Only this program's, without asking a server.
    #[arg(long)]
    pub client: bool,
}

/// Prints the cheat sheet.
///
/// # Errors
/// The output cannot be written.
pub fn cheat(session: &mut Session) -> Result<(), Failure> {
    session.out.line(CHEAT)
}

/// Prints a completion script.
///
/// # Errors
/// The output cannot be written.
pub fn completion(arguments: CompletionArguments, session: &mut Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "sagactl", &mut script);
    session.out.line(String::from_utf8_lossy(&script).trim_end())
}

/// Prints a page, or writes all of them.
///
/// # Errors
/// [`Failure::Failed`] when they cannot be written.
pub fn man(arguments: ManArguments, session: &mut Session) -> Result<(), Failure> {
    let unwritten = |error: std::io::Error| Failure::Failed(format!("the manual cannot be written: {error}"));
    match arguments.folder {
        Some(folder) => {
            std::fs::create_dir_all(&folder).map_err(unwritten)?;
            clap_mangen::generate_to(Cli::command(), &folder).map_err(unwritten)?;
            tell(format!("the pages are in {}; read one: man {}/sagactl.1", folder.display(), folder.display()));
            Ok(())
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(unwritten)?;
            session.out.line(String::from_utf8_lossy(&page).trim_end())
        }
    }
}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    contract: &'static str,
    server: Option<farmera_proto::saga::v1::GetServiceInfoResponse>,
}

/// Prints the versions.
///
/// # Errors
/// [`Failure::Unavailable`] when the server does not answer, [`Failure::Failed`] when it speaks another contract.
pub async fn version(arguments: VersionArguments, session: &mut Session) -> Result<(), Failure> {
    let client = env!("CARGO_PKG_VERSION");
    let server = if arguments.client {
        None
    } else {
        let server = session.server()?;
        match server.ask(server.machinery().get_service_info(GetServiceInfoRequest {})).await {
            Ok(info) => Some(info),
            Err(failure) => {
                session.out.line(format!("sagactl {client} (contract {CONTRACT})"))?;
                return Err(failure);
            }
        }
    };
    let versions = Versions { client, contract: CONTRACT, server };
    if !session.out.whole(client, &versions)? {
        session.out.line(format!("sagactl {client} (contract {CONTRACT})"))?;
        if let Some(info) = &versions.server {
            let (service, version) = (harmless(&info.service), harmless(&info.version));
            session.out.line(format!("{service} {version} (contract {})", harmless(&info.contract)))?;
            let (actor, above) = (or_dash(&info.actor), info.approval_above);
            session.out.line(format!("you act as {actor}; plans for more than {above} sagas need a second person"))?;
        }
    }
    match versions.server {
        Some(info) if info.contract.split('.').next() != Some(CONTRACT) => Err(Failure::Failed(format!(
            "the server speaks contract {}, this program {CONTRACT}: use the sagactl of the server's release",
            harmless(&info.contract)
        ))),
        Some(_) | None => Ok(()),
    }
}
