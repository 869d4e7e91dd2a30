//! Sagas, event by event, by rules written anew here: a judge must not borrow the accused's own reading of the law.

use std::collections::{BTreeMap, BTreeSet};

use farmera::failure::Failure;
use futures::TryStreamExt as _;
use uuid::Uuid;

use crate::checks::{Evidence, Found, unreadable};

/// The steps that can be undone, in their order.
const UNDOABLE: [&str; 2] = ["reserve-inventory", "authorize-payment"];
/// From here on nothing is undone.
const PIVOT: &str = "confirm";
const NO_ANSWER: &str = "no answer in time";

/// What the four invariants of sagas found.
#[derive(Debug, Default)]
pub(super) struct Sagas {
    pub(super) legal: Found,
    pub(super) terminal: Found,
    pub(super) compensated: Found,
    pub(super) timers: Found,
}

#[derive(sqlx::FromRow)]
struct Row {
    stream_id: Uuid,
    version: i64,
    type_name: String,
    step: Option<String>,
    detail: Option<String>,
    /// Microseconds between the deadline that the event sets and the event; of events that set one.
    deadline: Option<i64>,
    /// Microseconds since 1970.
    at: i64,
}

/// One saga so far.
#[derive(Default)]
struct Path {
    started: bool,
    ended: Option<String>,
    pivoted: bool,
    undoing: bool,
    requested: Vec<String>,
    rejected: BTreeSet<String>,
    undo_requested: BTreeSet<String>,
    undone: BTreeMap<String, u64>,
    deadlines: BTreeMap<String, i64>,
}

pub(super) async fn judge(evidence: &mut Evidence<'_>) -> Result<Sagas, Failure> {
    let mut sagas = Sagas::default();
    let database = evidence.of("orders")?;
    let rows = sqlx::query_as::<_, Row>(
        "select
            stream_id,
            version,
            type as type_name,
            payload->type->>'step' as step,
            payload->type->>'detail' as detail,
            (extract(epoch from (payload->type->>'deadline')::timestamptz) * 1000000)::bigint as deadline,
            (extract(epoch from time) * 1000000)::bigint as at
         from event
         where category = 'saga'
         order by stream_id, version",
    );
    let mut rows = rows.fetch(&mut *database);
    let mut current: Option<(Uuid, Path)> = None;
    while let Some(row) = rows.try_next().await.map_err(unreadable)? {
        if current.as_ref().is_none_or(|(id, _)| *id != row.stream_id) {
            if let Some((id, path)) = current.take() {
                end(&mut sagas, id, &path);
            }
            current = Some((row.stream_id, Path::default()));
        }
        if let Some((_, path)) = &mut current {
            sagas.legal.checked += 1;
            follow(&mut sagas, path, &row);
        }
    }
    if let Some((id, path)) = current {
        end(&mut sagas, id, &path);
    }
    drop(rows);
    sagas.timers.add(timers(database).await?);
    Ok(sagas)
}

fn follow(sagas: &mut Sagas, path: &mut Path, row: &Row) {
    let saga = row.stream_id;
    let step = row.step.clone().unwrap_or_default();
    let illegal = |sagas: &mut Sagas, what: &str| {
        sagas.legal.wrong.push(format!("saga {saga} version {}: {} {step}: {what}", row.version, row.type_name));
    };
    if path.ended.is_some() && row.type_name != "SagaResumed" {
        sagas.terminal.wrong.push(format!("saga {saga} goes on after its end: {}", row.type_name));
    }
    if !path.started && row.type_name != "SagaStarted" {
        illegal(sagas, "before its start");
    }
    match row.type_name.as_str() {
        "SagaStarted" => path.started = true,
        "StepRequested" => {
            if path.undoing {
                illegal(sagas, "asked for on the way back");
            }
            if !path.requested.contains(&step) {
                path.requested.push(step.clone());
            }
            path.deadlines.insert(step, row.deadline.unwrap_or(0));
        }
        "StepSucceeded" if step == PIVOT => path.pivoted = true,
        "StepSucceeded" | "StepRejected" => {
            if !path.requested.contains(&step) {
                illegal(sagas, "answered and never asked for");
            }
            if row.type_name == "StepRejected" {
                path.rejected.insert(step);
            }
        }
        "CompensationStarted" => {
            if path.pivoted {
                illegal(sagas, "undone after the point of no return");
            }
            path.undoing = true;
        }
        "CompensationRequested" => {
            if !path.requested.contains(&step) || path.rejected.contains(&step) {
                illegal(sagas, "undone and never done");
            }
            let younger = path.requested.iter().skip_while(|requested| **requested != step).skip(1);
            let mut waiting = younger.filter(|one| {
                UNDOABLE.contains(&one.as_str()) && !path.rejected.contains(*one) && !path.undone.contains_key(*one)
            });
            if waiting.next().is_some() {
                illegal(sagas, "undone before its younger siblings");
            }
            path.undo_requested.insert(step.clone());
            path.deadlines.insert(step, row.deadline.unwrap_or(0));
        }
        "CompensationSucceeded" => {
            if !path.undo_requested.contains(&step) {
                illegal(sagas, "undone and never asked to");
            }
            *path.undone.entry(step).or_default() += 1;
        }
        "StepUnknown" | "CompensationFailed" if row.detail.as_deref() == Some(NO_ANSWER) => {
            sagas.timers.checked += 1;
            if path.deadlines.get(&step).is_some_and(|deadline| row.at < *deadline) {
                sagas.timers.wrong.push(format!("saga {saga} gave {step} up before its deadline"));
            }
        }
        "SagaCompleted" | "SagaCompensated" | "SagaAbandoned" => path.ended = Some(row.type_name.clone()),
        _ => {} // names of events, not a variant of ours: the rest changes no path
    }
}

fn end(sagas: &mut Sagas, saga: Uuid, path: &Path) {
    sagas.terminal.checked += u64::from(path.ended.is_some());
    if path.ended.as_deref() != Some("SagaCompensated") {
        return;
    }
    for step in path.requested.iter().filter(|step| UNDOABLE.contains(&step.as_str())) {
        sagas.compensated.checked += 1;
        let undone = path.undone.get(step).copied().unwrap_or(0);
        let wanted = u64::from(!path.rejected.contains(step));
        if undone != wanted {
            sagas.compensated.wrong.push(format!("saga {saga} has undone {step} {undone} times, not {wanted}"));
        }
    }
}

/// Whoever waits has a timer, and whoever has ended has none.
async fn timers(database: &mut sqlx::PgConnection) -> Result<Found, Failure> {
    let query = "
        select
            count(*),
            count(*) filter (where ended and timer.stream_id is not null),
            count(*) filter (where not ended and not parked and timer.stream_id is null)
        from (
            select
                stream_id,
                bool_or(type in ('SagaCompleted', 'SagaCompensated', 'SagaAbandoned')) as ended,
                bool_or(type = 'SagaParked') as parked
            from event
            where category = 'saga'
            group by stream_id
        ) as saga
        left join timer on timer.stream_id = saga.stream_id and timer.category = 'saga'";
    let (checked, left, missing): (i64, i64, i64) =
        sqlx::query_as(query).fetch_one(database).await.map_err(unreadable)?;
    let mut found = Found { checked: u64::try_from(checked).unwrap_or(0), wrong: Vec::new() };
    if left != 0 {
        found.wrong.push(format!("{left} sagas have ended and are still armed"));
    }
    if missing != 0 {
        found.wrong.push(format!("{missing} sagas wait without a timer"));
    }
    Ok(found)
}
