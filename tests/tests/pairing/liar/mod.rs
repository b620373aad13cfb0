//! A daemon that answers every request of the command itself: it must gain nothing, and what it cannot hide is told.
//!
//! One box, one vault on an emulated TPM and one liar for all lies, in an order in which none disturbs the next: each of them
//! is told before the shares are in the box, then they are imported in earnest, then the rest.

mod daemon;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::OrderRequest;
use holdfast_cluster::Keystore;
use holdfast_evidence::{Evidence, EvidenceKind, HeldShares, ImportSecret, Origin, SignedOrder, Tier};
use holdfast_tests::kit::{Desk, NodeBox, Place, Said, code_on_screen};
use holdfast_tests::scan::Needles;
use holdfast_types::{LockHash, ShareIndex, ValidatorPublic};
use holdfast_vault_client::VaultStatus;
use rand::rngs::OsRng;
use serde_json::{Value, json};

use self::daemon::{EVIDENCE, Honest, Liar, Lie, Reply};
use super::guessing::lone_box;

/// Who sits where.
struct Stage {
    node: NodeBox,
    /// Another box, on another TPM, of nobody.
    other: NodeBox,
    desk: Desk,
    liar: Liar,
    cluster: PathBuf,
}

/// Every lie, one after the other.
pub(crate) fn gains_nothing(dir: &Path) -> anyhow::Result<()> {
    let mut stage = Stage::set(dir)?;
    stage.lies_about_evidence()?;
    stage.claims_that_it_has_the_shares()?;
    let kept = stage.keeps_the_import()?;
    stage.carries_the_order_elsewhere(&kept)?;
    let carried = stage.imports_in_earnest()?;
    stage.brings_orders_again(&[&kept, &carried])?;
    stage.drops_an_order()?;
    stage.lies_about_the_log()?;
    stage.has_heard_no_share(dir)?;
    stage.other.stop()?;
    stage.node.stop()
}

impl Stage {
    fn set(dir: &Path) -> anyhow::Result<Self> {
        let node = lone_box(dir)?;
        let here = Place::here();
        let mut other = NodeBox::new(1, here.clone(), &dir.join("other"), here.free_port(3630)?)?;
        other.start_vault()?;
        let home = dir.join("desk");
        let desk = Desk::new(&home, here)?;
        let code = code_on_screen(&node.screen_socket())?;
        let address = node.api_address()?;
        desk.run_with(
            &["pair", &address, "--code-file", "-", "--name", "one", "--yes", EMULATED, "--danger-no-passphrase"],
            &code,
        )?;
        let cluster = dir.join("cluster");
        let (fees, out) = ("0x8943545177806ed17b9f23f0a21ee5948ecaa776", cluster.display().to_string());
        let to = ["--fee-recipient", fees, "--withdrawal", fees, "--out", &out, "--danger-insecure-keystores"];
        desk.run(&[["cluster", "create", "trial", "--network", "hoodi"].as_slice(), &to].concat())?;
        let liar = Liar::instead_of(&node, &home, "one")?;
        let stage = Self { node, other, desk, liar, cluster };
        // Without a lie all is well through it, so that what is refused below is refused for the lie.
        let identity = stage.cluster.join("node0/charon-enr-private-key").display().to_string();
        stage.desk.run(&["cluster", "enr", "--identity", &identity, EMULATED])?;
        Ok(stage)
    }

    fn import(&self, trust: &[&str]) -> anyhow::Result<Said> {
        let path = |name: &str| self.cluster.join("node0").join(name).display().to_string();
        let (lock, keystores) = (path("cluster-lock.json"), path("validator_keys"));
        let import = ["--yes", "cluster", "import", &lock, "--keystores", &keystores, "--never-signed"];
        self.desk.ask(&[&import, trust].concat(), "")
    }

    /// Runs an import under a lie, which must end refused, in these words, with the vault as it was.
    fn import_under(&self, what: &str, trust: &[&str], lie: Lie, words: &str) -> anyhow::Result<()> {
        let before = self.held()?;
        self.liar.plays(lie);
        let said = self.import(trust)?;
        refused(what, &said, REFUSED, words)?;
        ensure!(self.held()? == before, "{what}: the vault is not as it was");
        println!("  {what}: refused");
        Ok(())
    }

    /// What the vault itself says that it holds, has signed and was ordered.
    fn held(&self) -> anyhow::Result<(Vec<ValidatorPublic>, String, u64)> {
        let mut vault = self.node.vault()?;
        let VaultStatus { validators, orders_logged, .. } = vault.status()?;
        Ok((validators, format!("{:?}", vault.history_backup(None)?), orders_logged))
    }

    fn lies_about_evidence(&self) -> anyhow::Result<()> {
        let socket = self.other.socket();
        let other = move |kind, nonce| -> anyhow::Result<Evidence> {
            Ok(holdfast_vault_client::Client::connect(&socket)?.evidence(kind, nonce)?)
        };
        let others = other.clone();
        let all = [EMULATED];
        let no_answer = "no answer to what was asked";
        self.import_under(
            "evidence of another box",
            &all,
            telling(move |_, kind, nonce| others(kind, nonce)),
            "not of",
        )?;
        self.import_under(
            "evidence for an older nonce",
            &all,
            telling(|own, kind, _| Ok(own.vault()?.evidence(kind, [7; 32])?)),
            no_answer,
        )?;
        self.import_under(
            "an import key of the liar's",
            &all,
            changed(|evidence| evidence.body.import_key = Some(ImportSecret::random(&mut OsRng).public())),
            no_answer,
        )?;
        self.import_under("tier A claimed", &[], changed(|evidence| evidence.body.tier = Tier::A), no_answer)?;
        self.import_under(
            "a maker's certificate claimed",
            &[],
            changed(|evidence| evidence.endorsement.certificate = Some(vec![0x30, 0])),
            EMULATED,
        )?;
        let endorsement = other(EvidenceKind::Boot, [0; 32])?.endorsement;
        self.import_under(
            "the endorsement key of another TPM",
            &all,
            changed(move |evidence| evidence.endorsement = endorsement.clone()),
            "the endorsement key of its TPM is not what it was at the pairing",
        )
    }

    /// The box would have them already, so that the command sends nothing and calls it done.
    fn claims_that_it_has_the_shares(&self) -> anyhow::Result<()> {
        let (lock_hash, validators) = self.lock()?;
        let claims = move |state: &mut Value| {
            state["lockHash"] = lock_hash.to_string().into();
            state["shareIndex"] = 1.into();
            state["shares"] = validators.len().into();
        };
        let lie = answering(|path| path == "/v1/vault", claims);
        self.import_under("shares claimed that it has not", &[EMULATED], lie, NOT_SHOWN)
    }

    /// Says that the import is done and keeps it; then the same with evidence that was changed to match.
    fn keeps_the_import(&self) -> anyhow::Result<SignedOrder> {
        let kept = Arc::default();
        let lie = keeping(&kept, |_, _| Ok(None));
        self.import_under("an import kept", &[EMULATED], lie, NOT_SHOWN)?;
        let (lock_hash, validators) = self.lock()?;
        let custody = move |heard: &daemon::Heard, honest: &Honest| {
            let (kind, nonce) = heard.question()?;
            let mut evidence = honest.vault()?.evidence(kind, nonce)?;
            if let Some(custody) = &mut evidence.body.custody {
                let validators = validators.iter().map(|validator| (*validator, Origin::Imported)).collect();
                custody.shares = Some(HeldShares { lock_hash, share_index: ShareIndex(1), validators });
            }
            Reply::of_evidence(&evidence).map(Some)
        };
        let lie = keeping(&kept, custody);
        self.import_under("an import kept, its custody forged", &[EMULATED], lie, "no answer to what was asked")?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.context("the liar kept no order")
    }

    /// Another box does not obey, and neither does this one when a byte was changed.
    fn carries_the_order_elsewhere(&self, kept: &SignedOrder) -> anyhow::Result<()> {
        ensure!(self.other.vault()?.order(kept.clone()).is_err(), "another box took the import");
        ensure!(self.other.vault()?.status()?.validators.is_empty(), "another box has shares");
        let bytes = kept.to_bytes();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let Ok(changed) = SignedOrder::from_bytes(&changed) else { continue };
            ensure!(self.node.vault()?.order(changed).is_err(), "an order with another byte {at} was carried out");
        }
        ensure!(self.held()?.0.is_empty(), "the vault took shares");
        Ok(())
    }

    /// The truth, but the liar keeps a copy of the order.
    fn imports_in_earnest(&self) -> anyhow::Result<SignedOrder> {
        let kept: Kept = Arc::default();
        let copy = Arc::clone(&kept);
        self.liar.plays(Box::new(move |heard, _| {
            if heard.path == ORDERS {
                *copy.lock().unwrap_or_else(PoisonError::into_inner) = Some(order_of(&heard.body)?);
            }
            Ok(None)
        }));
        let said = self.import(&[EMULATED])?;
        // The node's configuration has no beacon node, but lock and shares are in the box.
        ensure!(said.code == 0, "an import in earnest ended with {}: {}{}", said.code, said.out, said.err);
        ensure!(said.out.contains("the vault's evidence shows every share"), "it does not say so: {}", said.out);
        ensure!(self.held()?.0 == self.lock()?.1, "the vault holds other shares");
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.context("the liar copied no order")
    }

    /// What was kept is void, and what was carried out is not carried out again.
    fn brings_orders_again(&self, orders: &[&SignedOrder]) -> anyhow::Result<()> {
        let before = self.held()?;
        for order in orders {
            let again = self.node.vault()?.order((*order).clone());
            let words = format!("{:?}", again.err().context("an order was carried out late or twice")?);
            ensure!(words.contains("challenge"), "it was refused for something else: {words}");
        }
        let after = self.held()?;
        ensure!((&after.0, &after.1) == (&before.0, &before.1), "shares or history changed: {before:?}, {after:?}");
        Ok(())
    }

    /// The command cannot know, says whose word it is, and the vault's log shows that there was no such order.
    fn drops_an_order(&self) -> anyhow::Result<()> {
        let before = self.held()?;
        self.liar.plays(keeping(&Arc::default(), |_, _| Ok(None)));
        let said = self.desk.ask(&["--yes", "vault", "retire", &before.0[0].to_string()], "")?;
        ensure!(said.code == 0 && said.out.contains("one says that it carried out"), "{}{}", said.out, said.err);
        ensure!(self.held()? == before, "the vault is not as it was");
        self.liar.plays(Box::new(|_, _| Ok(None)));
        let log = self.desk.run(&["vault", "orders"])?;
        ensure!(log.contains("Import") && !log.contains("Retire"), "the log of the vault: {log}");
        Ok(())
    }

    /// An entry left out, the end cut off, two exchanged, a refusal told as done: also with a head that would match.
    fn lies_about_the_log(&self) -> anyhow::Result<()> {
        type Change = fn(&mut Vec<Value>);
        let lies: [(&str, Change); 4] = [
            ("an order left out", |orders| orders.retain(|order| order["number"] != 2)),
            ("the end of the log cut off", |orders| orders.retain(|order| order["number"].as_u64() < Some(5))),
            ("the orders turned around", |orders| orders.reverse()),
            ("a refusal told as done", |orders| orders.iter_mut().for_each(|order| order["refused"] = Value::Null)),
        ];
        for (what, change) in lies {
            let told = move |page: &mut Value| {
                if let Some(orders) = page["orders"].as_array_mut() {
                    change(orders);
                }
            };
            self.liar.plays(answering(|path| path.starts_with("/v1/vault/orders?"), told));
            let said = self.desk.ask(&["vault", "orders"], "")?;
            refused(what, &said, FAILED, "is not what the vault wrote")?;
        }
        // A log of nothing, and a state that says that nothing was ordered.
        let nothing = |page: &mut Value| match page.get("orders") {
            Some(_) => page["orders"] = json!([]),
            None => (page["ordersLogged"], page["ordersHead"]) = (0.into(), format!("0x{:064}", 0).into()),
        };
        self.liar.plays(answering(|path| path == "/v1/vault" || path.starts_with("/v1/vault/orders?"), nothing));
        refused("an empty log", &self.desk.ask(&["vault", "orders"], "")?, FAILED, "is not what the vault wrote")
    }

    /// Neither in what it heard nor in what it kept of the identity before.
    fn has_heard_no_share(&self, dir: &Path) -> anyhow::Result<()> {
        let folder = self.cluster.join("node0/validator_keys");
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let keystore = Keystore::parse(read("keystore-insecure-0.json")?.as_bytes())?;
        let share = keystore.decrypt(read("keystore-insecure-0.txt")?.trim())?;
        let needles = Needles::of(&[*share.expose()]);
        let heard = dir.join("heard");
        let bytes = self.liar.heard();
        ensure!(bytes.len() > 10_000, "the liar heard {} bytes only", bytes.len());
        std::fs::write(&heard, &bytes)?;
        let found = needles.scan_file(&heard)?.findings;
        ensure!(found.is_empty(), "the liar heard a share: {found:?}");
        // The scan finds what is there.
        std::fs::write(&heard, [bytes.as_slice(), share.expose().as_slice()].concat())?;
        ensure!(!needles.scan_file(&heard)?.findings.is_empty(), "a planted share is not found");
        Ok(())
    }

    /// The lock's hash and its validators, from its file.
    fn lock(&self) -> anyhow::Result<(LockHash, Vec<ValidatorPublic>)> {
        let text = std::fs::read(self.cluster.join("node0/cluster-lock.json"))?;
        let lock: Value = serde_json::from_slice(&text)?;
        let hash = lock["lock_hash"].as_str().context("a lock has a hash")?.parse()?;
        let validators = lock["distributed_validators"].as_array().context("a lock has validators")?;
        let key = |one: &Value| Ok(one["distributed_public_key"].as_str().context("it has a key")?.parse()?);
        Ok((hash, validators.iter().map(key).collect::<anyhow::Result<_>>()?))
    }
}

fn refused(what: &str, said: &Said, code: i32, words: &str) -> anyhow::Result<()> {
    let as_expected = said.code == code && said.err.contains(words);
    ensure!(as_expected, "{what}: ended with {}, not {code} and {words:?}: {}{}", said.code, said.out, said.err);
    Ok(())
}

/// Tells other evidence than the vault's.
fn telling(mut tell: impl FnMut(&Honest, EvidenceKind, [u8; 32]) -> anyhow::Result<Evidence> + Send + 'static) -> Lie {
    Box::new(move |heard, honest| {
        if heard.path != EVIDENCE {
            return Ok(None);
        }
        let (kind, nonce) = heard.question()?;
        Reply::of_evidence(&tell(honest, kind, nonce)?).map(Some)
    })
}

/// Tells the vault's evidence with a change.
fn changed(change: impl Fn(&mut Evidence) + Send + 'static) -> Lie {
    telling(move |honest, kind, nonce| {
        let mut evidence = honest.vault()?.evidence(kind, nonce)?;
        change(&mut evidence);
        Ok(evidence)
    })
}

/// Changes what the daemon truly answers on some paths.
fn answering(is: fn(&str) -> bool, change: impl Fn(&mut Value) + Send + 'static) -> Lie {
    Box::new(move |heard, honest| {
        if !is(&heard.path) || heard.method != "GET" {
            return Ok(None);
        }
        let mut reply = honest.answer(heard)?;
        let mut answer = serde_json::from_slice(&reply.body)?;
        change(&mut answer);
        reply.body = serde_json::to_vec(&answer)?;
        Ok(Some(reply))
    })
}

/// Keeps the last order, says that it is done, and plays another lie about evidence.
fn keeping(
    kept: &Kept,
    evidence: impl Fn(&daemon::Heard, &Honest) -> anyhow::Result<Option<Reply>> + Send + 'static,
) -> Lie {
    let kept = Arc::clone(kept);
    Box::new(move |heard, honest| match heard.path.as_str() {
        ORDERS => {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(order_of(&heard.body)?);
            Ok(Some(Reply::of(&json!({"signature": null}))))
        }
        EVIDENCE => evidence(heard, honest),
        _ => Ok(None),
    })
}

fn order_of(body: &[u8]) -> anyhow::Result<SignedOrder> {
    let request: OrderRequest = serde_json::from_slice(body)?;
    Ok(SignedOrder::from_bytes(&STANDARD.decode(request.order)?)?)
}

/// The order that was kept last.
type Kept = Arc<Mutex<Option<SignedOrder>>>;

const ORDERS: &str = "/v1/vault/orders";
const NOT_SHOWN: &str = "the vault's evidence does not show them";
const EMULATED: &str = "--danger-accept-emulated-tpm";
const FAILED: i32 = 1;
const REFUSED: i32 = 3;
