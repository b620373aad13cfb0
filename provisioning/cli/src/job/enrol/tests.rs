//! Pairing over a real connection, and what is kept afterwards.

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::args::{Format, NewPassphraseArgs, PassphraseArgs};
use crate::ask::played;
use crate::evidence::Tpm;
use crate::exit::Exit;
use crate::plan::Boxes;
use crate::terminal::Script;
use crate::world::Reach as _;
use crate::world::played::play;

mod box_for_pairing;

use box_for_pairing::{CODE, Tampering, serve};

fn run(
    answers: &[bool],
    format: Format,
    act: impl FnOnce(&mut World<'_>) -> Result<(), Failure>,
) -> (String, Script, Result<(), Failure>) {
    let mut script = Script { secrets: vec![CODE], ..Script::answering(answers) };
    let (written, result) = play(Vec::new(), (Boxes::Selected, format), &mut script, act);
    (written, script, result)
}

fn pair_job(address: &str) -> PairJob {
    PairJob {
        address: address.parse().unwrap(),
        code_file: None,
        name: Some("attic".to_owned()),
        accept_emulated: false,
        passphrase: NewPassphraseArgs { danger_no_passphrase: true, ..NewPassphraseArgs::default() },
    }
}

fn empty_home() -> (TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("holdfast"));
    (dir, home)
}

#[test]
fn a_box_is_paired_over_one_connection_and_then_known() {
    let (_dir, home) = empty_home();
    let server = serve(Tampering::None, Tpm::Genuine);
    let (written, script, result) = run(&[true], Format::Table, |world| pair(world, &home, &pair_job(&server.address)));
    result.unwrap();
    assert!(written.contains("attic is yours"), "{written}");
    let offers = |line: &String| line.contains("holdfast authority export") && line.contains("flashed anew");
    assert!(script.seen.iter().any(offers), "{:?}", script.seen);
    let owned = server.owned.recv().unwrap();
    let authority = home.authority_public().unwrap().unwrap();
    assert_eq!(owned.authority, authority);
    assert!(script.seen.iter().any(|line| line.contains(&owned.words)), "the box shows {}", owned.words);
    let context = home.context("attic").unwrap();
    assert_eq!((context.box_name, context.authority, context.seen.tier.as_str()), (server.box_name, authority, "A"));
    assert_eq!(home.names(&Boxes::Selected).unwrap(), ["attic"]);
}

#[test]
fn a_paired_box_answers_who_shows_its_certificate() {
    let (_dir, home) = empty_home();
    let server = serve(Tampering::None, Tpm::Genuine);
    run(&[true], Format::Table, |world| pair(world, &home, &pair_job(&server.address))).2.unwrap();
    let mut session = home.session("attic").unwrap();
    let version: holdfast_api::Version = session.get("/v1/version").unwrap();
    assert_eq!(version.board, "x86-64-uefi");
    let other = serve(Tampering::None, Tpm::Genuine);
    let mut contexts = home.contexts().unwrap();
    let mut context = contexts.get("attic").unwrap().clone();
    context.address = other.address.parse().unwrap();
    contexts.put(context).unwrap();
    home.save(&contexts).unwrap();
    let failure = home.session("attic").unwrap().get::<Value>("/v1/version").unwrap_err();
    assert_eq!(failure.exit(), Exit::NotPaired, "{failure}");
}

#[test]
fn nothing_is_owned_when_a_step_of_the_pairing_is_wrong() {
    for (tampering, tpm, answers, expected) in [
        (Tampering::OtherCode, Tpm::Genuine, &[][..], "tries are left"),
        (Tampering::None, Tpm::Genuine, &[false], "the words differ"),
        (Tampering::NeverOwned, Tpm::Genuine, &[true], "the vault refused the order"),
        (Tampering::Evidence, Tpm::Genuine, &[true], "the evidence does not verify"),
        (Tampering::None, Tpm::Emulated, &[true], "--danger-accept-emulated-tpm"),
    ] {
        let (_dir, home) = empty_home();
        let server = serve(tampering, tpm);
        let (_, _, result) = run(answers, Format::Table, |world| pair(world, &home, &pair_job(&server.address)));
        let told = result.unwrap_err().told();
        assert!(told.contains(expected), "{told}");
        assert!(server.owned.try_recv().is_err());
        assert!(home.contexts().unwrap().all().is_empty());
        let made = home.authority_public().unwrap().is_some();
        assert_eq!(made, tampering == Tampering::NeverOwned, "an authority is made for a box that will be owned");
    }
}

#[test]
fn a_box_that_is_not_there_has_its_exit_code() {
    let (_dir, home) = empty_home();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, _, result) = run(&[], Format::Table, |world| pair(world, &home, &pair_job(&port.to_string())));
    assert_eq!(result.unwrap_err().exit(), Exit::Unreachable);
    let (_, _, result) = run(&[], Format::Table, |world| {
        let code_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(code_file.path(), "7KQ4-M2XD-0\n").unwrap();
        pair(world, &home, &PairJob { code_file: Some(code_file.path().to_owned()), ..pair_job(&port.to_string()) })
    });
    assert!(result.unwrap_err().told().starts_with("the code is not one: "));
}

#[test]
fn an_export_brings_the_authority_to_another_machine() {
    let (dir, home) = empty_home();
    let args = NewPassphraseArgs::default();
    let mut script = Script { secrets: vec!["correct horse"; 2], ..Script::answering(&[]) };
    let (made, _) = home.authority_or_new(&args, &mut script).unwrap();
    let file = dir.path().join("authority.pem");
    let passphrase = dir.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let args = PassphraseArgs { passphrase_file: Some(passphrase) };
    let export = || AuthorityJob::Export { file: file.clone(), passphrase: args.clone() };
    run(&[], Format::Table, |world| super::authority(world, &home, export())).2.unwrap();
    let again = run(&[], Format::Table, |world| super::authority(world, &home, export())).2;
    assert!(matches!(again, Err(Failure::Write { .. })), "an export was overwritten");
    let (_dir, elsewhere) = empty_home();
    let import =
        AuthorityJob::Import { file, passphrase: NewPassphraseArgs { known: args, danger_no_passphrase: false } };
    run(&[], Format::Table, |world| super::authority(world, &elsewhere, import)).2.unwrap();
    assert_eq!(elsewhere.authority_public().unwrap(), Some(made.public()));
    let (written, _, _) = run(&[], Format::Json, |world| super::authority(world, &elsewhere, AuthorityJob::Show));
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["id"], made.id());
}

#[test]
fn a_serial_number_is_revoked_on_a_box() {
    let list =
        serde_json::json!({"revocations": [{"serial": "0x5f0c3a", "at": "2026-11-27T11:40:17.000Z", "by": "owner"}]});
    let (session, asked) = played::session(vec![("/v1/certificates/revocations", list)]);
    let mut script = Script::answering(&[]);
    let (written, result) =
        play(vec![session], (Boxes::Selected, Format::Table), &mut script, |world| revoke(world, "005f0c3a"));
    result.unwrap();
    assert!(written.contains("box-7f3a  0x5f0c3a"), "{written}");
    let body = asked.lock().unwrap()[0].body.clone().unwrap();
    assert_eq!(body, br#"{"serial":"0x5f0c3a"}"#);
    let (_, _, result) = run(&[], Format::Table, |world| revoke(world, "xyz"));
    assert_eq!(result.unwrap_err().exit(), Exit::Usage);
}
