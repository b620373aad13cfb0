//! The orders of an owner, read back as a vault reads them, and what a vault says.

use holdfast_api::{EvidenceKind, Timestamp};
use holdfast_provisioning::authority::Authority;
use holdfast_types::{Challenge, Millis, ValidatorPublic};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::args::{Format, PassphraseArgs};
use crate::ask::{Request, Session, played};
use crate::evidence::Tpm;
use crate::evidence::played::{answer, answer_holding, opened};
use crate::exit::Exit;
use crate::home::Home;
use crate::home::tests::{put_context, with_authority};
use crate::order::order_in;
use crate::plan::Boxes;
use crate::terminal::Script;
use crate::world::played::play;

/// An operator who owns `box-7f3a`.
struct Owner {
    _dir: TempDir,
    home: Home,
    authority: Authority,
}

fn owner() -> Owner {
    let (_dir, home, authority) = with_authority();
    put_context(&home, &authority, "box-7f3a", "127.0.0.1");
    Owner { _dir, home, authority }
}

impl Owner {
    fn acts(
        &self,
        session: Session,
        answers: &[bool],
        act: impl FnOnce(&mut World<'_>, &Home) -> Result<(), Failure>,
    ) -> (String, Script, Result<(), Failure>) {
        let mut script = Script::answering(answers);
        let how = (Boxes::Selected, Format::Table);
        let (written, result) = play(vec![session], how, &mut script, |world| act(world, &self.home));
        (written, script, result)
    }

    /// What a job orders.
    fn orders(&self, job: VaultJob) -> (Order, String) {
        let (session, asked) = obeying(vec![]);
        let (_, script, result) = self.acts(session, &[true], |world, home| vault(world, home, job));
        result.unwrap();
        (self.ordered(&asked.lock().unwrap()), script.seen[0].clone())
    }

    /// The last order that reached the box, whose signature is the authority's.
    fn ordered(&self, asked: &[Request]) -> Order {
        let request = asked.last().unwrap();
        assert_eq!(request.path, "/v1/vault/orders");
        order_in(request.body.as_ref().unwrap()).verify(&self.authority.public()).unwrap().order
    }
}

/// A box that carries out one order.
fn obeying(mut answers: Vec<(&str, Value)>) -> (Session, played::Asked) {
    answers.push((
        "/v1/vault/challenges",
        json!({"boxName": holdfast_types::BoxName([1; 32]), "challenge": Challenge([5; 32])}),
    ));
    answers.push(("/v1/vault/orders", json!({"signature": null})));
    played::session(answers)
}

fn state() -> Value {
    json!({"version": "0.3.0", "boxName": "0x", "authority": null, "lockHash": null, "shareIndex": 1, "shares": 8,
        "tier": "B", "tierReason": "no Secure Boot", "memory": "memfd_secret", "generation": 4, "level": 2,
        "lease": {"counter": 7, "firstEpoch": 318_206, "lastEpoch": 318_431}, "ordersLogged": 5, "ordersHead": "0x",
        "closed": {"id": "waiting", "reason": "the vault waits until epoch 318206"}})
}

#[test]
fn each_job_gives_its_order_after_saying_what_it_gives_up() {
    let owner = owner();
    let passphrase = PassphraseArgs::default;
    let epoch = Epoch(318_206);
    let validator = ValidatorPublic([0x93; 48]);
    for (job, order, said) in [
        (
            VaultJob::AcceptFloor { epoch, passphrase: passphrase() },
            Order::AcceptFloor { epoch },
            "before epoch 318206",
        ),
        (VaultJob::NewCounter { epoch, passphrase: passphrase() }, Order::NewCounter { epoch }, "before epoch 318206"),
        (VaultJob::VouchDisk { passphrase: passphrase() }, Order::VouchDisk, "a slashing is possible"),
        (
            VaultJob::Retire { validators: vec![validator], passphrase: passphrase() },
            Order::Retire(vec![validator]),
            "erases the shares of 1 for good: 0x9393…9393",
        ),
    ] {
        let (given, question) = owner.orders(job);
        assert_eq!(given, order);
        assert!(question.starts_with("this order to box-7f3a ") && question.contains(said), "{question}");
    }
}

#[test]
fn a_no_signs_nothing() {
    let owner = owner();
    let (session, asked) = played::session(vec![]);
    let job = VaultJob::VouchDisk { passphrase: PassphraseArgs::default() };
    let (_, _, result) = owner.acts(session, &[false], |world, home| vault(world, home, job));
    assert_eq!(result.unwrap_err().exit(), Exit::Refused);
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn a_reset_names_what_is_lost() {
    let owner = owner();
    let (session, asked) = obeying(vec![("/v1/vault", state())]);
    let (written, script, result) =
        owner.acts(session, &[true], |world, home| reset(world, home, &PassphraseArgs::default()));
    result.unwrap();
    assert!(script.seen[0].starts_with("box-7f3a loses its 8 shares, its node identity and its owner"), "{script:?}");
    assert_eq!(owner.ordered(&asked.lock().unwrap()), Order::Reset);
    assert!(written.contains("holdfast context remove box-7f3a"), "{written}");
    let (session, asked) = obeying(vec![("/v1/vault", state())]);
    let (_, _, result) = owner.acts(session, &[false], |world, home| reset(world, home, &PassphraseArgs::default()));
    assert_eq!(result.unwrap_err().exit(), Exit::Refused);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_boot_state_is_approved_as_it_is_quoted_or_as_it_is_said() {
    let owner = owner();
    for (pcr_7, expected) in [(None, [7; 32]), (Some([8; 32]), [8; 32])] {
        let (session, asked) = played::session(vec![
            ("/v1/vault/evidence", answer(Tpm::Unproven)),
            ("/v1/vault/firmware-approvals", Value::Null),
        ]);
        let job = VaultJob::ApproveFirmware { pcr_7, passphrase: PassphraseArgs::default() };
        let (_, script, result) = owner.acts(session, &[true], |world, home| vault(world, home, job));
        result.unwrap();
        assert!(script.seen[0].contains(&holdfast_types::Root(expected).to_string()), "{script:?}");
        let body = asked.lock().unwrap().last().unwrap().body.clone().unwrap();
        let request: ApprovalRequest = serde_json::from_slice(&body).unwrap();
        assert_eq!(crate::order::approval_in(&request), Approval::of_firmware(owner.authority.key(), expected));
    }
}

#[test]
fn what_the_vault_says_is_shown() {
    let owner = owner();
    let (session, _) = played::session(vec![("/v1/vault", state())]);
    let (status, _, result) = owner.acts(session, &[], |world, home| vault(world, home, VaultJob::Status));
    result.unwrap();
    let (session, _) =
        played::session(vec![("/v1/vault/evidence", answer(Tpm::Genuine)), ("/v1/vault/credential", opened())]);
    let job = VaultJob::Evidence(EvidenceKind::Boot);
    let (evidence, _, result) = owner.acts(session, &[], |world, home| vault(world, home, job));
    result.unwrap();
    let (session, _) = played::session(log_of(logged()));
    let (orders, _, result) = owner.acts(session, &[], |world, home| vault(world, home, VaultJob::Orders));
    result.unwrap();
    insta::assert_snapshot!([status, evidence, orders].join("\n"));
}

/// Two entries as a vault logs them.
fn logged() -> Vec<LoggedOrder> {
    let mut before = [0; 32];
    let entry = |number, refused: Option<&str>| LoggedOrder {
        number,
        at_ms: 1_795_779_017_000,
        kind: "Import".into(),
        order: [7; 32],
        refused: refused.map(str::to_owned),
        hash: [0; 32],
    };
    let mut entries = vec![entry(1, None), entry(2, Some("the history is not known"))];
    for entry in &mut entries {
        entry.hash = entry.hash_after(&before);
        before = entry.hash;
    }
    entries
}

/// What a box answers whose vault told the head of `logged()` and whose daemon shows these entries.
fn log_of(entries: Vec<LoggedOrder>) -> Vec<(&'static str, Value)> {
    let told = Custody { shares: None, orders_logged: 2, orders_head: logged()[1].hash };
    let shown: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            json!({"number": entry.number, "at": Timestamp(Millis(entry.at_ms)), "kind": entry.kind,
                "order": Root(entry.order), "refused": entry.refused, "hash": Root(entry.hash)})
        })
        .collect();
    vec![
        ("/v1/vault/evidence", answer_holding(Tpm::Unproven, &told)),
        ("/v1/vault/orders?after=0", json!({"orders": shown})),
        ("/v1/vault/orders?after=2", json!({"orders": []})),
    ]
}

#[test]
fn a_log_that_the_daemon_changed_is_not_shown() {
    let owner = owner();
    let mut without = logged();
    without.remove(0);
    let mut done = logged();
    done[1].refused = None;
    let mut shortened = logged();
    shortened.pop();
    // The first entries may be gone: a box keeps the last ones.
    for (entries, is_shown) in [(logged(), true), (without, true), (done, false), (shortened, false)] {
        let mut answers = log_of(entries.clone());
        if entries.len() == 1 && entries[0].number == 1 {
            answers.push(("/v1/vault/orders?after=1", json!({"orders": []})));
        }
        let (session, _) = played::session(answers);
        let (_, _, result) = owner.acts(session, &[], |world, home| vault(world, home, VaultJob::Orders));
        assert_eq!(result.is_ok(), is_shown, "{entries:?}");
    }
}

#[test]
fn a_history_is_saved_once_and_byte_for_byte() {
    let owner = owner();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("history.json");
    for fits in [true, false] {
        let (session, _) = played::session(vec![("/v1/vault/history", json!({"metadata": {}, "data": []}))]);
        let job = VaultJob::History(Some(file.clone()));
        let (_, _, result) = owner.acts(session, &[], |world, home| vault(world, home, job));
        assert_eq!(result.is_ok(), fits);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), r#"{"data":[],"metadata":{}}"#);
}
