//! `sagactl dlq`: messages that the saga service could not handle.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::dead_letter::State;
use farmera_proto::saga::v1::group_dead_letters_response::Group;

use crate::act::selection::{bare, names};
use crate::act::{self, Course, Wanted};
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, counted, grouped, harmless, harmless_lines, or_dash, time};
use crate::output::{Listed, Listing, tell};
use crate::saga::exposure;
use crate::saga::list::rest;
use crate::session::Session;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List them, oldest first.
    List(List),
    /// Count them by cause and consumer, with what their sagas hold.
    Groups,
    /// Show one with its headers and body.
    Show {
        /// Its number.
        id: String,
    },
    /// Hand the lines of letters out again, oldest first.
    Redrive(Act),
    /// End letters without handling them.
    Discard(Act),
}

/// Which to list.
#[derive(Args, Debug)]
pub struct List {
    /// Only of this group.
    #[arg(long)]
    pub group: Option<String>,
    /// Only of this saga.
    #[arg(long, value_name = "ID")]
    pub saga: Option<String>,
    /// Those that have ended, too.
    #[arg(long)]
    pub all: bool,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
}

/// An act on letters.
#[derive(Args, Debug)]
pub struct Act {
    /// Letters by number; `-` reads them from standard input, as `-o name` prints them.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Or all of this group.
    #[arg(long, conflicts_with = "ids")]
    pub group: Option<String>,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

impl Act {
    fn selection(&self) -> Result<pb::Selection, Failure> {
        if let Some(letter_group) = self.group.clone() {
            return Ok(pb::Selection { letter_group, ..pb::Selection::default() });
        }
        let letter_ids =
            names(self.ids.clone(), "letter/")?.iter().map(|name| number(name)).collect::<Result<Vec<_>, _>>()?;
        if letter_ids.is_empty() {
            return Err(Failure::Usage("say which letters: numbers, - for standard input, or --group".to_owned()));
        }
        Ok(pb::Selection { letter_ids, ..pb::Selection::default() })
    }
}

fn number(name: &str) -> Result<i64, Failure> {
    let senseless = || Failure::Usage(format!("{name:?} is no letter; expected a number, see `sagactl dlq list`"));
    bare(name, "letter/").parse().map_err(|_| senseless())
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "UNKNOWN",
        State::Waiting => "WAITING",
        State::Redriving => "REDRIVING",
        State::Redriven => "REDRIVEN",
        State::Discarded => "DISCARDED",
    }
}

impl Listed for pb::DeadLetter {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("CONSUMER"),
        Column::left("KEY"),
        Column::left("REASON"),
        Column::right("TRIES"),
        Column::right("AGE"),
        Column::left("GROUP").wide(),
        Column::left("SUBJECT").wide(),
        Column::left("LAST-ERROR").wide(),
    ];

    fn name(&self) -> String {
        format!("letter/{}", self.id)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let tone = match self.state() {
            State::Waiting => Tone::Bad,
            State::Redriving | State::Discarded | State::Unspecified => Tone::Uneasy,
            State::Redriven => Tone::Good,
        };
        vec![
            self.id.to_string().into(),
            Cell::toned(state_name(self.state()), tone),
            or_dash(&self.consumer).into(),
            or_dash(&self.key).into(),
            or_dash(&self.reason).into(),
            self.attempts.to_string().into(),
            age(time(self.park_time.as_ref()), now).into(),
            or_dash(&self.group).into(),
            or_dash(&self.subject).into(),
            or_dash(&self.last_error).into(),
        ]
    }
}

impl Listed for Group {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("CAUSE"),
        Column::left("CONSUMER"),
        Column::left("MESSAGE"),
        Column::right("COUNT"),
        Column::right("LINES"),
        Column::right("EXPOSURE"),
        Column::right("FIRST"),
        Column::right("LAST"),
        Column::left("PARTICIPANT").wide(),
        Column::right("SAMPLE").wide(),
    ];

    fn name(&self) -> String {
        self.group.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            self.group.as_str().into(),
            or_dash(&self.cause).into(),
            or_dash(&self.consumer).into(),
            or_dash(&self.message).into(),
            grouped(self.count).into(),
            grouped(self.lines).into(),
            exposure::shown(&self.exposures).into(),
            age(time(self.first_time.as_ref()), now).into(),
            age(time(self.last_time.as_ref()), now).into(),
            or_dash(&self.participant).into(),
            self.sample_id.to_string().into(),
        ]
    }
}

/// Does it.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List(list) => self::list(list, session).await,
        Command::Groups => groups(session).await,
        Command::Show { id } => show(&id, session).await,
        Command::Redrive(act) => {
            let selection = act.selection();
            act::run(Wanted::plain("dlq redrive", Kind::Redrive), selection, act.course, session).await
        }
        Command::Discard(act) => {
            let selection = act.selection();
            act::run(Wanted::plain("dlq discard", Kind::Discard), selection, act.course, session).await
        }
    }
}

async fn list(list: List, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let mut listing = Listing::begin::<pb::DeadLetter>(&session.out);
    let mut page_token = String::new();
    let saga_id = list.saga.as_deref().map(|id| bare(id, "saga/").to_owned()).unwrap_or_default();
    loop {
        let request = pb::ListDeadLettersRequest {
            page_size: rest(list.limit, listing.count()),
            page_token,
            with_ended: list.all,
            group: list.group.clone().unwrap_or_default(),
            saga_id: saga_id.clone(),
            with_bodies: false,
        };
        let page = server.ask(server.machinery().list_dead_letters(request)).await?;
        listing.page(&mut session.out, &page.letters)?;
        page_token = page.next_page_token;
        if page_token.is_empty() || (list.limit > 0 && listing.count() >= list.limit) {
            break;
        }
    }
    let count = listing.count();
    listing.end(&mut session.out)?;
    if session.out.is_for_people() {
        tell(if count == 0 { "no dead letters" } else { "Next: sagactl dlq show ID, or by cause: sagactl dlq groups" });
    }
    Ok(())
}

async fn groups(session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let answer = server.ask(server.machinery().group_dead_letters(pb::GroupDeadLettersRequest {})).await?;
    session.out.list(&answer.groups)?;
    if session.out.is_for_people() {
        let count = answer.groups.iter().map(|group| group.count).sum();
        let next = "Next: sagactl dlq redrive --group NAME --reason WHY --plan";
        tell(if count == 0 { "no dead letters".to_owned() } else { format!("{}. {next}", counted(count, "letter")) });
    }
    Ok(())
}

async fn show(id: &str, session: &mut Session) -> Result<(), Failure> {
    let number = number(id)?;
    let letter = find(number, session).await?;
    let out = &mut session.out;
    if out.whole(&letter.name(), &letter)? {
        return Ok(());
    }
    out.list(std::slice::from_ref(&letter))?;
    for (name, text) in [
        ("subject", &letter.subject),
        ("message", &letter.message_id),
        ("group", &letter.group),
        ("last error", &letter.last_error),
        ("headers", &letter.headers_json),
    ] {
        out.line(format!("{name:<11} {}", or_dash(text)))?;
    }
    out.line(format!("body\n{}", harmless_lines(&letter.body)))?;
    if let Some(saga) = letter.key.strip_prefix("saga/") {
        out.tell(format!("Next: sagactl saga explain {}", harmless(saga)))?;
    }
    Ok(())
}

/// The contract lists letters; one of them is looked for page by page, oldest first.
async fn find(number: i64, session: &Session) -> Result<pb::DeadLetter, Failure> {
    let server = session.server()?;
    let mut page_token = String::new();
    loop {
        let request = pb::ListDeadLettersRequest {
            page_size: 100,
            page_token,
            with_ended: true,
            with_bodies: true,
            ..pb::ListDeadLettersRequest::default()
        };
        let page = server.ask(server.machinery().list_dead_letters(request)).await?;
        if let Some(letter) = page.letters.into_iter().find(|letter| letter.id == number) {
            return Ok(letter);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Err(Failure::NotFound(format!("there is no letter {number}; see `sagactl dlq list --all`")));
        }
    }
}
