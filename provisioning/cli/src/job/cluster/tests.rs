//! An import against a box whose vault is played: what reaches it, and what never does.

use std::path::PathBuf;

use holdfast_evidence::{Custody, HeldShares, ImportSecret, OrderText, Origin};
use holdfast_types::{BoxName, Challenge, P256Public, ShareIndex};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::args::{Format, PassphraseArgs};
use crate::ask::{Answer, Ask, Method, Request};
use crate::evidence::played::{Credulous, answer, answer_holding, opened};
use crate::evidence::{Known, Tpm};
use crate::exit::Exit;
use crate::order::order_in;
use crate::plan::Boxes;
use crate::shares::tests::made;
use crate::terminal::{Script, Terminal};
use crate::world::played::{PlayedBoxes, play};

const BOX: BoxName = BoxName([1; 32]);

/// The keys of an operator whose authority is open.
struct OpenKeys(Authority);

impl Keys for OpenKeys {
    fn keeps_one(&self) -> Result<bool, Failure> {
        Ok(true)
    }

    fn authority(&self, _: &PassphraseArgs, _: &mut dyn Terminal) -> Result<Authority, Failure> {
        let pem = self.0.export_pem("correct horse", &mut OsRng).unwrap();
        Ok(Authority::import_pem(&pem, "correct horse").unwrap())
    }

    fn owner(&self, _: &str) -> Result<P256Public, Failure> {
        Ok(self.0.public())
    }

    fn expected(&self, _: &str) -> Result<Known, Failure> {
        Ok(Known { box_name: BOX, box_key: Some(P256Public([2; 33])), seen: None })
    }
}

fn keys() -> OpenKeys {
    OpenKeys(Authority::create(&mut OsRng).unwrap())
}

/// The path and the body of each request that changes something.
type Said = std::sync::Arc<std::sync::Mutex<Vec<(String, Vec<u8>)>>>;

/// A box with a daemon that passes orders on and a vault that keeps them.
struct Fake {
    identity: Option<String>,
    tpm: Tpm,
    shares: usize,
    /// Whether the daemon throws orders away and says that they are done.
    drops: bool,
    said: Said,
}

impl Ask for Fake {
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let body = request.body.clone().unwrap_or_default();
        if request.method != Method::Get {
            self.said.lock().unwrap().push((request.path.clone(), body));
        }
        let answer = match request.path.as_str() {
            "/v1/identity" => json!({"enr": self.identity, "peerId": null}),
            "/v1/vault" => self.state(),
            "/v1/vault/challenges" => json!({"boxName": BOX, "challenge": Challenge([5; 32])}),
            "/v1/vault/evidence" => self.evidence(request.body.as_deref().unwrap_or_default()),
            "/v1/vault/credential" => opened(),
            "/v1/vault/orders" => json!({"signature": null}),
            "/v1/configuration" if request.method == Method::Get => json!(Configuration::default()),
            "/v1/configuration" => json!({"changes": [], "dryRun": false, "etag": "\"2\"", "confirmBy": null}),
            "/v1/cluster/lock" => {
                let lock = json!({"name": "Four Friends", "lockHash": "0x", "network": "hoodi", "operators": [],
                    "threshold": 3, "validators": 2});
                json!({"lock": lock, "operator": 1, "dryRun": false})
            }
            other => panic!("nobody expected {other}"),
        };
        Ok(Answer { body: answer.to_string().into_bytes(), etag: Some("\"1\"".into()) })
    }
}

impl Fake {
    fn evidence(&self, body: &[u8]) -> Value {
        let asked: holdfast_api::EvidenceRequest = serde_json::from_slice(body).unwrap();
        if asked.kind != EvidenceKind::Custody {
            return answer(self.tpm);
        }
        let said = self.said.lock().unwrap();
        let given = said.iter().filter(|(path, _)| path == "/v1/vault/orders" && !self.drops);
        let shares = given.map(|(_, body)| order_in(body).unverified().unwrap().order).find_map(|order| match order {
            Order::Import(ImportOrder { lock_hash, share_index, validators, .. }) => {
                let validators = validators.into_iter().map(|validator| (validator, Origin::Imported)).collect();
                Some(HeldShares { lock_hash, share_index, validators })
            }
            _ => None,
        });
        answer_holding(self.tpm, &Custody { shares, orders_logged: 0, orders_head: [0; 32] })
    }

    fn state(&self) -> Value {
        json!({"version": "0.3.0", "boxName": BOX, "authority": null, "lockHash": (self.shares > 0).then_some("0x00"),
            "shareIndex": (self.shares > 0).then_some(1), "shares": self.shares, "tier": "A", "tierReason": "",
            "memory": "memfd_secret", "generation": null, "level": null, "lease": null, "ordersLogged": 0,
            "ordersHead": "0x", "closed": null})
    }
}

/// What an import did.
struct Played {
    written: String,
    result: Result<(), Failure>,
    said: Vec<(String, Vec<u8>)>,
}

fn import_with(keys: &OpenKeys, fake: Fake, job: ImportJob, answers: &[bool]) -> Played {
    let said = std::sync::Arc::clone(&fake.said);
    let session = Session::new("box-7f3a", Box::new(fake));
    let mut script = Script::answering(answers);
    let (written, result) = play(vec![session], (Boxes::Selected, Format::Table), &mut script, |world| {
        cluster(world, keys, ClusterJob::Import(Box::new(job)))
    });
    let said = said.lock().unwrap().clone();
    Played { written, result, said }
}

fn fake(identity: Option<String>) -> Fake {
    Fake { identity, tpm: Tpm::Genuine, shares: 0, drops: false, said: std::sync::Arc::default() }
}

fn job(dir: &TempDir, node: usize) -> ImportJob {
    let node: PathBuf = dir.path().join(format!("node{node}"));
    ImportJob {
        lock: node.join("cluster-lock.json"),
        keystores: node.join("validator_keys"),
        history: HistorySaid::NeverSigned,
        identity: None,
        network: None,
        accept_emulated: false,
        passphrase: PassphraseArgs::default(),
        dry_run: false,
    }
}

/// The orders that reached the vault, whose signature holds.
fn orders(keys: &OpenKeys, said: &[(String, Vec<u8>)]) -> Vec<Order> {
    let orders = said.iter().filter(|(path, _)| path == "/v1/vault/orders").map(|(_, body)| {
        let OrderText { to, challenge, order } = order_in(body).verify(&keys.0.public()).unwrap();
        assert_eq!((to, challenge), (BOX, Challenge([5; 32])));
        order
    });
    orders.collect()
}

#[test]
fn shares_reach_the_vault_sealed_and_under_an_order() {
    let secret = ImportSecret::random(&mut OsRng);
    let judge = Credulous(secret.public());
    let (dir, made) = made(2);
    let keys = keys();
    let fake = fake(Some(Enr::make(&made.nodes[1].key).text().to_owned()));
    let said = std::sync::Arc::clone(&fake.said);
    let reach = PlayedBoxes::of(vec![Session::new("box-7f3a", Box::new(fake))]);
    let (mut written, mut script) = (Vec::new(), Script::answering(&[true]));
    let mut world = World {
        output: crate::output::Output::new(Format::Table, false, &mut written),
        terminal: &mut script,
        reach: &reach,
        boxes: &Boxes::Selected,
        judge: &judge,
        now: crate::world::played::NOW,
    };
    cluster(&mut world, &keys, ClusterJob::Import(Box::new(job(&dir, 1)))).unwrap();
    let said = said.lock().unwrap().clone();
    let orders = orders(&keys, &said);
    let [Order::Import(order)] = orders.as_slice() else { panic!("{orders:?}") };
    assert_eq!((order.share_index, order.history), (ShareIndex(2), HistoryClaim::NeverSigned));
    let ImportOrder { lock_hash, share_index, genesis_fork_version, history, validators, shares, .. } = order;
    let purpose = ImportOrder::purpose(lock_hash, *share_index, *genesis_fork_version, history, validators);
    let plain = secret.open(BOX, &purpose, shares).unwrap();
    let mut expected: Vec<_> = made.lock.validators().map(|one| one.public).zip(&made.nodes[1].shares).collect();
    expected.sort_by_key(|(validator, _)| *validator);
    assert_eq!(*plain, expected.iter().flat_map(|(_, share)| *share.expose()).collect::<Vec<u8>>());
    let (path, body) = said.last().unwrap();
    assert_eq!(path, "/v1/cluster/lock");
    assert_eq!(*body, std::fs::read(dir.path().join("node1/cluster-lock.json")).unwrap());
    for (_, share) in expected {
        let secret = share.expose();
        assert!(said.iter().all(|(_, body)| !body.windows(32).any(|part| part == secret.as_slice())));
    }
}

#[test]
fn an_import_tells_its_steps() {
    let (dir, made) = made(2);
    let played =
        import_with(&keys(), fake(Some(Enr::make(&made.nodes[1].key).text().to_owned())), job(&dir, 1), &[true]);
    played.result.unwrap();
    insta::assert_snapshot!(played.written);
}

#[test]
fn an_identity_that_is_given_goes_before_the_shares() {
    let (dir, _) = made(1);
    let keys = keys();
    let mut job = job(&dir, 0);
    job.identity = Some(dir.path().join("node0/charon-enr-private-key"));
    job.history = HistorySaid::Lost;
    let played = import_with(&keys, fake(None), job, &[true]);
    played.result.unwrap();
    let orders = orders(&keys, &played.said);
    assert!(matches!(orders[0], Order::Identity(IdentityOrder::Imported(_))), "{orders:?}");
    let Order::Import(import) = &orders[1] else { panic!("{orders:?}") };
    assert_eq!(import.history, HistoryClaim::Lost { first: first_epoch(import.epoch) });
}

#[test]
fn nothing_is_sent_to_a_box_that_is_not_the_operator_or_not_trusted() {
    let (dir, made) = made(1);
    let enr = |node: usize| Some(Enr::make(&made.nodes[node].key).text().to_owned());
    let emulated = Fake { tpm: Tpm::Emulated, ..fake(enr(1)) };
    let taken = Fake { shares: 3, ..fake(enr(1)) };
    for (fake, answers, expected) in [
        (fake(enr(2)), &[][..], "the box is operator 3"),
        (fake(None), &[], "has no node identity"),
        (fake(enr(1)), &[false], "it was not confirmed"),
        (emulated, &[true], "--danger-accept-emulated-tpm"),
        (taken, &[], "holds 3 shares of another lock"),
    ] {
        let keys = keys();
        let played = import_with(&keys, fake, job(&dir, 1), answers);
        let failure = played.result.unwrap_err();
        assert_eq!(failure.exit(), Exit::Refused);
        assert!(failure.told().contains(expected), "{failure}");
        assert!(orders(&keys, &played.said).is_empty());
        assert!(
            played.said.iter().all(|(path, _)| ["/v1/vault/evidence", "/v1/vault/credential"].contains(&&**path)),
            "{:?}",
            played.said
        );
    }
}

#[test]
fn an_import_counts_only_when_the_vault_says_so() {
    let (dir, made) = made(1);
    let identity = Some(Enr::make(&made.nodes[1].key).text().to_owned());
    let played = import_with(&keys(), Fake { drops: true, ..fake(identity) }, job(&dir, 1), &[true]);
    let failure = played.result.unwrap_err();
    assert_eq!(failure.exit(), Exit::Refused);
    for words in ["evidence does not show them", "Put these shares into no other box", "10 minutes"] {
        assert!(failure.told().contains(words), "{failure}");
    }
    assert!(played.said.iter().all(|(path, _)| path != "/v1/cluster/lock"), "the lock was sent");
}

#[test]
fn a_dry_run_asks_no_box() {
    let (dir, _) = made(1);
    let played = import_with(&keys(), fake(None), ImportJob { dry_run: true, ..job(&dir, 1) }, &[]);
    played.result.unwrap();
    assert!(played.said.is_empty());
    assert!(played.written.ends_with("the box was not asked\n"), "{}", played.written);
}

fn create_args(network: &str, out: PathBuf) -> CreateArgs {
    CreateArgs {
        name: "trial".into(),
        network: Some(network.into()),
        network_file: None,
        operators: 4,
        threshold: None,
        validators: 2,
        fee_recipient: "0x8943545177806ed17b9f23f0a21ee5948ecaa776".into(),
        withdrawal: "0x8943545177806ed17b9f23f0a21ee5948ecaa776".into(),
        gas_limit: 60_000_000,
        out,
        danger_insecure_keystores: true,
    }
}

#[test]
fn a_cluster_for_trials_is_made_and_can_be_imported() {
    let dir = tempfile::tempdir().unwrap();
    let make = |args: CreateArgs| {
        play(Vec::new(), (Boxes::All, Format::Table), &mut Script::answering(&[]), |world| {
            cluster(world, &keys(), ClusterJob::Create(args))
        })
    };
    for network in ["mainnet", "gnosis"] {
        let failure = make(create_args(network, dir.path().join(network))).1.unwrap_err();
        assert_eq!(failure.exit(), Exit::Refused, "{failure}");
        assert!(!dir.path().join(network).exists());
    }
    assert_eq!(make(create_args("nowhere", dir.path().join("x"))).1.unwrap_err().exit(), Exit::Usage);
    make(create_args("hoodi", dir.path().join("made"))).1.unwrap();
    let out = tempfile::tempdir().unwrap();
    std::fs::rename(dir.path().join("made/node3"), out.path().join("node3")).unwrap();
    let played = import_with(&keys(), fake(None), ImportJob { dry_run: true, ..job(&out, 3) }, &[]);
    played.result.unwrap();
}
