//! Work that belongs to a box: drain, resume, reboot, and what is taken from it for support.

use std::path::Path;
use std::time::Duration;

use holdfast_api::{Action, Operation, OperationState};

use crate::ask::Session;
use crate::exit::Failure;
use crate::files;
use crate::output::Table;
use crate::world::World;
use holdfast_api::printable;

/// Asks boxes to act, and watches until each is done.
pub(crate) fn operate(world: &mut World<'_>, action: Action) -> Result<(), Failure> {
    if action == Action::Reboot {
        let name = world.reach.names(world.boxes)?.join(", ");
        let question = format!("{name} signs nothing while it restarts. Go on?");
        if !world.terminal.confirm(&question)? {
            return Err(Failure::refused("not rebooted: it was not confirmed"));
        }
    }
    crate::terminal::end_on_interrupt()?;
    let said = world.each(|session| watch(session, action))?;
    world.show_each(said, |said| {
        let mut table = Table::new(&["BOX", "WORK", "STATE", "RESULT"]);
        for said in said {
            let Some(operation) = &said.answer else { continue };
            let state = format!("{:?}", operation.state).to_lowercase();
            let row = [said.name.as_str(), action.name(), &state, &operation.summary];
            table.row(row.map(Into::into));
        }
        table
    })
}

/// Saves the support bundle.
pub(crate) fn support(world: &mut World<'_>, file: &Path) -> Result<(), Failure> {
    let mut session = world.session()?;
    let bundle = session.get_bytes("/v1/support-bundle")?;
    files::write_new(file, &bundle, 0o600)?;
    world.terminal.note(&format!(
        "{} holds what helps to find a fault on {}: versions, state, the last log lines. It has no secrets; read it before \
         you send it to anybody",
        file.display(),
        session.name
    ));
    Ok(())
}

/// Begins the work and asks how far it is until it ends. A box that restarts stops answering: that is a good sign.
fn watch(session: &mut Session, action: Action) -> Result<Operation, Failure> {
    let mut operation: Operation = session.act(&format!("/v1/actions/{}", action.name()))?;
    if !operation.id.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char)) {
        return Err(Failure::unfit(format!("{} names its work in a form that no work has", session.name)));
    }
    for _ in 0..WATCH_MAX {
        match operation.state {
            OperationState::Done => return Ok(operation),
            OperationState::Failed => {
                let what = format!("{}: {} failed: {}", session.name, action.name(), printable(&operation.summary));
                return Err(Failure::unfit(what));
            }
            OperationState::Running => {}
        }
        std::thread::sleep(WATCH_EVERY);
        match session.get(&format!("/v1/operations/{}", operation.id)) {
            Ok(now) => operation = now,
            Err(Failure::Unreachable { .. }) if action == Action::Reboot => return Ok(operation),
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Interrupted)
}

const WATCH_EVERY: Duration = Duration::from_millis(500);
/// A quarter of an hour: longer than two epochs of waiting for the last duty.
const WATCH_MAX: usize = 1_800;

#[cfg(test)]
mod tests {
    use holdfast_api::ProblemId;
    use serde_json::json;

    use super::*;
    use crate::args::Format;
    use crate::ask::played;
    use crate::exit::Exit;
    use crate::plan::Boxes;
    use crate::terminal::Script;
    use crate::world::played::play;

    fn operation(state: &str) -> serde_json::Value {
        json!({"id": "7", "action": "drain", "by": "admin", "at": "2026-11-27T11:40:17.123Z", "state": state,
            "summary": "no duty is under way", "percent": null})
    }

    #[test]
    fn work_is_watched_until_it_is_done() {
        let (session, asked) =
            played::session(vec![("/v1/actions/drain", operation("running")), ("/v1/operations/7", operation("done"))]);
        let mut script = Script::answering(&[]);
        let (written, result) =
            play(vec![session], (Boxes::Selected, Format::Table), &mut script, |world| operate(world, Action::Drain));
        result.unwrap();
        assert_eq!(written, "BOX       WORK   STATE  RESULT\nbox-7f3a  drain  done   no duty is under way\n");
        assert_eq!(asked.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_reboot_is_confirmed_first() {
        let (session, asked) = played::session(vec![]);
        let mut script = Script::answering(&[false]);
        let (_, result) =
            play(vec![session], (Boxes::Selected, Format::Table), &mut script, |world| operate(world, Action::Reboot));
        assert_eq!(result.unwrap_err().exit(), Exit::Refused);
        assert!(script.seen[0].starts_with("box-7f3a signs nothing while it restarts"));
        assert!(asked.lock().unwrap().is_empty());
    }

    #[test]
    fn work_that_fails_or_is_refused_says_so() {
        let (failed, _) = played::session(vec![("/v1/actions/drain", operation("failed"))]);
        let (refused, _) = played::refusing("/v1/actions/drain", ProblemId::RoleForbids, "alice is a reader");
        for (session, exit) in [(failed, Exit::Failed), (refused, Exit::Refused)] {
            let mut script = Script::answering(&[]);
            let (_, result) = play(vec![session], (Boxes::Selected, Format::Table), &mut script, |world| {
                operate(world, Action::Drain)
            });
            assert_eq!(result.unwrap_err().exit(), exit);
        }
    }
}
