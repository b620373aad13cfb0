//! Changes of a configuration: shown, confirmed, applied, or not.

use holdfast_api::ProblemId;
use serde_json::{Value, json};

use super::*;
use crate::args::Format;
use crate::ask::{Request, Session, played};
use crate::exit::Exit;
use crate::plan::Boxes;
use crate::terminal::Script;
use crate::world::played::play;

const URL: &str = "http://user:secret@192.168.1.20:5052/token";

fn tested(lag: u64) -> Value {
    json!({"version": "Lighthouse/v8.0.0", "genesisForkVersion": "0x10000910", "headLagSlots": lag, "syncing": false,
        "answerMs": 12})
}

fn configuration(urls: &[(&str, &str)]) -> Configuration {
    let node = |(name, url): &(&str, &str)| BeaconNode { name: (*name).to_owned(), url: (*url).to_owned() };
    Configuration { beacon_nodes: urls.iter().map(node).collect(), ..Configuration::default() }
}

fn changed(confirm: bool) -> Value {
    let by = confirm.then_some("2026-11-27T11:45:17.000Z");
    json!({"changes": [{"field": "/beaconNodes", "before": "[]", "after": "[…]"}], "dryRun": false, "etag": "\"2\"",
        "confirmBy": by})
}

fn run(
    session: Session,
    answers: &[bool],
    act: impl FnOnce(&mut World<'_>) -> Result<(), Failure>,
) -> (String, Script, Result<(), Failure>) {
    let mut script = Script::answering(answers);
    let (written, result) = play(vec![session], (Boxes::Selected, Format::Table), &mut script, act);
    (written, script, result)
}

fn put(request: &Request) -> Configuration {
    assert_eq!(request.if_match.as_deref(), Some("\"1\""));
    serde_json::from_slice(request.body.as_ref().unwrap()).unwrap()
}

#[test]
fn a_beacon_node_is_tested_shown_and_added() {
    let (session, asked) = played::session(vec![
        ("/v1/beacon-nodes/tests", tested(0)),
        ("/v1/configuration", json!(configuration(&[("beacon-1", "http://one")]))),
        ("/v1/configuration?dryRun=true", changed(false)),
        ("/v1/configuration", changed(false)),
    ]);
    let job = BeaconJob::Add { url: URL.to_owned(), name: None };
    let (written, script, result) = run(session, &[true], |world| beacon(world, &job));
    result.unwrap();
    assert!(written.starts_with("node        http://…@192.168.1.20:5052/…\n"), "{written}");
    assert!(written.contains("+- name: beacon-2"), "{written}");
    assert!(written.ends_with("applied\n"), "{written}");
    assert_eq!(script.seen, ["apply 1 change to box-7f3a?"]);
    let asked = asked.lock().unwrap();
    assert_eq!(put(&asked[3]), configuration(&[("beacon-1", "http://one"), ("beacon-2", URL)]));
}

#[test]
fn a_beacon_node_of_another_network_is_not_added() {
    let detail = "http://node is on hoodi, and the cluster on mainnet: take a node of mainnet";
    let (session, asked) = played::refusing("/v1/beacon-nodes/tests", ProblemId::BeaconMismatch, detail);
    let job = BeaconJob::Add { url: URL.to_owned(), name: None };
    let (_, _, result) = run(session, &[], |world| beacon(world, &job));
    let failure = result.unwrap_err();
    assert_eq!(failure.exit(), Exit::Failed);
    assert!(failure.told().contains(detail), "{failure}");
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_name_or_a_url_is_used_once() {
    for (url, name, expected) in [
        ("http://one", None, "is used already, under the name \"local\""),
        ("http://two", Some("local".to_owned()), "there is a beacon node \"local\" already"),
    ] {
        let (session, _) = played::session(vec![
            ("/v1/beacon-nodes/tests", tested(0)),
            ("/v1/configuration", json!(configuration(&[("local", "http://one")]))),
        ]);
        let job = BeaconJob::Add { url: url.to_owned(), name };
        let (_, _, result) = run(session, &[], |world| beacon(world, &job));
        assert!(result.unwrap_err().told().contains(expected));
    }
}

#[test]
fn the_last_beacon_node_goes_with_a_warning_and_an_unknown_one_not_at_all() {
    let present = || json!(configuration(&[("local", "http://one")]));
    let (session, _) = played::session(vec![
        ("/v1/configuration", present()),
        ("/v1/configuration?dryRun=true", changed(false)),
        ("/v1/configuration", changed(false)),
    ]);
    let job = BeaconJob::Remove { name: "local".to_owned() };
    let (_, script, result) = run(session, &[true], |world| beacon(world, &job));
    result.unwrap();
    assert!(script.seen[0].contains("the last beacon node"), "{:?}", script.seen);
    let (session, _) = played::session(vec![("/v1/configuration", present())]);
    let job = BeaconJob::Remove { name: "other".to_owned() };
    let (_, _, result) = run(session, &[], |world| beacon(world, &job));
    assert_eq!(result.unwrap_err().told(), "there is no beacon node \"other\": there are local");
}

#[test]
fn tokens_in_urls_are_not_listed() {
    let (session, _) = played::session(vec![("/v1/configuration", json!(configuration(&[("local", URL)])))]);
    let (written, _, result) = run(session, &[], |world| beacon(world, &BeaconJob::List));
    result.unwrap();
    assert_eq!(written, "NAME   URL\nlocal  http://…@192.168.1.20:5052/…\n");
    assert_eq!(hidden("https://node"), "https://node");
    assert_eq!(hidden("https://node/?key=1"), "https://node/…");
    assert_eq!(hidden("https://node?key=1"), "https://node/…");
}

/// Applies this file over a configuration without beacon nodes.
fn apply(text: &str, dry_run: bool, confirm: bool, answers: &[bool]) -> (Vec<Request>, Result<(), Failure>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let (session, asked) = played::session(vec![
        ("/v1/configuration", json!(configuration(&[]))),
        ("/v1/configuration?dryRun=true", changed(false)),
        ("/v1/configuration", changed(confirm)),
        ("/v1/configuration/confirmation", changed(false)),
    ]);
    let job = ConfigJob::Apply { file: file.path().to_owned(), dry_run };
    let (_, _, result) = run(session, answers, |world| config(world, &job));
    let asked = asked.lock().unwrap().clone();
    (asked, result)
}

#[test]
fn json_and_yaml_are_applied_alike() {
    for text in [r#"{"nickname": "attic"}"#, "nickname: attic\n"] {
        let (asked, result) = apply(text, false, false, &[true]);
        result.unwrap();
        assert_eq!(put(&asked[2]), Configuration { nickname: "attic".into(), ..Configuration::default() });
        assert_eq!(asked.len(), 3);
    }
}

#[test]
fn a_dry_run_or_a_no_changes_nothing() {
    let (asked, result) = apply("nickname: attic\n", true, false, &[]);
    result.unwrap();
    assert_eq!(asked.last().unwrap().path, "/v1/configuration?dryRun=true");
    let (asked, result) = apply("nickname: attic\n", false, false, &[false]);
    assert_eq!(result.unwrap_err().exit(), Exit::Refused);
    assert_eq!(asked.len(), 2);
}

#[test]
fn a_change_that_would_be_taken_back_is_confirmed_over_what_it_made() {
    let (asked, result) = apply("api: {listen: '0.0.0.0:8443'}\n", false, true, &[true]);
    result.unwrap();
    assert_eq!(asked.last().unwrap().path, "/v1/configuration/confirmation");
}

#[test]
fn an_unknown_field_is_refused_before_the_box_is_asked_to_change() {
    for text in ["nickmane: attic\n", "nickname: [\n", "nickname: a\nnickname: b\n"] {
        let (asked, result) = apply(text, false, false, &[]);
        assert!(result.unwrap_err().told().contains("is no configuration: "));
        assert_eq!(asked.len(), 1);
    }
}

/// Edits a configuration by a shell script, which gets the file as its argument.
fn edit_by(script: &str, answers: &[bool]) -> (Vec<Request>, Script, Result<(), Failure>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("editor.sh");
    std::fs::write(&path, script).unwrap();
    let (session, asked) = played::session(vec![
        ("/v1/configuration", json!(configuration(&[("local", URL)]))),
        ("/v1/configuration?dryRun=true", changed(false)),
        ("/v1/configuration", changed(false)),
    ]);
    let editor = format!("sh {}", path.display());
    let (_, script, result) = run(session, answers, |world| {
        let mut session = world.session()?;
        edit(world, &mut session, &editor)
    });
    let asked = asked.lock().unwrap().clone();
    (asked, script, result)
}

#[test]
fn what_the_editor_leaves_is_applied() {
    let (asked, script, result) = edit_by("sed -i 's/^nickname: .*/nickname: attic/' $1", &[true]);
    result.unwrap();
    assert_eq!(put(&asked[2]), Configuration { nickname: "attic".into(), ..configuration(&[("local", URL)]) });
    assert_eq!(script.seen, ["apply 1 change to box-7f3a?"]);
}

#[test]
fn an_editor_that_changes_nothing_or_fails_applies_nothing() {
    let (asked, _, result) = edit_by("true", &[]);
    result.unwrap();
    assert_eq!(asked.len(), 1);
    let (asked, _, result) = edit_by("exit 3", &[]);
    assert!(result.unwrap_err().told().contains("the editor \"sh\" failed, nothing was applied"));
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_mistake_can_be_edited_again_without_losing_the_rest() {
    let script = "if grep -q nickmane $1; then sed -i 's/^nickmane:/nickname:/' $1; \
        else sed -i 's/^nickname: .*/nickmane: attic/' $1; fi";
    let (asked, told, result) = edit_by(script, &[true, true]);
    result.unwrap();
    assert!(told.seen[0].starts_with("the edited configuration is no configuration: "), "{:?}", told.seen);
    assert_eq!(put(&asked[2]).nickname, "attic");
    let (_, _, result) = edit_by(script, &[false]);
    assert_eq!(result.unwrap_err().exit(), Exit::Failed);
}
