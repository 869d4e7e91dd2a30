use std::time::Duration;

use system_tests::simulation::{Plant, Setting};

/// What is to be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// This seed, with its story.
    One(u64),
    /// Seed after seed.
    Many,
    /// Every bug.
    Plants,
    /// The protocol.
    Model,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// What is to be run.
    pub what: What,
    /// The first seed.
    pub from: u64,
    /// How many seeds; `None` for as many as the time allows.
    pub seeds: Option<u64>,
    /// How long; with `plants`, for each of them.
    pub seconds: Duration,
    /// The bug that is planted.
    pub plant: Option<Plant>,
    /// Whether operators do something.
    pub has_operators: bool,
}

impl Arguments {
    /// What is run, besides the seed.
    #[must_use]
    pub fn setting(&self, tells: bool) -> Setting {
        Setting { plant: self.plant, has_operators: self.has_operators, tells }
    }

    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (what, seconds, has_operators) = (What::Many, Duration::from_secs(60), true);
        let mut read = Self { what, from: 1, seeds: None, seconds, plant: None, has_operators };
        let mut words = words;
        while let Some(word) = words.next() {
            if word == "plants" || word == "model" {
                read.what = if word == "plants" { What::Plants } else { What::Model };
                continue;
            }
            if word == "--no-operators" {
                read.has_operators = false;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value}: not a number"));
            match word.as_str() {
                "--seed" => read.what = What::One(number()?),
                "--seeds" => read.seeds = Some(number()?),
                "--from" => read.from = number()?,
                "--seconds" => read.seconds = Duration::from_secs(number()?),
                "--plant" => read.plant = Some(Plant::named(&value).ok_or_else(|| unknown(&value))?),
                _ => {
                    return Err(format!(
                        "{word} is not known: --seed, --seeds, --from, --seconds, --plant, --no-operators, plants, \
                         model"
                    ));
                }
            }
        }
        Ok(read)
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = Plant::ALL.iter().map(|plant| plant.name()).collect();
    format!("no plant is called {name}: {}", known.join(", "))
}
