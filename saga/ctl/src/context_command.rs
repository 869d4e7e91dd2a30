//! `sagactl context`: choose whom to talk to.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use crate::context::{Context, Contexts, LOCAL};
use crate::failure::Failure;
use crate::output::table::{Cell, Column};
use crate::output::words::or_dash;
use crate::output::{Listed, tell};
use crate::session::Session;

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List contexts; the current one is marked.
    List,
    /// Use a context from now on.
    Use {
        /// Its name.
        name: String,
    },
    /// Add a context, or replace one, from the address, actor and TLS flags of this command line.
    Add {
        /// Its name.
        name: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    current: bool,
    #[serde(flatten)]
    context: Context,
}

impl Listed for Row {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("CURRENT"),
        Column::left("ORDERS"),
        Column::left("ACTOR"),
        Column::left("PRODUCTS").wide(),
        Column::left("PAYMENT").wide(),
        Column::left("NOTIFICATION").wide(),
        Column::left("TLS-CA").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        let of = |text: &Option<String>| or_dash(text.as_deref().unwrap_or_default());
        let tls_ca = self.context.tls_ca.as_ref().map(|path| path.display().to_string());
        vec![
            self.name.as_str().into(),
            if self.current { "*" } else { "" }.into(),
            of(&self.context.orders).into(),
            of(&self.context.actor).into(),
            of(&self.context.products).into(),
            of(&self.context.payment).into(),
            of(&self.context.notification).into(),
            of(&tls_ca).into(),
        ]
    }
}

/// Does it.
///
/// # Errors
/// [`Failure::Usage`] for names and files that are not there, [`Failure::Failed`] when the file cannot be written.
pub fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    let path = session.config();
    let mut contexts = Contexts::load(&path)?;
    match command {
        Command::List => list(&contexts, session),
        Command::Use { name } => {
            // A name that is not there is refused by whoever looks it up.
            let _known = contexts.chosen(Some(&name), None)?;
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            tell(format!("context/{name} is used from now on"));
            Ok(())
        }
        Command::Add { name } => {
            let said = session.globals.said();
            if said == Context::default() {
                return Err(Failure::Usage(format!(
                    "nothing is said about {name}: give at least --orders-url URL, see `sagactl context add --help`"
                )));
            }
            let replaced = contexts.contexts.insert(name.clone(), said).is_some();
            contexts.save(&path)?;
            let what = if replaced { "replaced" } else { "added" };
            tell(format!("context/{name} {what} in {}; use it: sagactl context use {name}", path.display()));
            Ok(())
        }
    }
}

fn list(contexts: &Contexts, session: &mut Session) -> Result<(), Failure> {
    let mut all = contexts.contexts.clone();
    all.entry(LOCAL.to_owned()).or_default();
    let current = session.globals.context.clone().or_else(|| contexts.current.clone());
    let current = current.unwrap_or_else(|| LOCAL.to_owned());
    let rows: Vec<Row> = all
        .into_iter()
        .map(|(name, context)| Row { current: name == current, context: Context::local(None).overlaid(context), name })
        .collect();
    session.out.list(&rows)
}
