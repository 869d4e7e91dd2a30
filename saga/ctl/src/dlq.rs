//! `sagactl dlq`: messages that a service could not handle.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::dead_letter::State;
use farmera_proto::saga::v1::group_dead_letters_response::Group;

use crate::act::selection::{bare, names};
use crate::act::{self, Course, Wanted};
use crate::connection::Server;
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
    Groups {
        /// Only of this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// Show one with its headers and body.
    Show {
        /// Its name, as `dlq list` shows it: orders/12.
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
    /// Only of this group: orders/g-1a2b3c.
    #[arg(long)]
    pub group: Option<String>,
    /// Only of this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
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
    /// Letters of one service by name, such as orders/12; `-` reads them from standard input, as `-o name` prints them.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Or all of this group: orders/g-1a2b3c.
    #[arg(long, conflicts_with = "ids")]
    pub group: Option<String>,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

impl Act {
    /// Whose letters, and which.
    fn selection(&self) -> Result<(String, pb::Selection), Failure> {
        if let Some(group) = &self.group {
            let (service, letter_group) = place(group, "group", "orders/g-1a2b3c")?;
            let letter_group = letter_group.to_owned();
            return Ok((service.to_owned(), pb::Selection { letter_group, ..pb::Selection::default() }));
        }
        let names = names(self.ids.clone(), "")?;
        let places = names.iter().map(|name| number(name)).collect::<Result<Vec<_>, _>>()?;
        let service = places.first().map(|(service, _)| (*service).to_owned()).unwrap_or_default();
        if let Some((other, _)) = places.iter().find(|(other, _)| *other != service) {
            return Err(Failure::Usage(format!("a plan is one of one service: {service} and {other} are two")));
        }
        let letter_ids: Vec<i64> = places.into_iter().map(|(_, number)| number).collect();
        if letter_ids.is_empty() {
            return Err(Failure::Usage("say which letters: names, - for standard input, or --group".to_owned()));
        }
        Ok((service, pb::Selection { letter_ids, ..pb::Selection::default() }))
    }
}

/// A service and what is meant of it.
fn place<'a>(name: &'a str, what: &str, such_as: &str) -> Result<(&'a str, &'a str), Failure> {
    let sound = name.split_once('/').filter(|(service, rest)| !service.is_empty() && !rest.is_empty());
    sound.ok_or_else(|| {
        Failure::Usage(format!("{name:?} is no {what}; expected one such as {such_as}: sagactl dlq list"))
    })
}

fn number(name: &str) -> Result<(&str, i64), Failure> {
    let (service, number) = place(name, "letter", "orders/12")?;
    let senseless =
        || Failure::Usage(format!("{name:?} is no letter; expected one such as orders/12: sagactl dlq list"));
    Ok((service, number.parse().map_err(|_| senseless())?))
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
        format!("{}/{}", self.service, self.id)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let tone = match self.state() {
            State::Waiting => Tone::Bad,
            State::Redriving | State::Discarded | State::Unspecified => Tone::Uneasy,
            State::Redriven => Tone::Good,
        };
        vec![
            self.name().into(),
            Cell::toned(state_name(self.state()), tone),
            or_dash(&self.consumer).into(),
            or_dash(&self.key).into(),
            or_dash(&self.reason).into(),
            self.attempts.to_string().into(),
            age(time(self.park_time.as_ref()), now).into(),
            format!("{}/{}", self.service, self.group).into(),
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
        format!("{}/{}", self.service, self.group)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            self.name().into(),
            or_dash(&self.cause).into(),
            or_dash(&self.consumer).into(),
            or_dash(&self.message).into(),
            grouped(self.count).into(),
            grouped(self.lines).into(),
            exposure::shown(&self.exposures).into(),
            age(time(self.first_time.as_ref()), now).into(),
            age(time(self.last_time.as_ref()), now).into(),
            or_dash(&self.participant).into(),
            format!("{}/{}", self.service, self.sample_id).into(),
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
        Command::Groups { service } => groups(service.as_deref(), session).await,
        Command::Show { id } => show(&id, session).await,
        Command::Redrive(act) => self::act(Wanted::plain("dlq redrive", Kind::Redrive), act, session).await,
        Command::Discard(act) => self::act(Wanted::plain("dlq discard", Kind::Discard), act, session).await,
    }
}

async fn act(wanted: Wanted, act: Act, session: &mut Session) -> Result<(), Failure> {
    let (wanted, selection) = match act.selection() {
        Ok((service, selection)) => (Wanted { service, ..wanted }, Ok(selection)),
        Err(failure) => (wanted, Err(failure)),
    };
    act::run(wanted, selection, act.course, session).await
}

/// Those that are asked: the one that is named, or all.
fn asked(service: Option<&str>, session: &Session) -> Result<Vec<Server>, Failure> {
    match service {
        Some(name) => Ok(vec![session.server_of(name)?]),
        None => session.servers(),
    }
}

/// Service after service; whoever is away is told of at the end.
async fn list(list: List, session: &mut Session) -> Result<(), Failure> {
    let (service, group) = match &list.group {
        Some(group) => place(group, "group", "orders/g-1a2b3c").map(|(service, group)| (Some(service), group))?,
        None => (list.service.as_deref(), ""),
    };
    let saga_id = list.saga.as_deref().map(|id| bare(id, "saga/").to_owned()).unwrap_or_default();
    let mut listing = Listing::begin::<pb::DeadLetter>(&session.out);
    let mut away = None;
    for server in asked(service, session)? {
        let mut page_token = String::new();
        loop {
            let request = pb::ListDeadLettersRequest {
                page_size: rest(list.limit, listing.count()),
                page_token,
                with_ended: list.all,
                group: group.to_owned(),
                saga_id: saga_id.clone(),
                with_bodies: false,
            };
            let page = match server.ask(server.machinery().list_dead_letters(request)).await {
                Ok(page) => page,
                Err(failure) => {
                    away = away.or(Some(failure));
                    break;
                }
            };
            listing.page(&mut session.out, &page.letters)?;
            page_token = page.next_page_token;
            if page_token.is_empty() || is_full(list.limit, &listing) {
                break;
            }
        }
        if is_full(list.limit, &listing) {
            break;
        }
    }
    let count = listing.count();
    listing.end(&mut session.out)?;
    if session.out.is_for_people() && away.is_none() {
        tell(if count == 0 { "no dead letters" } else { "Next: sagactl dlq show ID, or by cause: sagactl dlq groups" });
    }
    away.map_or(Ok(()), Err)
}

fn is_full(limit: usize, listing: &Listing) -> bool {
    limit > 0 && listing.count() >= limit
}

async fn groups(service: Option<&str>, session: &mut Session) -> Result<(), Failure> {
    let (mut groups, mut away) = (Vec::new(), None);
    for server in asked(service, session)? {
        match server.ask(server.machinery().group_dead_letters(pb::GroupDeadLettersRequest {})).await {
            Ok(answer) => groups.extend(answer.groups),
            Err(failure) => away = away.or(Some(failure)),
        }
    }
    groups.sort_by_key(|group: &Group| Reverse(group.count));
    session.out.list(&groups)?;
    if session.out.is_for_people() && away.is_none() {
        let count = groups.iter().map(|group| group.count).sum();
        let next = "Next: sagactl dlq redrive --group NAME --reason WHY --plan";
        tell(if count == 0 { "no dead letters".to_owned() } else { format!("{}. {next}", counted(count, "letter")) });
    }
    away.map_or(Ok(()), Err)
}

async fn show(id: &str, session: &mut Session) -> Result<(), Failure> {
    let (service, number) = number(id)?;
    let letter = find(&session.server_of(service)?, number).await?;
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
async fn find(server: &Server, number: i64) -> Result<pb::DeadLetter, Failure> {
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
            return Err(Failure::NotFound(format!(
                "there is no letter {}/{number}; see `sagactl dlq list --all`",
                server.name
            )));
        }
    }
}
