//! Tables and sentences about boxes that are played.

use holdfast_api::ProblemId;
use serde_json::{Value, json};

use super::*;
use crate::args::Format;
use crate::ask::{Session, played};
use crate::plan::Boxes;
use crate::terminal::Script;
use crate::world::played::play;

fn peer(operator: u8, connected: bool) -> Value {
    json!({"operator": operator, "peerId": format!("16Uiu2HAm{operator}"), "own": operator == 0,
        "connected": connected, "version": connected.then_some("holdfast/0.3.0")})
}

fn status(mode: &str, conditions: Value) -> Value {
    json!({"name": "box-7f3a", "version": "0.3.0", "mode": mode, "reason": "it does its duties", "cluster": "Four Friends",
        "validators": 8, "peers": [peer(0, false), peer(1, true), peer(2, true), peer(3, false)], "vault": null,
        "blsPath": "adx", "now": "2026-11-27T11:40:17.000Z", "clockSynchronised": true, "conditions": conditions})
}

fn slow_disk() -> Value {
    json!([{"id": "disk.fsync-slow", "severity": "warning", "since": "2026-11-27T08:40:17.000Z",
        "summary": "p99 840 ms", "remedy": "Replace the disk"}])
}

fn named(name: &str, path: &str, answer: Value) -> Session {
    let (mut session, _) = played::session(vec![(path, answer)]);
    session.name = name.to_owned();
    session
}

fn shown(
    sessions: Vec<Session>,
    how: (Boxes, Format),
    act: impl FnOnce(&mut World<'_>) -> Result<(), Failure>,
) -> String {
    let (written, result) = play(sessions, how, &mut Script::answering(&[]), act);
    result.unwrap();
    written
}

#[test]
fn one_box_is_told_in_sentences() {
    let sessions = vec![named("attic", "/v1/status", status("ready", slow_disk()))];
    let text = shown(sessions, (Boxes::Selected, Format::Table), |world| status_of(world, false, Exit::Done));
    insta::assert_snapshot!(text);
}

fn status_of(world: &mut World<'_>, check: bool, expected: Exit) -> Result<(), Failure> {
    assert_eq!(super::status(world, check)?, expected);
    Ok(())
}

#[test]
fn many_boxes_are_told_in_a_table_and_the_silent_one_is_not_left_out() {
    let (mut silent, _) = played::refusing("/v1/status", ProblemId::VaultUnavailable, "the vault restarts");
    silent.name = "box-e902".to_owned();
    let sessions = vec![
        named("box-7f3a", "/v1/status", status("ready", json!([]))),
        named("box-c41b", "/v1/status", status("draining", slow_disk())),
        silent,
    ];
    let mut script = Script::answering(&[]);
    let (text, result) =
        play(sessions, (Boxes::All, Format::Table), &mut script, |world| super::status(world, false).map(|_| ()));
    insta::assert_snapshot!(text);
    let failure = result.unwrap_err();
    assert_eq!(failure.told(), "1 of 3 boxes did not do it");
    assert!(script.seen[0].starts_with("box-e902: the vault does not answer"), "{:?}", script.seen);
}

#[test]
fn monitoring_learns_of_a_condition_by_the_exit_code() {
    for (conditions, check, expected) in
        [(slow_disk(), true, Exit::Condition), (slow_disk(), false, Exit::Done), (json!([]), true, Exit::Done)]
    {
        let sessions = vec![named("attic", "/v1/status", status("ready", conditions))];
        shown(sessions, (Boxes::Selected, Format::Table), |world| status_of(world, check, expected));
    }
}

#[test]
fn programs_get_what_the_box_said() {
    let sessions = || vec![named("attic", "/v1/status", status("ready", json!([])))];
    let one = shown(sessions(), (Boxes::Selected, Format::Json), |world| status_of(world, false, Exit::Done));
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), status("ready", json!([])));
    let all = shown(sessions(), (Boxes::All, Format::Json), |world| status_of(world, false, Exit::Done));
    let expected = json!([{"box": "attic", "answer": status("ready", json!([]))}]);
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap(), expected);
    let yaml = shown(sessions(), (Boxes::Selected, Format::Yaml), |world| status_of(world, false, Exit::Done));
    assert!(yaml.contains("cluster: Four Friends\n"), "{yaml}");
}

#[test]
fn peers_are_told_by_operator() {
    let list = json!({"peers": [peer(0, false), peer(1, true), peer(2, false)]});
    let text = shown(vec![named("attic", "/v1/peers", list)], (Boxes::Selected, Format::Table), super::peers);
    insta::assert_snapshot!(text);
}

fn duty(slot: u64, missed: Option<&str>) -> Value {
    json!({"slot": slot, "kind": "attester", "validators": 8, "decidedRound": 2, "decidedMs": 7900, "withheld": null,
        "signed": 8, "refused": [], "partialsFrom": [0, 1], "combined": 8, "broadcast": if missed.is_some() { 0 } else { 8 },
        "broadcastMs": missed.is_none().then_some(900), "missed": missed})
}

fn cluster(network: &str) -> Value {
    let lock = json!({"name": "Four Friends", "lockHash": "0x", "network": network, "operators": [], "threshold": 3,
        "validators": 8});
    json!({"lock": lock, "operator": 0})
}

/// The duties of the last hour, of a box on this network.
fn last_hour(network: &str, slots: [u64; 3]) -> String {
    let page = |duties: Vec<Value>, next: u64| json!({"duties": duties, "next": next});
    let [old, recent, newest] = slots;
    let first = vec![duty(old, None), duty(recent, None)];
    let (session, _) = played::session(vec![
        ("/v1/duties?after=0&missed=false&limit=500", page(first, 7)),
        ("/v1/duties?after=7&missed=false&limit=500", page(vec![duty(newest, Some("no beacon node took it"))], 9)),
        ("/v1/duties?after=9&missed=false&limit=500", page(vec![], 9)),
        ("/v1/cluster", cluster(network)),
    ]);
    let hour = Some(Duration::from_secs(3_600));
    shown(vec![session], (Boxes::Selected, Format::Table), |world| super::duties(world, false, hour, true))
}

#[test]
fn duties_are_read_to_the_end_and_say_why() {
    insta::assert_snapshot!(last_hour("0x53000001", [8_700, 8_702, 9_001]));
}

#[test]
fn the_last_hour_is_counted_in_the_slots_of_the_network() {
    let chain = public_networks().find(|facts| facts.name == "gnosis").unwrap().chain;
    let present = chain.slot_at(crate::world::played::NOW).unwrap().0;
    let hour = 3_600_000 / chain.slot_ms;
    let text = last_hour("gnosis", [present - hour - 1, present - hour, present - 1]);
    assert!(!text.contains(&(present - hour - 1).to_string()), "{text}");
    assert!(text.contains(&(present - hour).to_string()), "{text}");
}

#[test]
fn validators_are_read_page_by_page() {
    let validator = |byte: &str, held: bool| {
        json!({"pubkey": format!("0x{}", byte.repeat(48)), "index": "41207", "status": "active_ongoing", "shareHeld": held,
            "feeRecipient": "0x8943545177806ed17b9f23f0a21ee5948ecaa776"})
    };
    let (session, _) = played::session(vec![
        ("/v1/validators?limit=500", json!({"validators": [validator("93", true)], "cursor": "abc"})),
        ("/v1/validators?limit=500&cursor=abc", json!({"validators": [validator("a1", false)], "cursor": null})),
    ]);
    let text = shown(vec![session], (Boxes::Selected, Format::Table), super::validators);
    insta::assert_snapshot!(text);
    let (liar, _) =
        played::session(vec![("/v1/validators?limit=500", json!({"validators": [], "cursor": "a&limit=0#"}))]);
    let (_, result) =
        play(vec![liar], (Boxes::Selected, Format::Table), &mut Script::answering(&[]), super::validators);
    assert!(result.unwrap_err().told().contains("in a form that no page has"));
}

#[test]
fn the_log_shows_its_last_lines() {
    let line = |number: u64| {
        json!({"number": number, "at": "2026-11-27T11:40:17.000Z", "level": "INFO", "target": "peers",
            "text": format!("line {number}\u{1b}[2J")})
    };
    let (session, _) = played::session(vec![
        ("/v1/logs?after=0&limit=500", json!({"lines": [line(1), line(2), line(3)]})),
        ("/v1/logs?after=3&limit=500", json!({"lines": []})),
    ]);
    let text = shown(vec![session], (Boxes::Selected, Format::Table), |world| super::logs(world, false, 2));
    insta::assert_snapshot!(text);
}

#[test]
fn the_audit_log_is_read_to_its_end() {
    let entry = |number: u64, problem: Option<&str>| {
        json!({"number": number, "at": "2026-11-27T11:30:17.000Z", "by": "alice 0x5f0c3a", "from": "192.168.1.9",
            "request": "POST /v1/actions/drain", "status": if problem.is_some() { 403 } else { 202 }, "problem": problem})
    };
    let (session, _) = played::session(vec![
        ("/v1/audit?after=0&limit=500", json!({"entries": [entry(1, None)]})),
        ("/v1/audit?after=1&limit=500", json!({"entries": [entry(2, Some("role-forbids"))]})),
        ("/v1/audit?after=2&limit=500", json!({"entries": []})),
    ]);
    insta::assert_snapshot!(shown(vec![session], (Boxes::Selected, Format::Table), super::audit));
}
