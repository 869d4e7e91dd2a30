//! The invariants, judged from outside after quiet. [`INVARIANTS`] is the list.
//!
//! Three kinds of evidence: what the load client and the provider wrote down ([`Testimony`], the journal), the event stores as their owners read them,
//! and the services' own answers ([`Books`]). SQL over events stands here, too: a witness must not read through the code
//! that it judges.

mod goods;
mod heard;
mod log;
mod money;
mod promises;
mod sagas;
mod surroundings;

use std::collections::BTreeMap;
use std::path::Path;

use farmera::failure::Failure;
use farmera::invariants::{Books, Verdict};
use farmera::services::SERVICES;
use sqlx::{Connection as _, PgConnection};

use crate::ground::Ground;
use crate::report::Finding;
use crate::supervisor::Tally;
use crate::witness::Testimony;

pub use log::Prefix;
pub use surroundings::{Footprint, alarms};

/// What must hold, whatever happens: its number, the claim, and what is read to judge it. I20 to I22 are of a service
/// alone and judged by its own tests; a number is never given twice.
pub const INVARIANTS: [(&str, &str, &str); 23] = [
    ("I1", "money is conserved", "provider's journal, order events, answers"),
    ("I2", "stock is conserved, at every moment", "answers, product events"),
    ("I3", "one charge per completed order", "provider's journal, order events, answers"),
    ("I4", "nothing ships without a charge", "products, payment events"),
    ("I5", "accepted is stored", "load log, order events"),
    ("I6", "refused is absent", "load log, order events"),
    ("I7", "versions are dense, whoever must hear has heard", "all events"),
    ("I8", "streams are in commit order", "all events"),
    ("I9", "effects happen once", "products, payment events"),
    ("I10", "what was written is still there, unchanged", "all events"),
    ("I11", "read models say what the log says", "events, read models"),
    ("I12", "sagas take legal paths, undo in reverse", "saga events"),
    ("I13", "nothing follows an end", "saga events"),
    ("I14", "what is undone is undone whole, once", "saga events"),
    ("I15", "one writer per version", "all events"),
    ("I16", "no action after its undoing", "products, payment events"),
    ("I17", "one key, one order", "load log"),
    ("I18", "timers fire in time, none is missing", "saga events, timers"),
    ("I19", "the outbox is empty", "outboxes"),
    ("I23", "every order has ended", "answers"),
    ("I24", "nothing waits, nothing was parked", "JetStream, dead letters"),
    ("I25", "files, connections, memory are as before", "/proc, Postgres"),
    ("I26", "no transaction is left open", "Postgres, logs"),
];

/// What a check has found: how many things it looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Found {
    /// Things looked at.
    pub checked: u64,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.wrong.extend(other.wrong);
    }
}

/// Everything there is to judge by.
pub struct Evidence<'a> {
    /// The servers.
    pub ground: &'a Ground,
    /// What the load client wrote down.
    pub testimony: &'a Testimony,
    /// What the provider wrote down: a file.
    pub journal: &'a Path,
    /// What the services say.
    pub books: &'a Books,
    /// What follows from that alone.
    pub verdicts: &'a [Verdict],
    /// How far each log went when it was looked at last, and what it said.
    pub prefixes: &'a mut BTreeMap<&'static str, Prefix>,
    /// What every service took before the first fault.
    pub baseline: &'a Footprint,
    /// What became of their processes.
    pub tallies: &'a BTreeMap<String, Tally>,
    /// One connection per service, as the owner of its database.
    pub databases: BTreeMap<&'static str, PgConnection>,
}

impl Evidence<'_> {
    fn of(&mut self, service: &'static str) -> Result<&mut PgConnection, Failure> {
        self.databases.get_mut(service).ok_or_else(|| Failure::Failed(format!("no database of {service}")))
    }
}

/// Connects to every database as its owner.
///
/// # Errors
/// [`Failure::Unavailable`]: Postgres does not answer.
pub async fn databases(ground: &Ground) -> Result<BTreeMap<&'static str, PgConnection>, Failure> {
    let mut all = BTreeMap::new();
    for service in &SERVICES {
        let connected = PgConnection::connect(&ground.owner_url(service.name)?).await;
        all.insert(service.name, connected.map_err(unreadable)?);
    }
    Ok(all)
}

fn unreadable(error: sqlx::Error) -> Failure {
    Failure::Unavailable(format!("the evidence cannot be read: {error}"))
}

/// Judges.
///
/// # Errors
/// [`Failure`]: the evidence cannot be read.
pub async fn judge(evidence: &mut Evidence<'_>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut add = |wanted: &'static str, found: Found| {
        let invariant = INVARIANTS.iter().find(|(id, ..)| *id == wanted);
        let (id, claim, reads) = invariant.copied().unwrap_or((wanted, "an invariant without words", ""));
        findings.push(Finding { id, claim, reads, checked: found.checked, wrong: found.wrong });
    };
    let money::Books { mut money, mut charges } = money::judge(evidence).await?;
    money.add(promises::verdict(evidence, "money is conserved"));
    charges.add(promises::verdict(evidence, "one charge per completed order"));
    add("I1", money);
    add("I2", goods::stock(evidence).await?);
    add("I3", charges);
    add("I4", goods::shipments(evidence).await?);
    add("I5", promises::accepted(evidence).await?);
    add("I6", promises::refused(evidence).await?);
    let mut heard = log::dense(evidence).await?;
    heard.add(heard::news(evidence).await?);
    add("I7", heard);
    add("I8", log::ordered(evidence).await?);
    add("I9", goods::once(evidence).await?);
    add("I10", log::append_only(evidence).await?);
    add("I11", log::read_models(evidence).await?);
    let sagas = sagas::judge(evidence).await?;
    add("I12", sagas.legal);
    add("I13", sagas.terminal);
    add("I14", sagas.compensated);
    add("I15", log::one_writer(evidence).await?);
    add("I16", goods::barrier(evidence).await?);
    add("I17", promises::idempotent(evidence));
    add("I18", sagas.timers);
    add("I19", log::outbox(evidence).await?);
    add("I23", promises::verdict(evidence, "every order ended"));
    add("I24", surroundings::backlog(evidence).await?);
    add("I25", surroundings::footprint(evidence).await?);
    add("I26", surroundings::connections(evidence).await?);
    Ok(findings)
}
