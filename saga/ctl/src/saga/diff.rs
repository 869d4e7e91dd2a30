//! `sagactl saga diff`: what changed in a saga's state.

use clap::Args;
use farmera_proto::saga::v1 as pb;

use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::words::harmless;
use crate::session::Session;

use super::find;
use super::show::Timeline;

/// Between which versions.
#[derive(Args, Debug)]
pub struct Diff {
    /// A saga's id, or its order's.
    pub id: String,
    /// The older version; one before the newer one unless said otherwise.
    pub from: Option<u64>,
    /// The newer version; the newest unless said otherwise.
    pub to: Option<u64>,
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(diff: Diff, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let saga = find(&server, &diff.id).await?.saga.unwrap_or_default();
    let to_version = diff.to.unwrap_or(saga.version);
    let from_version = diff.from.unwrap_or(to_version.saturating_sub(1));
    let request = pb::DiffSagaRequest { saga_id: saga.id.clone(), from_version, to_version };
    let answer = server.ask(server.sagas().diff_saga(request)).await?;
    let out = &mut session.out;
    if out.whole(&format!("saga/{}", saga.id), &answer)? {
        return Ok(());
    }
    out.line(format!("saga {}  version {} to {}", saga.id, answer.from_version, answer.to_version))?;
    Timeline::new(&saga).print(&answer.timeline, out)?;
    for change in &answer.changes {
        out.line(harmless(&change.path))?;
        for (sign, value, tone) in [("-", &change.before_json, Tone::Bad), ("+", &change.after_json, Tone::Good)] {
            if !value.is_empty() {
                let line = out.tint(tone, &format!("  {sign} {}", harmless(value)));
                out.line(line)?;
            }
        }
    }
    if answer.changes.is_empty() {
        out.tell("nothing changed")?;
    }
    Ok(())
}
