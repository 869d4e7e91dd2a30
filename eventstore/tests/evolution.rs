//! An aggregate whose events have changed their shapes twice since their first release.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventstore::memory::{CountingIds, MemoryClock};
use eventstore::worker::{Handler, Limits, Shell, SubmitError, Worker, WorkerHandle};
use eventstore::{
    Aggregate, Append, Category, Clock, Commit, DomainEvent as _, EventId, EventStore, Need, NewEvent, Undecodable,
    Unfit, Unit, Version, golden,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{account, cause, memory};
use uuid::Uuid;

/// Shapes of `BedPlanted`: v1 had one `crop`; v2 had `crops`; v3 says how many plants of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum BedEvent {
    BedPlanted { plants: Vec<Plants> },
    BedWatered,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Plants {
    crop: String,
    count: u32,
}

fn crop_to_crops(mut body: Value) -> Result<Value, Unfit> {
    match body.get_mut("crop").map(Value::take) {
        Some(Value::String(crop)) => Ok(json!({ "crops": [crop] })),
        Some(_) | None => Err(Unfit::new("there is no crop")),
    }
}

fn crops_to_plants(mut body: Value) -> Result<Value, Unfit> {
    let Some(Value::Array(crops)) = body.get_mut("crops").map(Value::take) else {
        return Err(Unfit::new("there are no crops"));
    };
    let plants: Vec<Value> = crops.into_iter().map(|crop| json!({ "crop": crop, "count": 1 })).collect();
    Ok(json!({ "plants": plants }))
}

eventstore::event_types! {
    BedEvent {
        Self::BedPlanted { .. } => "BedPlanted", from [crop_to_crops, crops_to_plants];
        Self::BedWatered => "BedWatered";
    }
}

/// How many plants stand in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bed(u32);

impl Aggregate for Bed {
    const CATEGORY: Category = Category::new("bed");
    type Event = BedEvent;

    fn evolve(self, event: &BedEvent) -> Self {
        match event {
            BedEvent::BedPlanted { plants } => Self(self.0 + plants.iter().map(|plants| plants.count).sum::<u32>()),
            BedEvent::BedWatered => self,
        }
    }
}

/// Waters a bed and says how many plants that was good for.
struct Gardener;

impl Handler for Gardener {
    type Input = Uuid;
    type Output = u32;
    type Error = Need;

    fn handle(&self, unit: &mut Unit<'_>, bed: &Uuid) -> Result<u32, Need> {
        let plants = unit.get::<Bed>(*bed)?.0;
        unit.record::<Bed>(*bed, &[BedEvent::BedWatered])?;
        Ok(plants)
    }
}

async fn stored(store: &dyn EventStore, bed: Uuid, events: &[(&'static str, u16, &str)]) {
    let events = events.iter().enumerate().map(|(index, (type_name, schema_version, payload))| NewEvent {
        id: EventId(CountingIds::id(9, (bed.as_u128() as u64).wrapping_mul(100).wrapping_add(index as u64))),
        type_name,
        schema_version: *schema_version,
        payload: (*payload).to_owned(),
        time: support::noon(),
        cause: cause(1),
    });
    let append = Append::new(Bed::stream(bed), Version::NONE, None, events.collect());
    store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
}

fn gardener(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>) -> WorkerHandle<Gardener> {
    let shell = Shell { store, clock, ids: Arc::new(CountingIds::new(7)), listeners: Vec::new() };
    let (worker, handle) = Worker::new(Gardener, shell, Limits::default());
    #[expect(clippy::disallowed_methods, reason = "it ends with its handle")]
    drop(tokio::spawn(worker.run()));
    handle
}

#[test]
fn every_released_shape_becomes_todays() {
    let shapes = [
        (1, r#"{"BedPlanted":{"crop":"kale"}}"#),
        (2, r#"{"BedPlanted":{"crops":["kale"]}}"#),
        (3, r#"{"BedPlanted":{"plants":[{"crop":"kale","count":1}]}}"#),
    ];
    let planted = BedEvent::BedPlanted { plants: vec![Plants { crop: "kale".to_owned(), count: 1 }] };
    for (version, payload) in shapes {
        assert_eq!(BedEvent::decode("BedPlanted", version, payload).unwrap(), planted, "v{version}");
    }
    assert_eq!(planted.event_type().version(), 3);
    assert_eq!(BedEvent::decode("BedWatered", 1, r#""BedWatered""#).unwrap(), BedEvent::BedWatered);
}

#[test]
fn a_shape_is_read_by_its_stored_version_not_by_its_looks() {
    let old_looks = BedEvent::decode("BedPlanted", 3, r#"{"BedPlanted":{"crop":"kale"}}"#);
    assert!(matches!(old_looks, Err(Undecodable::Damaged(_))), "{old_looks:?}");
    let new_looks = BedEvent::decode("BedPlanted", 1, r#"{"BedPlanted":{"plants":[]}}"#);
    assert!(matches!(new_looks, Err(Undecodable::Unfit { version: 1, .. })), "{new_looks:?}");
}

#[test]
fn what_is_of_a_newer_program_is_told_from_what_is_damaged() {
    let newer = [BedEvent::decode("BedMulched", 1, r#""BedMulched""#), BedEvent::decode("BedPlanted", 4, "{}")];
    assert!(newer.iter().all(|read| read.as_ref().is_err_and(Undecodable::is_newer)), "{newer:?}");
    let damaged = [
        BedEvent::decode("BedWatered", 1, "garbage"),
        BedEvent::decode("BedWatered", 0, r#""BedWatered""#),
        BedEvent::decode("BedWatered", 1, r#"{"BedPlanted":{"plants":[]}}"#),
        BedEvent::decode("BedPlanted", 2, r#"{"BedSown":{"crops":[]}}"#),
        BedEvent::decode("BedPlanted", 1, r#"["BedPlanted"]"#),
    ];
    for read in damaged {
        assert!(read.as_ref().is_err_and(|error| !error.is_newer()), "{read:?}");
    }
}

#[test]
fn fields_that_a_program_does_not_know_are_passed_over() {
    let read = BedEvent::decode("BedPlanted", 3, r#"{"BedPlanted":{"plants":[],"moon":"full"}}"#).unwrap();
    assert_eq!(read, BedEvent::BedPlanted { plants: Vec::new() });
}

#[tokio::test]
async fn a_stream_of_a_newer_program_is_parked_and_its_neighbours_go_on() {
    let store = memory();
    let planted = ("BedPlanted", 2, r#"{"BedPlanted":{"crops":["kale","leek"]}}"#);
    stored(&*store, account(1), &[planted]).await;
    stored(&*store, account(2), &[planted, ("FromTheFuture", 1, "{}")]).await;
    stored(&*store, account(3), &[planted, ("BedWatered", 1, "{}")]).await;
    let gardener = gardener(store.clone(), Arc::new(MemoryClock::of(&store)));

    let (fine, newer, damaged) = tokio::join!(
        gardener.submit(account(1), cause(11)),
        gardener.submit(account(2), cause(12)),
        gardener.submit(account(3), cause(13)),
    );
    assert_eq!(fine.unwrap().output, 2);
    let Err(SubmitError::Parked(Need::Newer { stream, reason })) = newer else { panic!("{newer:?}") };
    assert_eq!(stream, Bed::stream(account(2)));
    assert!(reason.contains("FromTheFuture v1"), "{reason}");
    assert!(matches!(damaged, Err(SubmitError::Parked(Need::Broken { .. }))), "{damaged:?}");
    let kept = store.read_streams(&[(Bed::stream(account(2)), Version::NONE)], 10).await.unwrap();
    assert_eq!(kept.len(), 2, "nothing is added to a parked stream");
}

fn beds() -> [(&'static str, BedEvent); 2] {
    let plants = vec![Plants { crop: "kale".to_owned(), count: 12 }];
    [("", BedEvent::BedPlanted { plants }), ("", BedEvent::BedWatered)]
}

#[test]
fn every_event_of_a_bed_is_read_as_it_was_released() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    golden::check::<Bed>(folder, &beds()).unwrap();
}

/// What is found when a golden file is changed, removed (`None`), or added.
fn found(file: &str, content: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let bed = folder.path().join("bed");
    fs::create_dir(&bed).unwrap();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/bed")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, bed.join(path.file_name().unwrap())).unwrap();
    }
    match content {
        Some(content) => fs::write(bed.join(file), content).unwrap(),
        None => fs::remove_file(bed.join(file)).unwrap(),
    }
    golden::check::<Bed>(folder.path(), &beds()).map_or_else(|findings| findings.to_string(), |()| "nothing".to_owned())
}

#[test]
fn a_golden_file_that_is_changed_or_gone_is_found() {
    let planted = "{\"BedPlanted\":{\"crop\":\"beet\"}}\n";
    assert!(found("BedPlanted.v1.json", Some(planted)).contains("was released and is edited"));
    assert!(found("BedPlanted.v2.json", None).contains("was released and is gone"));
    assert!(found("BedPlanted.v1.late.json", Some(planted)).contains("is not in RELEASED"));
    assert!(found("BedPlanted.v1.now", Some("{}\n")).contains("is read as something else"));
}

#[test]
fn a_version_without_a_golden_file_is_found() {
    let list = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/bed/RELEASED")).unwrap();
    let shorter: String = list.lines().filter(|line| !line.contains(".v2.")).map(|line| format!("{line}\n")).collect();
    let findings = found("RELEASED", Some(&shorter));
    assert!(findings.contains("BedPlanted.v2.json: is not in RELEASED"), "{findings}");
    let gone = found("BedWatered.v1.json", None);
    assert!(gone.contains("BedWatered.v1.json: is missing: every type and version"), "{gone}");
}

#[test]
fn a_shape_that_was_changed_without_a_new_version_is_found() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let fewer = BedEvent::BedPlanted { plants: Vec::new() };
    let findings = golden::check::<Bed>(folder, &[("", fewer)]).unwrap_err().to_string();
    assert!(findings.contains("BedPlanted.v3.json: is not what is written today"), "{findings}");
}
