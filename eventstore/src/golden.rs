//! Golden files: every shape of every event that was ever released, kept as it is stored.
//!
//! A folder per category holds one file per released shape, `<Type>.v<version>[.<variant>].json`: the payload, byte for
//! byte. Variants are there for fields that may be absent, and for what differs inside. Beside it stand
//!
//! * `RELEASED`, a digest per file, as `sha256sum` writes it: a released shape is never edited and never removed;
//! * `<Type>.v<version>[.<variant>].now` for every shape that is not today's: how today's program writes the same event.
//!
//! [`check`] proves that every file decodes to what it should, that what is written today is what is released, and that
//! no type or version of the program is without a file. With `GOLDEN=write` in the environment it adds what is missing
//! first, and changes nothing that is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use crate::{Aggregate, DomainEvent, EventType};

/// Everything that is not as it should be, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Findings(Vec<String>);

/// Checks the files of `A` below `folder` (`tests/golden`). `samples` are events of today's shapes, each with the name of
/// its variant, or "" for the first one: at least one per type, fields that may be absent in both forms.
///
/// # Errors
/// [`Findings`]: what is missing, was changed, or is read wrongly, and what to do about it.
pub fn check<A: Aggregate>(folder: &Path, samples: &[(&str, A::Event)]) -> Result<(), Findings> {
    let mut category = Files { folder: folder.join(A::CATEGORY.as_str()), findings: Vec::new() };
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        category.write(samples);
    }
    category.check_samples(samples);
    category.check_files::<A::Event>();
    if category.findings.is_empty() { Ok(()) } else { Err(Findings(category.findings)) }
}

struct Files {
    folder: PathBuf,
    findings: Vec<String>,
}

/// `OrderPlaced.v1.gift.json`.
fn file_of<E: DomainEvent>(variant: &str, event: &E) -> String {
    let dot = if variant.is_empty() { "" } else { "." };
    format!("{}.v{}{dot}{variant}.json", event.type_name(), event.event_type().version())
}

/// The type and the version in a file's name.
fn named(file: &str) -> Option<(&str, u16)> {
    let (type_name, rest) = file.split_once(".v")?;
    Some((type_name, rest.split('.').next()?.parse().ok()?))
}

fn digest(payload: &str) -> String {
    Sha256::digest(payload.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a file without the line's end.
fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

impl Files {
    fn find(&mut self, file: &str, what: impl AsRef<str>) {
        self.findings.push(format!("{}: {}", self.folder.join(file).display(), what.as_ref()));
    }

    /// The payloads by file name.
    fn payloads(&mut self) -> BTreeMap<String, String> {
        let mut payloads = BTreeMap::new();
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json")) {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match read(&path) {
                Ok(payload) => drop(payloads.insert(file, payload)),
                Err(error) => self.find(&file, error.to_string()),
            }
        }
        payloads
    }

    /// The digests by file name.
    fn released(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.folder.join("RELEASED")).unwrap_or_default();
        let entry = |line: &str| line.split_once("  ").map(|(digest, file)| (file.to_owned(), digest.to_owned()));
        text.lines().filter_map(entry).collect()
    }

    /// Adds the files that are missing; they are released from now on.
    fn write<E: DomainEvent>(&mut self, samples: &[(&str, E)]) {
        let mut released = self.released();
        let before = released.len();
        let added = samples.iter().map(|(variant, event)| (file_of(variant, event), event));
        for (file, event) in added.collect::<Vec<_>>() {
            let path = self.folder.join(&file);
            if path.exists() || released.contains_key(&file) {
                continue;
            }
            let payload = serde_json::to_string(event).unwrap_or_default() + "\n";
            let written = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&path, &payload));
            match written {
                Ok(()) => drop(released.insert(file, digest(&payload))),
                Err(error) => self.find(&file, error.to_string()),
            }
        }
        if released.len() == before {
            return;
        }
        let list: String = released.iter().map(|(file, digest)| format!("{digest}  {file}\n")).collect();
        if let Err(error) = fs::write(self.folder.join("RELEASED"), list) {
            self.find("RELEASED", error.to_string());
        }
    }

    /// What is written today is what is released.
    fn check_samples<E: DomainEvent>(&mut self, samples: &[(&str, E)]) {
        let payloads = self.payloads();
        for (variant, event) in samples {
            let file = file_of(variant, event);
            let today = serde_json::to_string(event).unwrap_or_default();
            match payloads.get(&file) {
                None => self.find(&file, "is missing: run the test with GOLDEN=write, once, and commit what it adds"),
                Some(released) if *released != today => {
                    self.find(
                        &file,
                        format!("is not what is written today: give the event a new version\n  {released}\n  {today}"),
                    );
                }
                Some(_) => {}
            }
        }
    }

    /// Every file is as it was released and is read as it should be; every type and version has one.
    fn check_files<E: DomainEvent>(&mut self) {
        let (payloads, released) = (self.payloads(), self.released());
        for file in released.keys().filter(|file| !payloads.contains_key(*file)) {
            self.find(file, "was released and is gone: restore it");
        }
        for (file, payload) in &payloads {
            match released.get(file) {
                None => self.find(file, "is not in RELEASED: run the test with GOLDEN=write"),
                Some(known) if *known != digest(&format!("{payload}\n")) => {
                    self.find(file, "was released and is edited: restore it, and give the event a new version");
                }
                Some(_) => self.check_decoded::<E>(file, payload),
            }
        }
        let missing = |known: &EventType| {
            let (name, versions) = (known.name(), 1..=known.version());
            let has = |version: &u16| payloads.keys().any(|file| named(file) == Some((name, *version)));
            versions
                .filter(|version| !has(version))
                .map(|version| format!("{name}.v{version}.json"))
                .collect::<Vec<_>>()
        };
        for file in E::TYPES.iter().flat_map(missing).collect::<Vec<_>>() {
            self.find(&file, "is missing: every type and version has a golden file; add a sample");
        }
    }

    fn check_decoded<E: DomainEvent>(&mut self, file: &str, payload: &str) {
        let Some((type_name, version)) = named(file) else {
            return self.find(file, "is not called <Type>.v<version>[.<variant>].json");
        };
        let event = match E::decode(type_name, version, payload) {
            Ok(event) => event,
            Err(error) => return self.find(file, format!("cannot be read any more: {error}")),
        };
        let now = serde_json::to_string(&event).unwrap_or_default();
        let current = event.event_type().version() == version;
        let expected = if current {
            payload.to_owned()
        } else {
            read(&self.folder.join(file).with_extension("now")).unwrap_or_default()
        };
        if now != expected {
            self.find(file, format!("is read as something else\n  expected {expected}\n  found    {now}"));
        }
    }
}
