//! Which databases and which broker an operator's command is about: those of the environment, or of a `farmera up`.

use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chassis::config::Env;
use clap::Args;

use crate::addresses;
use crate::failure::Failure;

/// The file below the state folder of `farmera up`: `NAME=value` lines, readable by its owner alone.
pub const FILE: &str = "surroundings.env";

/// What every operator's command understands.
#[derive(Args, Clone, Debug, Default)]
#[command(
    next_help_heading = "Surroundings (default: FARMERA_<SERVICE>__DATABASE_URL and FARMERA_NATS_URL, else the last `farmera up`)"
)]
pub struct Surroundings {
    /// The state folder of a `farmera up`, running or not; its servers have to run.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl Surroundings {
    /// The environment in which services would find their databases and their broker.
    ///
    /// # Errors
    /// [`Failure::Setup`] when neither the environment nor a `farmera up` says where they are.
    pub fn env(&self) -> Result<Env, Failure> {
        let process = Env::of_process();
        let named = std::env::vars_os().any(|(name, _)| {
            name.to_str().is_some_and(|name| name.starts_with("FARMERA_") && name.contains("DATABASE_URL"))
        });
        if named && self.state.is_none() {
            return Ok(process);
        }
        let state = self.state.clone().unwrap_or_else(addresses::default_state);
        let variables = load(&state).map_err(|error| {
            let path = state.join(FILE);
            let what = "set FARMERA_<SERVICE>__DATABASE_URL and FARMERA_NATS_URL, or start `farmera up`";
            Failure::Setup(format!("cannot read {}: {error}; {what}", path.display()))
        })?;
        Ok(variables.into_iter().fold(process, |env, (name, value)| env.with(name, value)))
    }
}

/// Writes the variables down, whole or not at all; nobody but the owner may read them.
///
/// # Errors
/// The file cannot be written.
pub fn save(state: &Path, variables: &[(String, String)]) -> io::Result<()> {
    let draft = state.join(".surroundings.env.new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    for (name, value) in variables {
        writeln!(file, "{name}={value}")?;
    }
    drop(file);
    std::fs::rename(draft, state.join(FILE))
}

fn load(state: &Path) -> io::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(state.join(FILE))?;
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_what_a_service_would_be_told_and_only_the_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = "postgres://owner:secret=1@127.0.0.1:5/farmera_orders";
        save(folder.path(), &[("FARMERA_ORDERS__DATABASE_URL".to_owned(), url.to_owned())]).unwrap();
        let surroundings = Surroundings { state: Some(folder.path().to_owned()) };
        let env = surroundings.env().unwrap();
        let found = env.of_service("orders").secret("DATABASE_URL", "").unwrap();
        assert_eq!(found.expose(), url);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(folder.path().join(FILE)).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_state_folder_without_surroundings_is_named_in_the_error() {
        let surroundings = Surroundings { state: Some(PathBuf::from("/nonexistent")) };
        let failure = surroundings.env().unwrap_err();
        assert!(failure.to_string().contains("/nonexistent/surroundings.env"), "{failure}");
    }
}
