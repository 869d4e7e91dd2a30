//! What the environment asked for; read once.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{CRASH_AT, CRASH_LOG, PLANT, Plant, Point};

struct Armed {
    point: Point,
    /// Passes that are survived.
    left: AtomicU32,
}

pub(crate) fn reach(point: Point) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let Some(armed) = ARMED.get_or_init(|| parse(&std::env::var(CRASH_AT).ok()?)) else { return };
    if armed.point == point
        && armed.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.wrapping_sub(1))) == Ok(0)
    {
        die(point);
    }
}

pub(crate) fn planted(plant: Plant) -> bool {
    static PLANTED: OnceLock<Option<Plant>> = OnceLock::new();
    *PLANTED.get_or_init(|| Plant::named(&std::env::var(PLANT).ok()?)) == Some(plant)
}

/// `ack-before:3`: survives two passes.
fn parse(text: &str) -> Option<Armed> {
    let (name, nth) = text.split_once(':')?;
    let nth: u32 = nth.parse().ok()?;
    Some(Armed { point: Point::named(name)?, left: AtomicU32::new(nth.checked_sub(1)?) })
}

/// The name first, so that whoever counts knows that the point was reached and not merely armed.
#[expect(unsafe_code, reason = "std cannot send signals; kill takes numbers and touches no memory")]
fn die(point: Point) -> ! {
    if let Some(path) = std::env::var_os(CRASH_LOG) {
        let log = OpenOptions::new().create(true).append(true).open(path);
        drop(log.and_then(|mut log| log.write_all(format!("{}\n", point.name()).as_bytes())));
    }
    loop {
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_armed_by_its_name_and_the_number_of_the_pass() {
        let armed = parse("ack-before:3").unwrap();
        assert_eq!((armed.point, armed.left.into_inner()), (Point::AckBefore, 2));
        for wrong in ["ack-before", "ack-before:0", "ack-before:x", "nowhere:1"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
