//! How long a decision takes: `cargo bench -p saga`. Prints the number for each kind of input of a place-order saga.

#![expect(clippy::unwrap_used, reason = "a program that measures may fail")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use saga::testing::{DAWN, World, done, rejected, started, woken};
use saga::{Definition, Facts, Input, Process, RetryPolicy, ask, decide, local, retriable, saga};

#[derive(Clone, Debug, PartialEq)]
struct Orders;

impl Process for Orders {
    type Input = String;
    type Request = String;
    type Output = u32;
}

fn word(facts: &Facts<'_, Orders>) -> String {
    facts.input().clone()
}

fn place_order() -> Definition<Orders> {
    let patient = RetryPolicy::new(6, Duration::from_millis(250), Duration::from_secs(10));
    let asked = || ask(word).undo_retry(patient).retry(patient);
    saga::<Orders>("place-order", 1)
        .compensatable("reserve-inventory", asked().undo(word))
        .compensatable("authorize-payment", asked().undo(word))
        .pivot("confirm", local())
        .in_parallel([retriable("capture-payment", asked()), retriable("commit-inventory", asked())])
        .retriable("notify", asked())
        .build()
        .unwrap()
}

fn measure(name: &str, world: &World<'_, Orders>, input: &Input<Orders>) -> f64 {
    const ROUNDS: u32 = 200_000;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        let decided = decide(world.definition(), world.saga_id, world.saga(), black_box(input.clone()), DAWN);
        black_box(decided).unwrap();
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{name:34} {each:6.3} us");
    each
}

fn main() {
    const BUILDS: u32 = 20;
    let begun = Instant::now();
    for _ in 0..BUILDS {
        black_box(place_order());
    }
    let each = begun.elapsed().as_secs_f64() * 1e3 / f64::from(BUILDS);
    println!("{:34} {each:6.3} ms", "build, with its proof");
    let definition = place_order();
    let mut world = World::new(&definition);
    let mut worst = measure("start", &world, &started("an order".to_owned()));
    world.submit(started("an order".to_owned())).unwrap();
    for step in ["reserve-inventory", "authorize-payment", "capture-payment", "commit-inventory", "notify"] {
        worst = worst.max(measure(&format!("wake before {step}"), &world, &woken()));
        worst = worst.max(measure(&format!("answer for {step}"), &world, &done(step)));
        if step == "authorize-payment" {
            worst = worst.max(measure("refusal of authorize-payment", &world, &rejected(step, "NO")));
        }
        world.submit(done(step)).unwrap();
    }
    println!("{:34} {worst:6.3} us", "the slowest of them");
}
