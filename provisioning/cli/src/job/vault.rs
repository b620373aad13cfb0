//! The vault: what it says, and the orders that only its owner gives.

use std::path::Path;

use holdfast_api::{ApprovalRequest, OrderLog, OrderLogQuery, VaultState};
use holdfast_evidence::log::check_log;
use holdfast_evidence::{Approval, Custody, LoggedOrder, Order};
use holdfast_types::{Epoch, ParseHexError, Root};

use super::words::{ago, short};
use crate::evidence;
use crate::exit::Failure;
use crate::files;
use crate::home::Keys;
use crate::order::give;
use crate::output::{Cell, Table, Tone};
use crate::plan::VaultJob;
use crate::world::World;

/// Does something about the vault.
pub(crate) fn vault(world: &mut World<'_>, keys: &dyn Keys, job: VaultJob) -> Result<(), Failure> {
    match job {
        VaultJob::Status => status(world),
        VaultJob::Evidence(kind) => show_evidence(world, keys, kind),
        VaultJob::History(file) => history(world, file.as_deref()),
        VaultJob::Orders => orders(world, keys),
        VaultJob::AcceptFloor { epoch, passphrase } => {
            let loss = format!("accepts that what was signed before epoch {epoch} is not known");
            ordered(world, keys, &passphrase, Order::AcceptFloor { epoch }, &loss)
        }
        VaultJob::VouchDisk { passphrase } => {
            let loss = "vouches that this disk was not restored from an older copy; if it was, a slashing is possible";
            ordered(world, keys, &passphrase, Order::VouchDisk, loss)
        }
        VaultJob::NewCounter { epoch, passphrase } => {
            let loss = format!("begins a new lease: nothing before epoch {epoch} is signed any more");
            ordered(world, keys, &passphrase, Order::NewCounter { epoch }, &loss)
        }
        VaultJob::Retire { validators, passphrase } => {
            let names: Vec<String> = validators.iter().map(|key| short(&key.to_string())).collect();
            let loss = format!("erases the shares of {} for good: {}", names.len(), names.join(", "));
            ordered(world, keys, &passphrase, Order::Retire(validators), &loss)
        }
        VaultJob::ApproveFirmware { pcr_7, passphrase } => approve(world, keys, &passphrase, pcr_7),
        VaultJob::RaiseLevel => {
            let mut session = world.session()?;
            let question =
                format!("no image older than the one that runs will open the vault of {}. Go on?", session.name);
            if !world.terminal.confirm(&question)? {
                return Err(Failure::refused("not raised: it was not confirmed"));
            }
            session.act_quietly("/v1/vault/level")?;
            world.output.say("raised: the vault is sealed to the level of the image that runs")
        }
    }
}

/// Erases shares, identity and owner, after naming them.
pub(crate) fn reset(
    world: &mut World<'_>,
    keys: &dyn Keys,
    passphrase: &crate::args::PassphraseArgs,
) -> Result<(), Failure> {
    let mut session = world.session()?;
    let state: VaultState = session.get("/v1/vault")?;
    let question = format!(
        "{} loses its {} shares, its node identity and its owner, for good: they are nowhere else unless you kept copies. \
         What was signed stays remembered. Reset it?",
        session.name, state.shares
    );
    if !world.terminal.confirm(&question)? {
        return Err(Failure::refused("not reset: it was not confirmed"));
    }
    let authority = keys.authority_of(&session.name, passphrase, world.terminal)?;
    let to = keys.box_name(&session.name)?;
    give(&mut session, authority.key(), &to, Order::Reset)?;
    world.output.say(&format!(
        "reset: {0} is empty and can be paired again. Forget it here with holdfast context remove {0}",
        session.name
    ))
}

fn ordered(
    world: &mut World<'_>,
    keys: &dyn Keys,
    passphrase: &crate::args::PassphraseArgs,
    order: Order,
    what: &str,
) -> Result<(), Failure> {
    let mut session = world.session()?;
    if !world.terminal.confirm(&format!("this order to {} {what}. Give it?", session.name))? {
        return Err(Failure::refused("not ordered: it was not confirmed"));
    }
    let authority = keys.authority_of(&session.name, passphrase, world.terminal)?;
    let kind = order.kind();
    let to = keys.box_name(&session.name)?;
    give(&mut session, authority.key(), &to, order)?;
    world.output.say(&format!(
        "done: {0} says that it carried out the order {kind}; its vault's own log: holdfast vault orders --context {0}",
        session.name
    ))
}

fn approve(
    world: &mut World<'_>,
    keys: &dyn Keys,
    passphrase: &crate::args::PassphraseArgs,
    pcr_7: Option<[u8; 32]>,
) -> Result<(), Failure> {
    let mut session = world.session()?;
    let pcr_7 = match pcr_7 {
        Some(value) => value,
        None => {
            let expected = keys.expected(&session.name)?;
            let shown =
                evidence::ask(&mut session, (world.judge, world.now), holdfast_api::EvidenceKind::Boot, expected)?;
            let missing = || Failure::unfit("the box quotes no register 7: say its value with --pcr7");
            shown.pcr_7.ok_or_else(missing)?.0
        }
    };
    let hex = holdfast_types::Root(pcr_7);
    if !world.terminal.confirm(&format!("approve register 7 = {hex} for the next boot of {}?", session.name))? {
        return Err(Failure::refused("not approved: it was not confirmed"));
    }
    let authority = keys.authority_of(&session.name, passphrase, world.terminal)?;
    let approval = Approval::of_firmware(authority.key(), pcr_7);
    let approval = crate::order::base64_of_approval(&approval);
    session.post_quietly("/v1/vault/firmware-approvals", &ApprovalRequest { approval })?;
    world.output.say("approved: the vault opens in that boot state from its next start on")
}

fn status(world: &mut World<'_>) -> Result<(), Failure> {
    let said = world.each(|session| session.get::<VaultState>("/v1/vault"))?;
    world.show_each(said, |said| {
        let mut table = Table::new(&["BOX", "TIER", "SHARES", "SIGNS", "EPOCHS", "ORDERS", "MEMORY", "WHY NOT"]);
        for said in said {
            let Some(state) = &said.answer else { continue };
            let signs = match &state.closed {
                Some(_) => Cell::toned("! no", Tone::Bad),
                None => Cell::toned("yes", Tone::Good),
            };
            let lease = |lease: &holdfast_api::VaultLease| format!("{} to {}", lease.first_epoch, lease.last_epoch);
            table.row([
                said.name.as_str().into(),
                Cell::toned(&state.tier, if state.tier == "A" { Tone::Good } else { Tone::Warn }),
                state.shares.to_string().into(),
                signs,
                state.lease.as_ref().map_or_else(|| "–".to_owned(), lease).into(),
                state.orders_logged.to_string().into(),
                state.memory.as_str().into(),
                state.closed.as_ref().map_or("", |closed| closed.reason.as_str()).into(),
            ]);
        }
        table
    })
}

fn show_evidence(world: &mut World<'_>, keys: &dyn Keys, kind: holdfast_api::EvidenceKind) -> Result<(), Failure> {
    let mut session = world.session()?;
    let expected = keys.expected(&session.name)?;
    let shown = evidence::ask(&mut session, (world.judge, world.now), kind, expected)?;
    world.output.show(&shown, evidence::Shown::table)
}

fn history(world: &mut World<'_>, file: Option<&Path>) -> Result<(), Failure> {
    let mut session = world.session()?;
    let history = session.get_bytes("/v1/vault/history")?;
    let Some(file) = file else {
        let text = String::from_utf8(history).map_err(|err| Failure::because("the history is no text", err))?;
        return world.output.write(&text);
    };
    files::write_new(file, &history, 0o600)?;
    world.terminal.note(&format!("{} holds the watermarks of every validator of {}", file.display(), session.name));
    Ok(())
}

/// Reads the whole log, page by page.
fn orders(world: &mut World<'_>, keys: &dyn Keys) -> Result<(), Failure> {
    let mut session = world.session()?;
    let expected = keys.expected(&session.name)?;
    let state = evidence::ask_custody(&mut session, (world.judge, world.now), expected)?;
    let mut log = OrderLog::default();
    for _ in 0..PAGES_MAX {
        let query = OrderLogQuery { after: log.orders.last().map_or(0, |order| order.number) };
        let page: OrderLog = session.get(&format!("/v1/vault/orders?after={}", query.after))?;
        if page.orders.first().is_none_or(|first| first.number <= query.after) {
            break;
        }
        log.orders.extend(page.orders);
    }
    // What was logged after the vault was asked for its head is for the next time.
    log.orders.retain(|order| order.number <= state.orders_logged);
    check_chain(&log, &state)?;
    let now = world.now;
    world.output.show(&log, |log| {
        let mut table = Table::new(&["NUMBER", "WHEN", "ORDER", "OUTCOME", "HASH"]);
        for order in &log.orders {
            let outcome = match &order.refused {
                Some(why) => Cell::toned(format!("refused: {}", holdfast_api::printable(why)), Tone::Warn),
                None => Cell::toned("done", Tone::Good),
            };
            let row = [order.number.to_string(), ago(order.at, now), order.kind.clone()].map(Cell::from);
            table.row(row.into_iter().chain([outcome, short(&order.hash).into()]));
        }
        table
    })
}

/// Holds the log against the head in the vault's evidence: the daemon, which carries both, can neither leave an entry out nor
/// make one up unnoticed. What it told of the head itself would be its own word.
fn check_chain(log: &OrderLog, state: &Custody) -> Result<(), Failure> {
    let bytes = |hex: &str| hex.parse::<Root>().map(|root| root.0);
    let entry = |logged: &holdfast_api::LoggedOrder| {
        Ok(LoggedOrder {
            number: logged.number,
            at_ms: logged.at.0.0,
            kind: logged.kind.clone(),
            order: bytes(&logged.order)?,
            refused: logged.refused.clone(),
            hash: bytes(&logged.hash)?,
        })
    };
    let entries = log.orders.iter().map(entry).collect::<Result<Vec<_>, ParseHexError>>();
    let entries = entries.map_err(|err| Failure::because("the log of orders has no form", err))?;
    check_log(&entries, state.orders_logged, &state.orders_head)
        .map_err(|err| Failure::because("the log of orders is not what the vault wrote", err))
}

/// The first epoch that may be named in an order that gives up what came before.
pub(crate) const fn first_epoch(present: Epoch) -> Epoch {
    Epoch(present.0.saturating_add(2))
}

const PAGES_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
