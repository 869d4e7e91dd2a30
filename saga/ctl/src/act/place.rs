//! Where a plan or an operation is: every service keeps its own, and their names are unique.

use farmera_proto::saga::v1 as pb;

use crate::connection::Server;
use crate::failure::Failure;
use crate::session::Session;

/// The plan of this name, and the service that keeps it.
///
/// # Errors
/// [`Failure::NotFound`] when nobody has it, [`Failure::Unavailable`] when one who may have it does not answer.
pub async fn of_plan(hash: &str, session: &Session) -> Result<(Server, pb::Plan), Failure> {
    let mut unknown = Unknown::default();
    for server in session.servers()? {
        let request = pb::GetPlanRequest { hash: hash.to_owned() };
        match server.ask(server.operators().get_plan(request)).await {
            Ok(answer) => return Ok((server, answer.plan.unwrap_or_default())),
            Err(failure) => unknown.note(failure)?,
        }
    }
    Err(unknown.failure())
}

/// The operation of this id with what failed of it, and the service that carries it out.
///
/// # Errors
/// As [`of_plan`].
pub async fn of_operation(id: &str, session: &Session) -> Result<(Server, pb::GetOperationResponse), Failure> {
    let mut unknown = Unknown::default();
    for server in session.servers()? {
        let request = pb::GetOperationRequest { operation_id: id.to_owned() };
        match server.ask(server.operators().get_operation(request)).await {
            Ok(answer) => return Ok((server, answer)),
            Err(failure) => unknown.note(failure)?,
        }
    }
    Err(unknown.failure())
}

/// What those said who do not have it.
#[derive(Default)]
struct Unknown {
    away: Option<Failure>,
    nowhere: Option<Failure>,
}

impl Unknown {
    /// Takes note of one who does not have it, or does not answer.
    fn note(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::NotFound(_) => self.nowhere = self.nowhere.take().or(Some(failure)),
            Failure::Unavailable(_) => self.away = self.away.take().or(Some(failure)),
            Failure::Failed(_)
            | Failure::Usage(_)
            | Failure::Conflict(_)
            | Failure::Denied(_)
            | Failure::Partly(_)
            | Failure::Compensated(_)
            | Failure::Stuck(_)
            | Failure::Interrupted(_)
            | Failure::ReaderGone => return Err(failure),
        }
        Ok(())
    }

    /// Whoever is away may have it.
    fn failure(self) -> Failure {
        let nobody = || Failure::Usage("no service is known".to_owned());
        self.away.or(self.nowhere).unwrap_or_else(nobody)
    }
}
