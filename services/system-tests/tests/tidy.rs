//! The house in order. What the compiler cannot hold is held here; each test names its rule when it fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, &|path| path.extension().is_some_and(|extension| extension == "rs"))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The workspace packages that each package depends on, tests left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let manifests = files(&root(), &|path| path.file_name().is_some_and(|name| name == "Cargo.toml"));
    let manifests = manifests.iter().map(|path| fs::read_to_string(path).unwrap());
    let parsed: Vec<(String, String)> = manifests.filter_map(|text| Some((name_of(&text)?, text))).collect();
    let names: Vec<String> = parsed.iter().map(|(name, _)| name.clone()).collect();
    parsed
        .iter()
        .map(|(name, text)| {
            let of = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
            let ours = section(text, "[dependencies]").map(of).filter(|dependency| names.contains(dependency));
            (name.clone(), ours.collect())
        })
        .collect()
}

fn name_of(manifest: &str) -> Option<String> {
    let line = section(manifest, "[package]").find(|line| line.starts_with("name"))?;
    Some(line.split('"').nth(1)?.to_owned())
}

fn section<'a>(manifest: &'a str, header: &str) -> impl Iterator<Item = &'a str> {
    let start = manifest.lines().skip_while(move |line| *line != header).skip(1).collect::<Vec<_>>();
    start.into_iter().take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty())
}

#[test]
fn every_package_depends_only_on_the_layers_below_it() {
    const SERVICES: [&str; 4] = ["products", "orders", "payment", "notification"];
    let below: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("money", vec![]),
        ("text", vec![]),
        ("faults", vec![]),
        ("eventstore", vec!["faults"]),
        ("saga", vec!["eventstore"]),
        ("saga-runtime", vec!["saga", "eventstore", "faults"]),
        ("saga-simulator", vec!["saga", "eventstore"]),
        ("eventstore-postgres", vec!["eventstore", "faults"]),
        // Over gRPC alone: nothing in it could open a database.
        ("sagactl", vec!["money", "text", "farmera-proto"]),
        ("farmera-proto", vec![]),
        ("farmera-local", vec![]),
        ("chassis", vec!["money", "text", "eventstore", "eventstore-postgres", "farmera-proto", "faults"]),
        ("products", vec!["money", "eventstore", "farmera-proto", "chassis", "faults"]),
        ("payment", vec!["money", "eventstore", "farmera-proto", "chassis", "faults"]),
        ("notification", vec!["money", "text", "eventstore", "farmera-proto", "chassis"]),
        ("orders", vec!["money", "eventstore", "farmera-proto", "chassis", "saga", "saga-runtime"]),
        ("chaos", vec!["eventstore", "farmera", "farmera-local", "farmera-proto", "chassis", "faults"]),
        (
            "system-tests",
            vec![
                "money",
                "eventstore",
                "saga",
                "saga-runtime",
                "saga-simulator",
                "chassis",
                "orders",
                "products",
                "payment",
                "notification",
            ],
        ),
    ]);
    for (package, depends_on) in dependencies() {
        let Some(allowed) = below.get(package.as_str()) else {
            assert_eq!(package, "farmera", "{package} has no place in the layers yet: give it one here");
            continue;
        };
        for dependency in depends_on {
            assert!(allowed.contains(&dependency.as_str()), "{package} must not depend on {dependency}");
            let between_services = SERVICES.contains(&package.as_str()) && SERVICES.contains(&dependency.as_str());
            assert!(!between_services, "a service never depends on another service's package: {package}, {dependency}");
        }
    }
}

/// Programs that are released are built without crash points: only the harness asks for them.
#[test]
fn nobody_but_the_chaos_harness_switches_crash_points_on() {
    for manifest in files(&root(), &|path| path.file_name().is_some_and(|name| name == "Cargo.toml")) {
        let place = shown(&manifest);
        if place.starts_with("services/chaos/") || place.starts_with("eventstore/faults/") {
            continue;
        }
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(!text.contains("planted"), "{place}: no other package may switch on `faults/planted`");
    }
}

/// Every point and plant is somewhere in production code; a point nobody passes would never be hit.
#[test]
fn every_crash_point_and_every_plant_has_its_place() {
    let names = fs::read_to_string(root().join("eventstore/faults/src/lib.rs")).unwrap();
    let variants =
        names.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \"")).map(|(name, _)| name);
    let text: String = rust_files(&root())
        .iter()
        .filter(|file| !shown(file).starts_with("eventstore/faults/") && !shown(file).starts_with("services/chaos/"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let mut count = 0;
    for variant in variants {
        let stands = [format!("reach(Point::{variant})"), format!("planted(Plant::{variant})")];
        assert!(stands.iter().any(|stand| text.contains(stand)), "{variant} stands nowhere");
        count += 1;
    }
    assert!(count > 30, "the names were not found where they are expected");
}

#[test]
fn the_core_is_pure() {
    const IMPURE: [&str; 12] = [
        "async ",
        ".await",
        "tokio",
        "sqlx",
        "async_nats",
        "tonic",
        "farmera_proto",
        "Utc::now",
        "SystemTime",
        "Instant::now",
        "Uuid::now",
        "rand::",
    ];
    let mut core = rust_files(&root().join("saga/src"));
    core.extend(rust_files(&root().join("services/money/src")));
    core.extend(rust_files(&root().join("services/text/src")));
    for service in ["orders", "products", "payment", "notification"] {
        core.extend(rust_files(&root().join(format!("services/{service}/src/domain"))));
    }
    core.extend(rust_files(&root().join("services/orders/src/sagas")));
    assert!(core.len() > 30, "the core was not found where it is expected");
    for file in core {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in IMPURE {
                assert!(!line.contains(word), "{}:{}: the core is pure, it has no `{word}`", shown(&file), number + 1);
            }
        }
    }
}

#[test]
fn sql_over_events_stands_in_one_crate() {
    for file in rust_files(&root()) {
        let place = shown(&file);
        // The judge of chaos reads past the code that it judges.
        let judge = place.starts_with("services/chaos/");
        if place.starts_with("eventstore/postgres/") || place.contains("/tests/") || judge {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for word in
            ["from event\n", "into event\n", "from event ", "into event ", "into event(", "from outbox", "from timer"]
        {
            assert!(!text.contains(word), "{place}: only eventstore/postgres speaks SQL over events (`{word}`)");
        }
    }
}

#[test]
fn every_connection_to_postgres_is_set_up_in_one_place() {
    for file in rust_files(&root()) {
        let place = shown(&file);
        let judge = place.starts_with("services/chaos/");
        if place == "eventstore/postgres/src/sessions.rs" || place.contains("/tests/") || judge {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for word in ["PgPoolOptions::new", "PgConnection::connect(", "PgPool::connect"] {
            assert!(!text.contains(word), "{place}: `{word}` has no limits, see chassis::database");
        }
    }
}

#[test]
fn nobody_holds_a_client_of_another_services_edge() {
    const EDGES: [&str; 4] =
        ["OrdersServiceClient", "ProductsServiceClient", "PaymentServiceClient", "NotificationServiceClient"];
    for service in ["chassis", "orders", "products", "payment", "notification"] {
        let files = rust_files(&root().join("services").join(service).join("src"));
        for file in files.iter().filter(|file| !shown(file).contains("/tests/")) {
            let text = fs::read_to_string(file).unwrap();
            for edge in EDGES {
                assert!(!text.contains(edge), "{}: between services only queries, never {edge}", shown(file));
            }
        }
    }
}

#[test]
fn files_stay_small_enough_to_hold_one_thing() {
    const LINES_MAX: usize = 450;
    for file in rust_files(&root()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: it holds two things, find them", shown(&file));
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["TO", "DO"].concat();
    let marks = [words.as_str(), "FIXME", "todo!(", "unimplemented!("];
    for file in rust_files(&root()).iter().filter(|file| !file.ends_with("tests/tidy.rs")) {
        let text = fs::read_to_string(file).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{}: {mark} is a promise nobody holds", shown(file));
        }
        assert!(!text.contains("#[allow("), "{}: use #[expect(.., reason = ..)]", shown(file));
    }
}

#[test]
fn every_migration_has_a_number_of_its_owner() {
    for file in files(&root().join("migrations"), &|path| path.extension().is_some_and(|extension| extension == "sql"))
    {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let number: u32 = name.split('_').next().unwrap().parse().unwrap();
        let of_store = file.parent().is_some_and(|folder| folder.ends_with("eventstore"));
        let own = if of_store { 1..1_000 } else { 1_000..10_000 };
        assert!(own.contains(&number), "{}: the event store has 1..999, services have 1000 and up", shown(&file));
    }
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    for page in files(&root(), &|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let path = target.split('#').next().unwrap();
            let found = page.parent().unwrap().join(path);
            assert!(found.exists(), "{}: the link {target} leads nowhere", shown(&page));
        }
    }
}
