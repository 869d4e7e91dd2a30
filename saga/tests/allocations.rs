//! What a decision allocates does not grow with what has happened before.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]
#![expect(unsafe_code, reason = "an allocator that counts is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use saga::testing::{World, done, started, woken};
use saga::{Definition, Facts, Input, Process, RetryPolicy, ask, decide, local, saga};

struct Counting;

thread_local! {
    /// Times and bytes, of this thread.
    static ALLOCATED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _counted = ALLOCATED.try_with(|allocated| {
            let (times, bytes) = allocated.get();
            allocated.set((times + 1, bytes + layout.size() as u64));
        });
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone, Debug, PartialEq)]
struct Orders;

impl Process for Orders {
    type Input = String;
    type Request = String;
    type Output = u32;
}

fn word(_: &Facts<'_, Orders>) -> String {
    "please".to_owned()
}

fn order() -> Definition<Orders> {
    let stubborn = RetryPolicy::new(1_000, Duration::from_millis(1), Duration::from_millis(1));
    saga::<Orders>("order", 1)
        .compensatable("reserve", ask(word).undo(word).retry(stubborn))
        .compensatable("pay", ask(word).undo(word))
        .pivot("confirm", local())
        .build()
        .unwrap()
}

/// What deciding on `input` allocates after as many attempts to reserve.
fn allocated(attempts: u32, input: &Input<Orders>) -> (u64, u64) {
    let order = order();
    let mut world = World::new(&order);
    world.submit(started("an order".to_owned())).unwrap();
    for _ in 1..attempts {
        for _ in 0..2 {
            world.sleep();
            world.submit(woken()).unwrap();
        }
    }
    assert!(world.history().count() >= attempts as usize * 2 - 1);
    let before = ALLOCATED.get();
    let decided = decide(&order, world.saga_id, world.saga(), input.clone(), world.now).unwrap();
    let after = ALLOCATED.get();
    drop(decided);
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn a_decision_allocates_the_same_after_two_events_and_after_two_thousand() {
    for input in [done("reserve"), woken()] {
        let (short, long) = (allocated(2, &input), allocated(900, &input));
        assert_eq!(short, long, "{input:?}");
        assert!(short.0 < 40, "{input:?}: {short:?}");
    }
}
