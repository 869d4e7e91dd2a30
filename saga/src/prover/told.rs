//! A counterexample in words.

use super::world::{Side, Turn};
use crate::{Definition, Process};

/// One thing that happened.
pub(super) struct Line {
    pub(super) orchestrator: u8,
    pub(super) turn: Turn,
    /// What the saga recorded, in short.
    pub(super) events: Vec<String>,
}

/// `the answer "done" for pay comes: StepSucceeded pay, SagaCompleted`.
pub(super) fn tell<P: Process>(definition: &Definition<P>, orchestrators: usize, line: &Line) -> String {
    let name = |step: usize| definition.steps().get(step).map_or("?", |step| step.name.as_str());
    let what = match line.turn {
        Turn::Start => "the saga is started".to_owned(),
        Turn::Done(step) => format!("the answer \"done\" of {} comes", name(step)),
        Turn::Refused(step) => format!("the answer \"refused\" of {} comes", name(step)),
        Turn::Unknown(step) => format!("the participant of {} does not know", name(step)),
        Turn::Undone(step) => format!("the answer \"undone\" of {} comes", name(step)),
        Turn::UndoUnknown(step) => format!("the participant of {} does not know whether it is undone", name(step)),
        Turn::First => "what is due first is due".to_owned(),
        Turn::All => "everything is due".to_owned(),
        Turn::Cancel => "somebody cancels".to_owned(),
        Turn::Resume => "an operator resumes".to_owned(),
        Turn::Pause => "an operator pauses".to_owned(),
        Turn::Unpause => "an operator lets it go on".to_owned(),
        Turn::Freeze => "an operator lets time stand still".to_owned(),
        Turn::Thaw => "an operator lets time go on".to_owned(),
        Turn::Abandon => "an operator abandons".to_owned(),
        Turn::Retry(step) => format!("an operator has {} tried again", name(step)),
        Turn::Skip(step) => format!("an operator skips {}", name(step)),
        Turn::Untime(step) => format!("an operator takes the timer of {} away", name(step)),
        Turn::LetGo => "it may pass the hold".to_owned(),
        Turn::Look => "it is looked after".to_owned(),
        Turn::Hold(step) => format!("(an operator holds {})", name(step)),
        Turn::HoldOver => "(the hold is over)".to_owned(),
        Turn::Asked(step, Side::Done) => format!("(the request to {} arrives: done)", name(step)),
        Turn::Asked(step, Side::Refused | Side::Untouched | Side::Undone | Side::Barred) => {
            format!("(the request to {} arrives: refused)", name(step))
        }
        Turn::AskedToUndo(step) => format!("(the request to undo {} arrives)", name(step)),
        Turn::Crash => "it dies, and comes back with what is stored".to_owned(),
    };
    let elsewhere = matches!(line.turn, Turn::Asked(..) | Turn::AskedToUndo(_) | Turn::Hold(_) | Turn::HoldOver);
    let who = if orchestrators > 1 && !elsewhere {
        format!("orchestrator {}: ", line.orchestrator + 1)
    } else {
        String::new()
    };
    if line.events.is_empty() { format!("{who}{what}") } else { format!("{who}{what}: {}", line.events.join(", ")) }
}
