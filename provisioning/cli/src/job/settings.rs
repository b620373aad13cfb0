//! The configuration, and the beacon nodes in it. Nothing is applied that was not shown before.

use std::path::Path;
use std::process::Command;

use holdfast_api::{
    BeaconNode, BeaconTest, BeaconTested, Configuration, ConfigurationChange, ConfigurationHistory, FieldChange,
};
use similar::TextDiff;

use super::words::ago;
use crate::ask::{Session, encode};
use crate::exit::Failure;
use crate::files;
use crate::output::{Cell, Table, Tone, yaml};
use crate::plan::{BeaconJob, ConfigJob};
use crate::world::World;
use holdfast_api::printable;

/// Does something about the configuration.
pub(crate) fn config(world: &mut World<'_>, job: &ConfigJob) -> Result<(), Failure> {
    let mut session = world.session()?;
    match job {
        ConfigJob::Apply { file, dry_run } => {
            let (present, etag) = read(&mut session)?;
            let next = parse(&files::read(file, CONFIGURATION_BYTES_MAX)?, file)?;
            change(world, &mut session, (&present, &etag), &next, *dry_run)
        }
        ConfigJob::Confirm => {
            let change: ConfigurationChange = session.act("/v1/configuration/confirmation")?;
            world.output.show(&change, |_| Table::default())?;
            world.output.say("confirmed: the change stays")
        }
        ConfigJob::Edit => edit(world, &mut session, &editor()),
        ConfigJob::Get => {
            let (present, _) = read(&mut session)?;
            if world.output.is_table() {
                return world.output.write(&yaml(&present)?);
            }
            world.output.show(&present, |_| Table::default())
        }
        ConfigJob::History => history(world, &mut session),
    }
}

/// Does something about beacon nodes.
pub(crate) fn beacon(world: &mut World<'_>, job: &BeaconJob) -> Result<(), Failure> {
    let mut session = world.session()?;
    match job {
        BeaconJob::Test { url } => {
            let tested = test(&mut session, url)?;
            world.output.show(&tested, |tested| told(url, tested))
        }
        BeaconJob::Add { url, name } => {
            let tested = test(&mut session, url)?;
            if world.output.is_table() {
                world.output.write_table(&told(url, &tested))?;
            }
            let (present, etag) = read(&mut session)?;
            let mut next = present.clone();
            if let Some(same) = next.beacon_nodes.iter().find(|node| node.url == *url) {
                return Err(Failure::unfit(format!("{url} is used already, under the name {:?}", same.name)));
            }
            let name = name.clone().unwrap_or_else(|| free_name(&next.beacon_nodes));
            if next.beacon_nodes.iter().any(|node| node.name == name) {
                let why =
                    format!("there is a beacon node {name:?} already: give another --name, or remove that one first");
                return Err(Failure::unfit(why));
            }
            next.beacon_nodes.push(BeaconNode { name, url: url.clone() });
            change(world, &mut session, (&present, &etag), &next, false)
        }
        BeaconJob::Remove { name } => {
            let (present, etag) = read(&mut session)?;
            let mut next = present.clone();
            next.beacon_nodes.retain(|node| node.name != *name);
            if next == present {
                let names: Vec<&str> = present.beacon_nodes.iter().map(|node| node.name.as_str()).collect();
                let why = format!("there is no beacon node {name:?}: there are {}", listed(&names));
                return Err(Failure::unfit(why));
            }
            if next.beacon_nodes.is_empty() {
                world.terminal.note(&format!("{name} is the last beacon node: without one the box does no duties"));
            }
            change(world, &mut session, (&present, &etag), &next, false)
        }
        BeaconJob::List => {
            let (present, _) = read(&mut session)?;
            world.output.show(&present.beacon_nodes, |nodes| {
                let mut table = Table::new(&["NAME", "URL"]);
                for node in nodes {
                    table.row([node.name.as_str().into(), hidden(&node.url).into()]);
                }
                table
            })
        }
    }
}

/// The configuration and the tag that a change of it must name.
pub(crate) fn read(session: &mut Session) -> Result<(Configuration, String), Failure> {
    let (configuration, etag) = session.get_tagged("/v1/configuration")?;
    let etag = etag.ok_or_else(|| {
        Failure::unfit(format!("{} gives no tag with its configuration: use a command of its release", session.name))
    })?;
    Ok((configuration, etag))
}

/// Shows the difference as the box sees it, asks, applies, and confirms what the box would take back otherwise.
pub(crate) fn change(
    world: &mut World<'_>,
    session: &mut Session,
    (present, etag): (&Configuration, &str),
    next: &Configuration,
    dry_run: bool,
) -> Result<(), Failure> {
    let put = |session: &mut Session, query: &str| {
        session.put::<ConfigurationChange>(&format!("/v1/configuration{query}"), encode(next)?, Some(etag.to_owned()))
    };
    let shown = put(session, "?dryRun=true")?;
    if shown.changes.is_empty() && present == next {
        world.output.show(&shown, |_| Table::default())?;
        return world.output.say("nothing changes");
    }
    if world.output.is_table() {
        world.output.write(&difference(present, next)?)?;
    }
    if dry_run {
        return world.output.show(&shown, |_| Table::default());
    }
    let question = format!("apply {} to {}?", counted(&shown.changes), session.name);
    if !world.terminal.confirm(&question)? {
        return Err(Failure::refused("not applied: it was not confirmed"));
    }
    let mut done = put(session, "")?;
    if let Some(by) = done.confirm_by {
        // That this connection works with the new configuration is what the confirmation says.
        world.terminal.note(&format!("the box takes the change back at {by} unless it is confirmed: confirming"));
        done = session.act("/v1/configuration/confirmation")?;
    }
    world.output.show(&done, |_| Table::default())?;
    world.output.say("applied")
}

fn test(session: &mut Session, url: &str) -> Result<BeaconTested, Failure> {
    session.post("/v1/beacon-nodes/tests", &BeaconTest { url: url.to_owned() })
}

fn told(url: &str, tested: &BeaconTested) -> Table {
    let lag = match (tested.syncing, tested.head_lag_slots) {
        (true, _) => Cell::toned("! still syncing", Tone::Warn),
        (false, None) => Cell::from("the chain has not begun"),
        (false, Some(lag @ 0..=1)) => Cell::toned(format!("{lag} slots behind"), Tone::Good),
        (false, Some(lag)) => Cell::toned(format!("! {lag} slots behind"), Tone::Warn),
    };
    Table::pairs([
        ("node", hidden(url).into()),
        ("software", tested.version.as_str().into()),
        ("network", format!("{} as the cluster's", tested.genesis_fork_version).into()),
        ("head", lag),
        ("answers in", format!("{} ms", tested.answer_ms).into()),
    ])
}

fn edit(world: &mut World<'_>, session: &mut Session, editor: &str) -> Result<(), Failure> {
    let (present, etag) = read(session)?;
    // It may hold tokens of beacon nodes: a folder that only its owner enters, gone afterwards.
    let dir = tempfile::tempdir().map_err(|err| Failure::because("cannot make a folder to edit in", err))?;
    let path = dir.path().join("configuration.yaml");
    let mut text = format!("{EDIT_HEAD}{}", yaml(&present)?);
    loop {
        std::fs::write(&path, &text).map_err(Failure::write(&path))?;
        run_editor(editor, &path)?;
        text = std::fs::read_to_string(&path).map_err(Failure::read(&path))?;
        let failure = match parse(text.as_bytes(), Path::new("the edited configuration")) {
            Ok(next) if next == present => return world.output.say("nothing changes"),
            Ok(next) => match change(world, session, (&present, &etag), &next, false) {
                Err(failure @ Failure::Problem(_)) => failure,
                done => return done,
            },
            Err(failure) => failure,
        };
        world.terminal.note(&failure.told());
        if !world.terminal.confirm("edit it again?")? {
            return Err(failure);
        }
    }
}

/// The operator's editor, as other programs find it.
fn editor() -> String {
    let set = |name: &&str| std::env::var(name).ok().filter(|text| !text.is_empty());
    ["VISUAL", "EDITOR"].iter().find_map(set).unwrap_or_else(|| "vi".to_owned())
}

fn run_editor(editor: &str, path: &Path) -> Result<(), Failure> {
    // The variable may hold arguments, as `code --wait` does.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(path).status();
    let status = status.map_err(|err| {
        Failure::because(format!("cannot run the editor {program:?}: set EDITOR to one that is installed"), err)
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::unfit(format!("the editor {program:?} failed, nothing was applied")))
    }
}

fn history(world: &mut World<'_>, session: &mut Session) -> Result<(), Failure> {
    let history: ConfigurationHistory = session.get("/v1/configuration/history")?;
    let now = world.now;
    world.output.show(&history, |history| {
        let mut table = Table::new(&["WHEN", "BY", "CHANGED"]);
        for entry in &history.entries {
            let fields: Vec<&str> = entry.changes.iter().map(|change| change.field.as_str()).collect();
            table.row([ago(entry.at, now).into(), entry.by.as_str().into(), listed(&fields).into()]);
        }
        table
    })
}

/// JSON is YAML, so one reader reads both.
fn parse(bytes: &[u8], name: &Path) -> Result<Configuration, Failure> {
    let what = || format!("{} is no configuration", name.display());
    let text = std::str::from_utf8(bytes).map_err(|err| Failure::because(what(), err))?;
    serde_saphyr::from_str(text).map_err(|err| Failure::because(what(), err))
}

/// The two documents, line by line where they differ.
fn difference(present: &Configuration, next: &Configuration) -> Result<String, Failure> {
    let (before, after) = (yaml(present)?, yaml(next)?);
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let text = diff.unified_diff().context_radius(2).header("now", "then").to_string();
    Ok(text.lines().map(|line| format!("{}\n", printable(line))).collect())
}

fn counted(changes: &[FieldChange]) -> String {
    if changes.len() == 1 { "1 change".to_owned() } else { format!("{} changes", changes.len()) }
}

fn free_name(nodes: &[BeaconNode]) -> String {
    let names = (1..=nodes.len() + 1).map(|number| format!("beacon-{number}"));
    let mut free = names.filter(|name| nodes.iter().all(|node| node.name != *name));
    free.next().unwrap_or_else(|| "beacon".to_owned())
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A URL without what may be a token: user, password, path and query stay in the box.
fn hidden(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("…@", host));
    let path = if path.len() > 1 { "/…" } else { path };
    format!("{scheme}://{user}{host}{path}")
}

const EDIT_HEAD: &str = "# Save and leave the editor to see the difference; nothing is applied before you say so.\n";
/// A configuration has a few KiB.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests;
