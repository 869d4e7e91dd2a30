//! `sagactl def`: the definitions of sagas.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::definition_step::Kind;

use crate::drawing::{Picture, kind_name};
use crate::failure::Failure;
use crate::output::table::{Cell, Column};
use crate::output::words::{grouped, harmless, length, or_dash};
use crate::output::{Listed, Out, tell};
use crate::replay;
use crate::saga::graph::Style;
use crate::session::Session;

/// What can be asked about definitions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List definitions, with how many sagas are bound to each.
    List,
    /// Show the steps of a definition and how long they usually take.
    Show(One),
    /// Draw a definition.
    Graph {
        /// Which.
        #[command(flatten)]
        one: One,
        /// How it is drawn.
        #[arg(long, value_enum, default_value_t)]
        format: Style,
    },
    /// Fold every saga with the server's program: exit code 1 when one would act otherwise than it did.
    Check,
}

/// Which definition.
#[derive(Args, Debug)]
pub struct One {
    /// Its name, or name@version; the newest version unless said otherwise.
    pub name: String,
}

impl Listed for pb::Definition {
    const COLUMNS: &'static [Column] =
        &[Column::left("NAME"), Column::right("STEPS"), Column::right("OPEN-SAGAS"), Column::left("HASH")];

    fn name(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        let steps: usize = self.stages.iter().map(|stage| stage.steps.len()).sum();
        vec![
            format!("{}@{}", self.name, self.version).into(),
            steps.to_string().into(),
            grouped(self.open_sagas).into(),
            self.hash.get(..12).unwrap_or(&self.hash).into(),
        ]
    }
}

impl Listed for pb::DefinitionStep {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("KIND"),
        Column::left("PARTICIPANT"),
        Column::right("WITHIN"),
        Column::right("TRIES"),
        Column::right("UNDO-TRIES"),
        Column::right("P50"),
        Column::right("P99"),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        let kind = match self.kind() {
            Kind::Compensatable => "can be undone",
            kind @ (Kind::Unspecified | Kind::Pivot | Kind::Retriable) => kind_name(kind),
        };
        let usual = self.usual.as_ref();
        let number = |number: u32| if number == 0 { "-".to_owned() } else { number.to_string() };
        vec![
            self.name.as_str().into(),
            kind.into(),
            if self.participant.is_empty() { "(local)" } else { &self.participant }.into(),
            duration(self.timeout.as_ref()).into(),
            number(self.attempts_max).into(),
            number(self.undo_attempts_max).into(),
            duration(usual.and_then(|usual| usual.p50.as_ref())).into(),
            duration(usual.and_then(|usual| usual.p99.as_ref())).into(),
        ]
    }
}

fn duration(duration: Option<&pbjson_types::Duration>) -> String {
    let Some(duration) = duration else { return "-".to_owned() };
    let seconds = u64::try_from(duration.seconds).unwrap_or(0);
    length(std::time::Duration::new(seconds, u32::try_from(duration.nanos).unwrap_or(0)))
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::NotFound`] when there is no such definition.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List => {
            let definitions = all(session).await?;
            session.out.list(&definitions)?;
            if session.out.is_for_people() {
                tell("Next: sagactl def show NAME");
            }
            Ok(())
        }
        Command::Show(one) => {
            let definition = find(&one, session).await?;
            show(&definition, &mut session.out)
        }
        Command::Graph { one, format } => {
            let definition = find(&one, session).await?;
            session.out.line(format.draw(&Picture::of_definition(&definition)))
        }
        Command::Check => replay::check("saga", session).await,
    }
}

fn show(definition: &pb::Definition, out: &mut Out) -> Result<(), Failure> {
    let name = Listed::name(definition);
    if out.whole(&name, definition)? {
        return Ok(());
    }
    out.line(format!(
        "{}  {} open sagas  hash {}",
        harmless(&name),
        grouped(definition.open_sagas),
        or_dash(&definition.hash)
    ))?;
    let steps: Vec<_> = definition.stages.iter().flat_map(|stage| stage.steps.iter().cloned()).collect();
    out.list(&steps)?;
    for stage in definition.stages.iter().filter(|stage| stage.steps.len() > 1) {
        let names: Vec<_> = stage.steps.iter().map(|step| harmless(&step.name)).collect();
        out.line(format!("at the same time: {}", names.join(", ")))?;
    }
    out.tell(format!("as a picture: sagactl def graph {name}; its sagas: sagactl saga list -q 'saga = {name}'"))
}

async fn all(session: &Session) -> Result<Vec<pb::Definition>, Failure> {
    let server = session.server()?;
    let request = pb::ListDefinitionsRequest::default();
    Ok(server.ask(server.sagas().list_definitions(request)).await?.definitions)
}

async fn find(one: &One, session: &Session) -> Result<pb::Definition, Failure> {
    let (name, version) = match one.name.split_once('@') {
        Some((name, version)) => {
            let version: u32 = version.parse().map_err(|_| {
                Failure::Usage(format!("{:?} is no definition; expected a name, or name@version", one.name))
            })?;
            (name, Some(version))
        }
        None => (one.name.as_str(), None),
    };
    let all = all(session).await?;
    let known: Vec<_> = all.iter().map(Listed::name).collect();
    all.into_iter()
        .filter(|definition| definition.name == name && version.is_none_or(|version| definition.version == version))
        .max_by_key(|definition| definition.version)
        .ok_or_else(|| {
            Failure::NotFound(format!("there is no definition {}; there are {}", one.name, known.join(", ")))
        })
}
