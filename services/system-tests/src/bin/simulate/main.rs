//! `make simulate`: one seed after the other, until the time is up or the seeds are.
//!
//! `--seed S` runs one and tells its story, `--seeds N` runs so many from `--from F`, `--seconds T` ends after so long,
//! `--plant NAME` plants a bug first; `plants` plants each bug in turn and prints which seed found it, and when; `model`
//! tries the saga protocol out in full. `--no-operators` lets operators do nothing.

mod arguments;
mod model;
mod plants;
mod report;
mod seeds;

use std::io::{self, Write as _};
use std::process::ExitCode;

use system_tests::simulation::Bench;

use self::arguments::{Arguments, What};

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => return fail(&wrong),
    };
    let bench = match Bench::new() {
        Ok(bench) => bench,
        Err(error) => return fail(&error.to_string()),
    };
    let mut out = io::stdout().lock();
    let run = match arguments.what {
        What::One(seed) => seeds::one(&mut out, &bench, seed, &arguments),
        What::Many => seeds::many(&mut out, &bench, &arguments),
        What::Model => model::check(&mut out),
        What::Plants => plants::all(&mut out, &bench, arguments.seconds),
    };
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(reason: &str) -> ExitCode {
    // Nobody reads it: there is nothing else to tell.
    drop(writeln!(io::stderr(), "simulate: {reason}"));
    ExitCode::from(2)
}
