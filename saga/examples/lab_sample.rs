//! A saga outside the market: a sample goes through a laboratory. Draws the process, shows one sample that is lost on the
//! way, and proves that the definition keeps the laws. Run it: `cargo run -p saga --example lab_sample`.

use std::time::Duration;

use saga::testing::{World, done_with, rejected, started};
use saga::{
    Definition, DefinitionError, Drawing, Facts, Process, RetryPolicy, ask, await_word, laws, local, render, saga,
};
use serde::{Deserialize, Serialize};

/// The process: what comes in, what is asked, what is learned.
#[derive(Clone, Debug, PartialEq)]
struct Laboratory;

impl Process for Laboratory {
    type Input = Sample;
    type Request = Request;
    type Output = Output;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    patient: u32,
    is_frozen: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Request {
    Thaw,
    Refreeze,
    TakeRack { patient: u32 },
    GiveBackRack { rack: Option<u32> },
    Analyse { rack: Option<u32> },
    DiscardAliquot,
    Report { patient: u32 },
    Archive,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Output {
    Rack(u32),
}

fn rack(facts: &Facts<'_, Laboratory>) -> Option<u32> {
    facts.output("rack").map(|Output::Rack(rack)| *rack)
}

fn report(facts: &Facts<'_, Laboratory>) -> Request {
    Request::Report { patient: facts.input().patient }
}

/// Thaw if need be, take a rack, analyse; a doctor approves; then the report is out and cannot be called back.
fn examine() -> Result<Definition<Laboratory>, DefinitionError> {
    let hourly = RetryPolicy::new(5, Duration::from_secs(60), Duration::from_hours(1));
    let robot = |asked: saga::Ask<Laboratory>| asked.of("robot").within(Duration::from_mins(20)).retry(hourly);
    saga::<Laboratory>("examine", 1)
        .deadline(Duration::from_hours(48))
        .compensatable(
            "thaw",
            robot(ask(|_| Request::Thaw).undo(|_| Request::Refreeze)).only_if(|facts| facts.input().is_frozen),
        )
        .compensatable(
            "rack",
            robot(ask(|facts| Request::TakeRack { patient: facts.input().patient }))
                .undo(|facts| Request::GiveBackRack { rack: rack(facts) }),
        )
        .compensatable(
            "analyse",
            robot(ask(|facts| Request::Analyse { rack: rack(facts) }).undo(|_| Request::DiscardAliquot)),
        )
        .compensatable("approval", await_word(Duration::from_hours(24)))
        .pivot("release", local())
        .retriable("report", ask(report).of("hospital"))
        .retriable("archive", robot(ask(|_| Request::Archive)))
        .build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let examine = examine()?;
    println!("{}", render(&examine, None, Drawing::Text));
    let mut world = World::new(&examine);
    let sample = Sample { patient: 7, is_frozen: false };
    world.submit(started(sample.clone()))?;
    world.submit(done_with("rack", Output::Rack(12)))?;
    world.submit(rejected("analyse", "CLOTTED"))?;
    println!("{}", render(&examine, Some(world.saga()), Drawing::Text));
    for is_frozen in [true, false] {
        let input = Sample { is_frozen, ..sample.clone() };
        let output = |step: &str| (step == "rack").then_some(Output::Rack(12));
        laws::all(&laws::Sample { definition: &examine, input, output });
    }
    println!("all laws hold");
    Ok(())
}
