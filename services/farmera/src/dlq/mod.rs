//! `farmera dlq`: messages that nobody could handle, and what waits behind them.

mod letters;
mod shown;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use eventstore::DeadLetters as _;

use self::letters::{Kept, Place, letters_of};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::services;
use crate::surroundings::Surroundings;

/// What can be done about dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What waits, by cause; the most frequent first.
    List {
        /// Every letter on a line of its own.
        #[arg(long)]
        letters: bool,
        /// Also what was redriven or discarded.
        #[arg(long)]
        ended: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        surroundings: Surroundings,
    },
    /// One letter, with headers and body.
    Show {
        /// The letter, as `dlq list --letters` names it: `orders/12`.
        letter: Place,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        surroundings: Surroundings,
    },
    /// Have the running service handle letters after all: each line from its head, in order, up to the first that fails
    /// again.
    Redrive {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        act: Act,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        surroundings: Surroundings,
    },
    /// Give letters up for good; what waits behind them moves up. They are kept, with who and why.
    Discard {
        /// Why, for whoever asks later.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        act: Act,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        surroundings: Surroundings,
    },
}

/// Which letters; all conditions must hold.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// Letters of this service; of all when none is named.
    #[arg(long, value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    service: Vec<String>,
    /// Letters of this consumer: `payment-orders`.
    #[arg(long)]
    consumer: Option<String>,
    /// Letters in the line of this key: `saga/0199…`.
    #[arg(long)]
    key: Option<String>,
    /// This letter: `orders/12`.
    #[arg(long)]
    id: Option<Place>,
}

/// How a change is made.
#[derive(Args, Clone, Debug)]
pub struct Act {
    /// All that wait, where no other option says which.
    #[arg(long)]
    all: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Who does it; recorded with the letters.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
}

impl Which {
    fn says_nothing(&self) -> bool {
        self.service.is_empty() && self.consumer.is_none() && self.key.is_none() && self.id.is_none()
    }

    fn takes(&self, kept: &Kept) -> bool {
        let letter = &kept.stored.letter;
        self.consumer.as_ref().is_none_or(|consumer| *consumer == letter.consumer)
            && self.key.as_ref().is_none_or(|key| letter.key.as_ref() == Some(key))
            && self.id.as_ref().is_none_or(|id| *id == kept.place())
    }

    /// The letters meant, in the order of their services and numbers.
    async fn find(&self, surroundings: &Surroundings) -> Result<Vec<Kept>, Failure> {
        let env = surroundings.env()?;
        let of_id = self.id.as_ref().map(|id| id.service.as_str());
        let meant = |name: &str| {
            (self.service.is_empty() || self.service.iter().any(|service| service == name))
                && of_id.is_none_or(|service| service == name)
        };
        let mut found = Vec::new();
        for service in services::SERVICES.iter().filter(|service| meant(service.name)) {
            found.extend(letters_of(&env, service).await?);
        }
        found.retain(|kept| self.takes(kept));
        Ok(found)
    }
}

/// Looks, or acts.
///
/// # Errors
/// [`Failure::Setup`] when the databases are not known, [`Failure::NotFound`] when there is no such letter,
/// [`Failure::Unavailable`] when a database does not answer.
pub async fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { letters, ended, which, output, surroundings } => {
            let mut found = which.find(&surroundings).await?;
            found.retain(|kept| ended || kept.waits());
            shown::list(&found, letters, output);
            Ok(())
        }
        Command::Show { letter, output, surroundings } => {
            let which = Which { id: Some(letter.clone()), ..Which::default() };
            let found = which.find(&surroundings).await?;
            let kept = found.first().ok_or_else(|| Failure::NotFound(format!("there is no dead letter {letter}")))?;
            shown::one(kept, output);
            Ok(())
        }
        Command::Redrive { which, act, surroundings } => {
            redrive(&waiting(&which, &act, &surroundings).await?, &act).await
        }
        Command::Discard { reason, which, act, surroundings } => {
            discard(&waiting(&which, &act, &surroundings).await?, &act, &reason).await
        }
    }
}

/// The letters meant that wait; none is an answer of its own.
async fn waiting(which: &Which, act: &Act, surroundings: &Surroundings) -> Result<Vec<Kept>, Failure> {
    if which.says_nothing() && !act.all {
        let what = "say which letters: --id, --key, --consumer, --service, or --all";
        return Err(Failure::Setup(what.to_owned()));
    }
    let mut found = which.find(surroundings).await?;
    found.retain(Kept::waits);
    if found.is_empty() {
        return Err(Failure::NotFound("no dead letter waits there".to_owned()));
    }
    Ok(found)
}

async fn redrive(found: &[Kept], act: &Act) -> Result<(), Failure> {
    for head in letters::heads(found) {
        let (place, line) = (head.place(), head.line());
        if act.dry_run {
            output::line(format!("would redrive the line of {line}, {place} among it"));
        } else if head.store.ask_redrive(head.stored.id, &act.by).await.map_err(letters::unavailable)? {
            output::line(format!("{line}: {} redrives it now, see `farmera dlq list --letters --ended`", head.service));
        } else {
            output::line(format!("{place} does not wait any more"));
        }
    }
    Ok(())
}

async fn discard(found: &[Kept], act: &Act, reason: &str) -> Result<(), Failure> {
    for kept in found {
        let place = kept.place();
        if act.dry_run {
            output::line(format!("would discard {place}: {}", kept.stored.letter.reason));
        } else if kept.store.discard(kept.stored.id, &act.by, reason).await.map_err(letters::unavailable)? {
            output::line(format!("discarded {place}"));
        } else {
            output::line(format!("{place} does not wait any more"));
        }
    }
    Ok(())
}
