//! What a definition may be, and what tells two of them apart.

use std::time::Duration;

use saga::{
    Ask, Builder, DefinitionRef, Facts, Kind, Library, LibraryError, Problem, Process, RetryPolicy, StepName,
    UnknownDefinition, ask, compensatable, local, retriable, saga,
};

#[derive(Clone, Debug, PartialEq)]
struct Any;

impl Process for Any {
    type Input = ();
    type Request = ();
    type Output = ();
}

fn nothing(_: &Facts<'_, Any>) {}

fn asked() -> Ask<Any> {
    ask(nothing)
}

fn undoable() -> Ask<Any> {
    asked().undo(nothing)
}

fn problems(builder: Builder<Any>) -> Vec<Problem> {
    builder.build().map_or_else(|error| error.problems, |_| Vec::new())
}

fn name(name: &'static str) -> StepName {
    StepName::new(name)
}

#[test]
fn every_problem_is_named_not_just_the_first() {
    let error = saga::<Any>("Order", 0).compensatable("pay", asked()).compensatable("pay", undoable()).build();
    assert_eq!(
        error.unwrap_err().to_string(),
        "saga Order v0 cannot be: `Order` is not a name: 1 to 64 characters of a-z, 0-9 and -; versions count from 1; \
         pay is compensatable, but has no undo; two steps are called pay"
    );
}

#[test]
fn a_definition_has_1_to_64_steps() {
    const NAMES: [&str; 65] = {
        let mut names = [""; 65];
        let letters = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let mut index = 0;
        while index < 65 {
            names[index] = letters.split_at(index + 1).0;
            index += 1;
        }
        names
    };
    let with = |names: &[&'static str]| names.iter().fold(saga::<Any>("s", 1), |s, name| s.retriable(name, local()));
    assert_eq!(problems(with(&[])), [Problem::StepCount { count: 0 }]);
    assert_eq!(problems(with(&NAMES[..64])), []);
    let name = NAMES[64].to_owned();
    assert_eq!(problems(with(&NAMES)), [Problem::StepCount { count: 65 }, Problem::Name { name }]);
}

#[test]
fn what_can_be_undone_comes_before_what_cannot() {
    let order = saga::<Any>("s", 1)
        .retriable("early", asked())
        .pivot("pivot", asked())
        .compensatable("late", undoable())
        .pivot("again", asked());
    assert_eq!(
        problems(order),
        [
            Problem::RetriableBeforePivot { step: name("early") },
            Problem::NoWayBack { step: name("late"), after: name("pivot") },
            Problem::SecondPivot { step: name("again") },
        ]
    );
    let no_pivot = saga::<Any>("s", 1).retriable("early", asked()).compensatable("late", undoable());
    assert_eq!(problems(no_pivot), [Problem::NoWayBack { step: name("late"), after: name("early") }]);
}

#[test]
fn an_undo_stands_where_it_is_needed_and_nowhere_else() {
    let s = saga::<Any>("s", 1).compensatable("a", local()).pivot("b", undoable()).retriable("c", undoable());
    assert_eq!(
        problems(s),
        [
            Problem::NoUndo { step: name("a") },
            Problem::UselessUndo { step: name("b"), kind: Kind::Pivot },
            Problem::UselessUndo { step: name("c"), kind: Kind::Retriable },
        ]
    );
}

#[test]
fn a_group_is_2_to_16_steps_of_one_kind() {
    let single = saga::<Any>("s", 1).in_parallel([retriable("a", asked())]);
    assert_eq!(problems(single), [Problem::GroupSize { count: 1 }]);
    let none = saga::<Any>("s", 1).retriable("a", asked()).in_parallel([]);
    assert_eq!(problems(none), [Problem::GroupSize { count: 0 }]);
    let mixed = saga::<Any>("s", 1).in_parallel([compensatable("a", undoable()), retriable("b", asked())]);
    let (step, kind, group) = (name("b"), Kind::Retriable, Kind::Compensatable);
    assert_eq!(problems(mixed), [Problem::MixedGroup { step, kind, group }]);
}

#[test]
fn waiting_and_retrying_are_bounded() {
    let (ms, day) = (Duration::from_millis(1), Duration::from_hours(24));
    let bad = [
        RetryPolicy::new(1_001, ms, ms),
        RetryPolicy::new(1, 2 * ms, ms),
        RetryPolicy::new(1, Duration::ZERO, ms),
        RetryPolicy::new(1, ms, 31 * day),
    ];
    for policy in bad {
        let problem = [Problem::Policy { step: name("a"), policy }];
        assert_eq!(problems(saga::<Any>("s", 1).retriable("a", asked().retry(policy))), problem);
        assert_eq!(problems(saga::<Any>("s", 1).compensatable("a", undoable().undo_retry(policy))), problem);
    }
    for timeout in [Duration::ZERO, 31 * day] {
        let problem = [Problem::Timeout { step: name("a"), timeout }];
        assert_eq!(problems(saga::<Any>("s", 1).retriable("a", asked().within(timeout))), problem);
    }
    assert_eq!(problems(saga::<Any>("s", 1).retriable("a", asked().within(30 * day))), []);
}

#[test]
fn every_part_of_the_structure_changes_the_hash() {
    let base = || saga::<Any>("s", 1).compensatable("a", undoable()).retriable("b", asked());
    let policy = RetryPolicy::new(3, Duration::from_millis(5), Duration::from_secs(5));
    let others = [
        saga::<Any>("t", 1).compensatable("a", undoable()).retriable("b", asked()),
        saga::<Any>("s", 2).compensatable("a", undoable()).retriable("b", asked()),
        saga::<Any>("s", 1).compensatable("c", undoable()).retriable("b", asked()),
        saga::<Any>("s", 1).compensatable("a", undoable()).pivot("b", asked()),
        saga::<Any>("s", 1).compensatable("a", undoable()).retriable("b", local()),
        saga::<Any>("s", 1).compensatable("a", undoable().retry(policy)).retriable("b", asked()),
        saga::<Any>("s", 1).compensatable("a", undoable().undo_retry(policy)).retriable("b", asked()),
        saga::<Any>("s", 1).compensatable("a", undoable().within(Duration::from_secs(1))).retriable("b", asked()),
        base().retriable("d", local()),
    ];
    let hash = |builder: Builder<Any>| builder.build().unwrap().id().hash;
    let hashes: std::collections::HashSet<_> = others.into_iter().chain([base()]).map(hash).collect();
    assert_eq!(hashes.len(), 10);
    assert_eq!(hash(base()), hash(base()));
    let group = saga::<Any>("s", 1).in_parallel([retriable("a", asked()), retriable("b", asked())]);
    let row = saga::<Any>("s", 1).retriable("a", asked()).retriable("b", asked());
    assert_ne!(hash(group), hash(row));
}

/// Should this fail, running sagas no longer find their definition: the hash of an unchanged definition is for ever.
#[test]
fn a_released_hash_stays_what_it_is() {
    let hash = saga::<Any>("s", 1).compensatable("a", undoable()).pivot("b", local()).build().unwrap().id().hash;
    assert_eq!(hash.to_string(), "611ace7367ca06c351ee358aca77f6a5e0093b68b0fcb6dc36825a17143b237b");
}

#[test]
fn a_library_refuses_two_meanings_of_one_version_and_finds_the_newest() {
    let build = |version, step| saga::<Any>("s", version).retriable(step, local()).build().unwrap();
    let (one, other, two) = (build(1, "a"), build(1, "b"), build(2, "b"));
    let error = Library::new([one.clone(), other.clone()]).unwrap_err();
    assert_eq!(error, LibraryError::Twice { name: "s".to_owned(), version: 1 });
    let library = Library::new([two.clone(), one.clone(), one.clone()]).unwrap();
    assert_eq!(library.newest("s").unwrap().id(), two.id());
    assert_eq!(library.pinned(one.id()).unwrap().id(), one.id());
    let (pinned, known) = (other.id().clone(), one.id().hash);
    assert_eq!(library.pinned(&pinned).unwrap_err(), UnknownDefinition::Different { pinned, known });
    let pinned = DefinitionRef { version: 3, ..two.id().clone() };
    assert_eq!(library.pinned(&pinned).unwrap_err(), UnknownDefinition::Missing { pinned });
    assert_eq!(library.newest("t").unwrap_err(), UnknownDefinition::NoSuchName { name: "t".to_owned() });
}

#[test]
fn names_of_steps_keep_to_the_width_of_their_column() {
    assert_eq!(format!("{:<8}|{:>8}|", StepName::new("pay"), StepName::new("ship")), "pay     |    ship|");
}
