//! The boxes that are known here: listed, chosen, forgotten.

use holdfast_provisioning::certificate::authority_id;

use super::access;
use crate::exit::Failure;
use crate::home::{Home, Keys as _};
use crate::output::{Cell, Table};
use crate::plan::ContextJob;
use crate::world::World;

/// Does something about the contexts.
pub(crate) fn context(world: &mut World<'_>, home: &Home, job: &ContextJob) -> Result<(), Failure> {
    let mut contexts = home.contexts()?;
    let unknown = |err: holdfast_provisioning::context::ContextError| Failure::NotPaired { why: err.to_string() };
    match job {
        ContextJob::Add(job) => access::add(world, home, job),
        ContextJob::Request { name, out } => access::request(world, home, name, out.as_deref()),
        ContextJob::List => {
            if contexts.all().is_empty() {
                world.terminal.note("no box is known here: pair one with holdfast pair");
            }
            let selected = contexts.selected().ok().map(|context| context.name.clone());
            world.output.show(&contexts, |contexts| {
                let mut table = Table::new(&["", "NAME", "ADDRESS", "TIER", "AUTHORITY"]);
                for one in contexts.all() {
                    let mark = if Some(&one.name) == selected.as_ref() { "*" } else { "" };
                    let authority = authority_id(&one.authority);
                    let row = [mark, &one.name, &one.address.to_string(), &one.seen.tier, &authority];
                    table.row(row.map(Cell::from));
                }
                table
            })
        }
        ContextJob::Use { name } => {
            contexts.select(name).map_err(unknown)?;
            home.save(&contexts)?;
            world.output.say(&format!("selected  {name}"))
        }
        ContextJob::Show { name } => {
            let one =
                name.as_deref().map_or_else(|| contexts.selected(), |name| contexts.get(name)).map_err(unknown)?;
            world.output.show(one, |one| {
                Table::pairs([
                    ("name", one.name.as_str().into()),
                    ("address", one.address.to_string().into()),
                    ("box", one.box_name.to_string().into()),
                    ("box key", one.box_key.to_string().into()),
                    ("authority", authority_id(&one.authority).into()),
                    ("tier", one.seen.tier.as_str().into()),
                    ("EK", one.seen.endorsement_key.as_str().into()),
                    ("AK", one.seen.attestation_key.as_str().into()),
                ])
            })
        }
        ContextJob::Renew { name, passphrase } => {
            let one = contexts.get(name).map_err(unknown)?;
            home.renew(one, &home.authority(passphrase, world.terminal)?)?;
            world.output.say(&format!("renewed   your certificate for {name} counts for 90 days from now"))
        }
        ContextJob::Remove { name } => {
            contexts.get(name).map_err(unknown)?;
            let question = format!("forget {name}? The box stays as it is, but this machine cannot reach it any more");
            if !world.terminal.confirm(&question)? {
                return Err(Failure::refused("not removed: it was not confirmed"));
            }
            forget(home, name)?;
            world.output.say(&format!("removed   {name}"))
        }
    }
}

/// Forgets a box, with the key and the certificate for it.
pub(crate) fn forget(home: &Home, context: &str) -> Result<(), Failure> {
    let mut contexts = home.contexts()?;
    let removed = contexts.remove(context).map_err(|err| Failure::because("the box is not forgotten", err))?;
    home.save(&contexts)?;
    home.forget_client(&removed)
}

#[cfg(test)]
mod tests;
