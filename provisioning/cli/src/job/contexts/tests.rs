//! Contexts, listed and forgotten.

use super::*;
use crate::args::Format;
use crate::exit::Exit;
use crate::home::tests::{put_context, with_authority};
use crate::plan::Boxes;
use crate::terminal::Script;
use crate::world::Reach as _;
use crate::world::played::play;

fn run(
    answers: &[bool],
    format: Format,
    act: impl FnOnce(&mut World<'_>) -> Result<(), Failure>,
) -> (String, Script, Result<(), Failure>) {
    let mut script = Script::answering(answers);
    let (written, result) = play(Vec::new(), (Boxes::Selected, format), &mut script, act);
    (written, script, result)
}

#[test]
fn contexts_are_listed_chosen_and_forgotten() {
    let (dir, home, authority) = with_authority();
    for (name, address) in [("attic", "box-7f3a.local"), ("cellar", "192.168.1.57:8443")] {
        put_context(&home, &authority, name, address);
    }
    let act = |command: ContextJob, answers: &[bool]| {
        let (written, _, result) = run(answers, Format::Table, |world| context(world, &home, &command));
        result.map(|()| written)
    };
    act(ContextJob::Use { name: "attic".into() }, &[]).unwrap();
    let list = act(ContextJob::List, &[]).unwrap().replace(&authority.id(), "0a1b2c3d");
    insta::assert_snapshot!(list);
    assert!(act(ContextJob::Show { name: None }, &[]).unwrap().starts_with("name       attic\n"));
    let failure = act(ContextJob::Use { name: "loft".into() }, &[]).unwrap_err();
    assert_eq!(failure.exit(), Exit::NotPaired);
    assert_eq!(act(ContextJob::Remove { name: "attic".into() }, &[false]).unwrap_err().exit(), Exit::Refused);
    act(ContextJob::Remove { name: "attic".into() }, &[true]).unwrap();
    assert_eq!(home.names(&Boxes::All).unwrap(), ["cellar"]);
    assert_eq!(home.names(&Boxes::Selected).unwrap_err().exit(), Exit::NotPaired);
    assert_eq!(std::fs::read_dir(dir.path().join("holdfast/clients")).unwrap().count(), 2);
}
