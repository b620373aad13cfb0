//! Looking at boxes: status, peers, duties, validators, the log.

use std::time::Duration;

use holdfast_api::{
    AuditList, Cluster, DutyList, DutyRecord, LogLine, LogList, PeerList, Severity, Status, ValidatorList,
};
use holdfast_cluster::{NetworkFacts, public_networks};
use holdfast_types::{Millis, Slot};

use super::words::{ago, condition, mark, mode_tone, short, why};
use crate::ask::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Cell, Table, Tone};
use crate::world::{Said, World};
use holdfast_api::printable;

/// Shows what boxes are doing. With `check`, says by the exit code whether anything is wrong.
pub(crate) fn status(world: &mut World<'_>, check: bool) -> Result<Exit, Failure> {
    let said = world.each(|session| session.get::<Status>("/v1/status"))?;
    let condition_present = said.iter().filter_map(|said| said.answer.as_ref()).any(is_troubled);
    let now = world.now;
    let many = said.len() != 1 || *world.boxes == crate::plan::Boxes::All;
    if world.output.is_table() && !many {
        one_status(world, said)?;
    } else {
        world.show_each(said, |said| many_statuses(said, now))?;
    }
    Ok(if check && condition_present { Exit::Condition } else { Exit::Done })
}

/// Lists the operators of the cluster.
pub(crate) fn peers(world: &mut World<'_>) -> Result<(), Failure> {
    let said = world.each(|session| session.get::<PeerList>("/v1/peers"))?;
    world.show_each(said, |said| {
        let mut table = Table::new(&["BOX", "OPERATOR", "PEER", "STATE", "VERSION"]);
        for (name, peer) in said.iter().flat_map(|said| named(said, |list| &list.peers)) {
            let state = match (peer.own, peer.connected) {
                (true, _) => Cell::from("this box"),
                (false, true) => Cell::toned("connected", Tone::Good),
                (false, false) => Cell::toned("! not connected", Tone::Warn),
            };
            let operator = (u16::from(peer.operator) + 1).to_string();
            let version = peer.version.as_deref().unwrap_or("–");
            table.row([name.into(), operator.into(), peer.peer_id.as_str().into(), state, version.into()]);
        }
        table
    })
}

/// Lists what became of duties.
pub(crate) fn duties(
    world: &mut World<'_>,
    missed: bool,
    since: Option<Duration>,
    with_why: bool,
) -> Result<(), Failure> {
    let now = world.now;
    let said = world.each(|session| {
        let mut list = all_duties(session, missed)?;
        if let Some(since) = since {
            let oldest = oldest_slot(session, &list, now, since)?;
            list.duties.retain(|duty| duty.slot >= oldest);
        }
        Ok(list)
    })?;
    world.show_each(said, |said| {
        let mut head = vec!["BOX", "SLOT", "DUTY", "VALIDATORS", "OUTCOME", "SUBMITTED"];
        head.extend(with_why.then_some("WHY"));
        let mut table = Table::new(&head);
        for (name, duty) in said.iter().flat_map(|said| named(said, |list| &list.duties)) {
            table.row(duty_row(name, duty, with_why));
        }
        table
    })
}

/// Lists the validators.
pub(crate) fn validators(world: &mut World<'_>) -> Result<(), Failure> {
    let said = world.each(all_validators)?;
    world.show_each(said, |said| {
        let mut table = Table::new(&["BOX", "VALIDATOR", "INDEX", "STATUS", "SHARE", "FEES TO"]);
        for (name, one) in said.iter().flat_map(|said| named(said, |list| &list.validators)) {
            let share =
                if one.share_held { Cell::toned("held", Tone::Good) } else { Cell::toned("! missing", Tone::Bad) };
            let [index, status] = [&one.index, &one.status].map(|text| Cell::from(text.as_deref().unwrap_or("–")));
            table.row([
                name.into(),
                short(&one.pubkey).into(),
                index,
                status,
                share,
                one.fee_recipient.as_str().into(),
            ]);
        }
        table
    })
}

/// Shows the last lines of the log and, when it follows, what is written from now on, until it is interrupted.
pub(crate) fn logs(world: &mut World<'_>, follow: bool, lines: u16) -> Result<(), Failure> {
    let mut session = world.session()?;
    let mut kept = std::collections::VecDeque::new();
    let mut after = 0;
    loop {
        let page = log_page(&mut session, &mut after)?;
        if page.is_empty() {
            break;
        }
        kept.extend(page);
        kept.drain(..kept.len().saturating_sub(usize::from(lines)));
    }
    show_lines(world, kept.make_contiguous())?;
    if !follow {
        return Ok(());
    }
    crate::terminal::end_on_interrupt()?;
    loop {
        std::thread::sleep(FOLLOW_EVERY);
        let page = log_page(&mut session, &mut after)?;
        show_lines(world, &page)?;
    }
}

/// Lists who asked for what, as far back as the box knows.
pub(crate) fn audit(world: &mut World<'_>) -> Result<(), Failure> {
    let mut session = world.session()?;
    let mut all = AuditList::default();
    for _ in 0..PAGES_MAX {
        let after = all.entries.last().map_or(0, |entry| entry.number);
        let page: AuditList = session.get(&format!("/v1/audit?after={after}&limit={PAGE_LEN}"))?;
        if page.entries.first().is_none_or(|first| first.number <= after) {
            break;
        }
        all.entries.extend(page.entries);
    }
    let now = world.now;
    world.output.show(&all, |all| {
        let mut table = Table::new(&["WHEN", "BY", "FROM", "REQUEST", "OUTCOME"]);
        for entry in &all.entries {
            let outcome = match &entry.problem {
                Some(problem) => Cell::toned(format!("{} {problem}", entry.status), Tone::Warn),
                None => Cell::toned(format!("{} done", entry.status), Tone::Good),
            };
            let row =
                [&ago(entry.at, now), &entry.by, &entry.from, &entry.request].map(|text| Cell::from(text.as_str()));
            table.row(row.into_iter().chain([outcome]));
        }
        table
    })
}

/// All duties that the box still knows, page by page.
pub(crate) fn all_duties(session: &mut Session, missed: bool) -> Result<DutyList, Failure> {
    let mut all = DutyList::default();
    for _ in 0..PAGES_MAX {
        let page: DutyList = session.get(&format!("/v1/duties?after={}&missed={missed}&limit={PAGE_LEN}", all.next))?;
        if page.duties.is_empty() || page.next <= all.next {
            break;
        }
        all.next = page.next;
        all.duties.extend(page.duties);
    }
    Ok(all)
}

/// All validators, page by page.
pub(crate) fn all_validators(session: &mut Session) -> Result<ValidatorList, Failure> {
    let mut all = ValidatorList::default();
    let mut path = format!("/v1/validators?limit={PAGE_LEN}");
    for _ in 0..PAGES_MAX {
        let page: ValidatorList = session.get(&path)?;
        all.validators.extend(page.validators);
        let Some(cursor) = page.cursor else { break };
        if !cursor.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char)) {
            return Err(Failure::unfit("the box names the next page in a form that no page has"));
        }
        path = format!("/v1/validators?limit={PAGE_LEN}&cursor={cursor}");
    }
    Ok(all)
}

fn is_troubled(status: &Status) -> bool {
    status.conditions.iter().any(|condition| condition.severity > Severity::Info)
}

/// The status of one box, as a person reads it: a line, then what is wrong.
fn one_status(world: &mut World<'_>, mut said: Vec<Said<Status>>) -> Result<(), Failure> {
    let Some(said) = said.pop() else { return Ok(()) };
    let status = match (said.answer, said.cause) {
        (Some(status), _) => status,
        (None, cause) => return Err(cause.unwrap_or_else(|| Failure::unfit("the box gave no answer"))),
    };
    let connected = status.peers.iter().filter(|peer| peer.own || peer.connected).count();
    let mut table = Table::default();
    table.row([
        said.name.into(),
        Cell::toned(status.mode.name(), mode_tone(status.mode)),
        format!("cluster {} {connected}/{}", or_dash(&status.cluster), status.peers.len()).into(),
        format!("{} validators", status.validators).into(),
        format!("holdfast {}", status.version).into(),
    ]);
    world.output.write_table(&table)?;
    if !status.reason.is_empty() {
        world.output.say(&format!("  {}", printable(&status.reason)))?;
    }
    if let Some(closed) = status.vault.as_ref().and_then(|vault| vault.closed.as_ref()) {
        world.output.say(&format!("  vault: {}", printable(&closed.reason)))?;
    }
    if !status.clock_synchronised {
        world.output.say("  clock: not synchronised yet, so dates of certificates are not judged")?;
    }
    if status.conditions.is_empty() {
        return world.output.say("  no conditions");
    }
    for one in &status.conditions {
        world.output.say(&format!("  {}", printable(&condition(one, status.now.0))))?;
    }
    Ok(())
}

fn many_statuses(said: &[Said<Status>], now: Millis) -> Table {
    let mut table = Table::new(&["BOX", "MODE", "CLUSTER", "PEERS", "VALIDATORS", "WORST CONDITION"]);
    for said in said {
        let Some(status) = &said.answer else {
            let dash = || Cell::from("–");
            let row = [said.name.as_str().into(), Cell::toned("!! no answer", Tone::Bad), dash(), dash(), dash()];
            table.row(row.into_iter().chain([said.failure.as_deref().unwrap_or_default().into()]));
            continue;
        };
        let connected = status.peers.iter().filter(|peer| peer.own || peer.connected).count();
        let worst = status.conditions.first().map_or_else(
            || Cell::from("–"),
            |worst| {
                let (mark, tone) = mark(worst.severity);
                Cell::toned(
                    printable(&format!("{mark} {}: {}, {}", worst.id, worst.summary, ago(worst.since, now))),
                    tone,
                )
            },
        );
        table.row([
            said.name.as_str().into(),
            Cell::toned(status.mode.name(), mode_tone(status.mode)),
            or_dash(&status.cluster).into(),
            format!("{connected}/{}", status.peers.len()).into(),
            status.validators.to_string().into(),
            worst,
        ]);
    }
    table
}

fn duty_row(name: &str, duty: &DutyRecord, with_why: bool) -> Vec<Cell> {
    let outcome = duty.outcome();
    let tone = match outcome {
        holdfast_api::Outcome::Attested => Tone::Good,
        holdfast_api::Outcome::Late => Tone::Warn,
        holdfast_api::Outcome::Missed => Tone::Bad,
        holdfast_api::Outcome::Waiting => Tone::Plain,
    };
    let submitted = duty.broadcast_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms"));
    let mut row = vec![
        Cell::from(name),
        duty.slot.to_string().into(),
        duty.kind.as_str().into(),
        format!("{}/{}", duty.broadcast, duty.validators).into(),
        Cell::toned(outcome.name(), tone),
        submitted.into(),
    ];
    row.extend(with_why.then(|| why(duty).into()));
    row
}

/// The first slot of the last span. On a network that is not built in, whose slots this command does not know, it counts back
/// from the newest duty in slots of 12 s.
fn oldest_slot(session: &mut Session, list: &DutyList, now: Millis, since: Duration) -> Result<Slot, Failure> {
    let cluster: Cluster = session.get("/v1/cluster")?;
    let of = |facts: &NetworkFacts| cluster.lock.as_ref().is_some_and(|lock| lock.network == facts.name);
    let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    if let Some(facts) = public_networks().find(of) {
        return Ok(facts.chain.slot_at(Millis(now.0.saturating_sub(since_ms))).unwrap_or_default());
    }
    let newest = list.duties.iter().map(|duty| duty.slot).max().unwrap_or_default();
    Ok(Slot(newest.0.saturating_sub(since.as_secs() / SLOT_S)))
}

fn named<'a, T, I: 'a>(
    said: &'a Said<T>,
    items: impl FnOnce(&'a T) -> &'a Vec<I>,
) -> impl Iterator<Item = (&'a str, &'a I)> {
    let name = said.name.as_str();
    said.answer.as_ref().map(items).into_iter().flatten().map(move |item| (name, item))
}

fn log_page(session: &mut Session, after: &mut u64) -> Result<Vec<LogLine>, Failure> {
    let page: LogList = session.get(&format!("/v1/logs?after={after}&limit={PAGE_LEN}"))?;
    let last = page.lines.last().map_or(0, |line| line.number);
    let moved = last > *after;
    *after = last.max(*after);
    Ok(if moved { page.lines } else { Vec::new() })
}

fn show_lines(world: &mut World<'_>, lines: &[LogLine]) -> Result<(), Failure> {
    for line in lines {
        let text = if world.output.is_table() {
            format!("{} {:5} {} {}\n", line.at, printable(&line.level), printable(&line.target), printable(&line.text))
        } else {
            // One document a line, so that whoever follows can read it as it comes.
            format!("{}\n", serde_json::to_string(line).map_err(|err| Failure::because("cannot write JSON", err))?)
        };
        world.output.write(&text)?;
    }
    Ok(())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { text.to_owned() }
}

/// The most that a page may have.
const PAGE_LEN: usize = 500;
/// More pages than any box keeps: one that answers without end ends here.
const PAGES_MAX: usize = 200;
/// Seconds of a slot, on most networks.
const SLOT_S: u64 = 12;
/// Soon enough to look live, and little work for the box.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
