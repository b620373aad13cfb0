//! Access for other people: who wants it makes a request, who owns the boxes certifies its key, and what he hands back makes
//! the boxes known where the key is.

use std::path::Path;

use holdfast_api::Role;
use holdfast_provisioning::access::{Access, AccessibleBox, CheckedAccess};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::certificate::{authority_id, parse_client};
use holdfast_provisioning::context::{Context, Contexts};
use holdfast_provisioning::tls::TlsKey;
use rand_core::OsRng;

use crate::args::PassphraseArgs;
use crate::exit::Failure;
use crate::files;
use crate::home::{Home, Keys as _};
use crate::plan::{AddJob, Boxes};
use crate::world::{Reach as _, World};

/// Makes a key, or takes the one of a context that is there, and writes a request for it.
pub(crate) fn request(world: &mut World<'_>, home: &Home, name: &str, out: Option<&Path>) -> Result<(), Failure> {
    let key = home.requested_key(name)?;
    let pem = key.request_pem(name).map_err(|err| Failure::because("the request is not made", err))?;
    let Some(out) = out else { return world.output.write(&pem) };
    files::write_new(out, pem.as_bytes(), 0o644)?;
    world.output.say(&format!("requested {}: give it to the owner of the boxes; its key stays here", out.display()))?;
    world.output.say(
        "next      he runs holdfast authority issue YOU --role ROLE --csr FILE --out DIR, and hands back access.json",
    )
}

/// Makes a certificate for somebody else, and the file by which he reaches the boxes of this authority.
pub(crate) fn issue(
    world: &mut World<'_>,
    home: &Home,
    (name, role): (&str, Role),
    csr: Option<&Path>,
    out: &Path,
    passphrase: &PassphraseArgs,
) -> Result<(), Failure> {
    let authority = home.authority(passphrase, world.terminal)?;
    let boxes = boxes_of(world, home, &authority)?;
    let made = csr.is_none().then(|| TlsKey::random(&mut OsRng));
    let key = match (&made, csr) {
        (_, Some(path)) => crate::csr::key_of(&files::read(path, PEM_BYTES_MAX)?)
            .map_err(|err| Failure::because(format!("{} is no usable request", path.display()), err))?,
        (Some(made), None) => made.public(),
        (None, None) => return Err(Failure::usage("give a request with --csr")),
    };
    let certificate = authority
        .issue_client(name, role, &key, world.now, &mut OsRng)
        .map_err(|err| Failure::because("the certificate is not made", err))?;
    let who = parse_client(&certificate).map_err(|err| Failure::because("the certificate is none", err))?;
    files::make_private_dir(out)?;
    if let Some(made) = &made {
        let pem = made.to_pem().map_err(|err| Failure::because("the key is not written", err))?;
        files::write_new(&out.join("client.key"), pem.as_bytes(), 0o600)?;
    }
    files::write_new(&out.join("client.der"), &certificate, 0o600)?;
    files::write_new(&out.join("authority.der"), authority.certificate(), 0o644)?;
    let names: Vec<&str> = boxes.iter().map(|one| one.name.as_str()).collect();
    let reach = if names.is_empty() { "no box: none is known here".to_owned() } else { names.join(", ") };
    let access = Access::of(&authority, &certificate, boxes)
        .map_err(|err| Failure::because("what is handed over is not written", err))?;
    let file = out.join(ACCESS);
    files::write_new(&file, &access.to_json(), 0o600)?;
    let serial = who.serial_text();
    world.output.say(&format!(
        "issued    {name}, {role}, for 90 days, serial {serial} in {}: revoke it with holdfast authority revoke {serial} --all",
        out.display(),
    ))?;
    world.output.say(&format!("reaches   {reach}"))?;
    let with_key = if made.is_some() { " --key client.key, which is a secret" } else { "" };
    world.output.say(&format!(
        "next      {name} takes {ACCESS}: holdfast context add --certificate {ACCESS}{with_key}. Both of you see the authority {}",
        authority.id()
    ))
}

/// The boxes of this authority that are handed over: those that are named, or else all.
fn boxes_of(world: &World<'_>, home: &Home, authority: &Authority) -> Result<Vec<AccessibleBox>, Failure> {
    let contexts = home.contexts()?;
    if let Boxes::Named(_) = world.boxes {
        let mut boxes = Vec::new();
        for name in home.names(world.boxes)? {
            let context = home.context(&name)?;
            if context.authority != authority.public() {
                let why = format!("{name} belongs to another authority than {}, which is kept here", authority.id());
                return Err(Failure::NotPaired { why });
            }
            boxes.push(AccessibleBox::from(&context));
        }
        return Ok(boxes);
    }
    let ours = contexts.all().iter().filter(|context| context.authority == authority.public());
    Ok(ours.map(AccessibleBox::from).collect())
}

/// Makes boxes of somebody else known here, or keeps the certificate that follows the one that we had for them.
pub(crate) fn add(world: &mut World<'_>, home: &Home, job: &AddJob) -> Result<(), Failure> {
    let bytes = files::read(&job.file, ACCESS_BYTES_MAX)?;
    let access = Access::check(&bytes, world.now)
        .map_err(|err| Failure::because(format!("{} gives no access", job.file.display()), err))?;
    let key = home.key_of_certificate(&access.client_key, job.key.as_deref())?;
    let mut contexts = home.contexts()?;
    let chosen = choose(&access, job)?;
    for (name, _) in &chosen {
        refuse_other(&contexts, name, &access, &chosen)?;
    }
    confirm(world, &contexts, &access, &chosen)?;
    home.know_authority(&access.authority, &access.authority_certificate)?;
    let mut replaced = Vec::new();
    for (name, one) in &chosen {
        let (client_certificate, client_key) = home.keep_client(name, &access.authority, &key, &access.certificate)?;
        let before = contexts.get(name).ok().cloned();
        let address = match (&job.address, &before) {
            (Some(address), _) => address.clone(),
            (None, Some(before)) => before.address.clone(),
            (None, None) => one.address.clone(),
        };
        let context = Context {
            name: name.clone(),
            address,
            box_name: one.box_name,
            box_key: one.box_key,
            authority: access.authority,
            client_certificate,
            client_key,
            seen: before.as_ref().map_or_else(|| one.seen.clone(), |before| before.seen.clone()),
        };
        replaced.extend(before.filter(|before| before.client_key != context.client_key));
        contexts.put(context).map_err(|err| Failure::because("the box is not kept", err))?;
    }
    if contexts.selected().is_err()
        && let Some((name, _)) = chosen.first()
    {
        contexts.select(name).map_err(|err| Failure::because("the box is not selected", err))?;
    }
    home.save(&contexts)?;
    replaced.iter().try_for_each(|before| home.forget_client(before))?;
    home.forget_request(&access.client_key)?;
    let names: Vec<&str> = chosen.iter().map(|(name, _)| name.as_str()).collect();
    let (who, role) = (&access.client.name, access.client.role);
    world
        .output
        .say(&format!("added     {}: you are {who}, {role}, for as long as the certificate counts", names.join(", ")))
}

/// The boxes that are meant, under the names that they get here.
fn choose(access: &CheckedAccess, job: &AddJob) -> Result<Vec<(String, AccessibleBox)>, Failure> {
    let offered = || access.boxes.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(name) = &job.name else {
        if access.boxes.is_empty() {
            return Err(Failure::unfit(
                "the file names no box: have it issued on the machine where the boxes are known",
            ));
        }
        return Ok(access.boxes.iter().map(|one| (one.name.clone(), one.clone())).collect());
    };
    let wanted = access.boxes.iter().find(|one| one.name == *name);
    match (wanted, access.boxes.as_slice()) {
        (Some(one), _) | (None, [one]) => Ok(vec![(name.clone(), one.clone())]),
        (None, _) => Err(Failure::usage(format!("the file names no box {name:?}; it names: {}", offered()))),
    }
}

/// A context stays one of its box.
fn refuse_other(
    contexts: &Contexts,
    name: &str,
    access: &CheckedAccess,
    chosen: &[(String, AccessibleBox)],
) -> Result<(), Failure> {
    let Ok(known) = contexts.get(name) else { return Ok(()) };
    let same = |(chosen, one): &(String, AccessibleBox)| {
        chosen == name && (one.box_name, one.box_key) == (known.box_name, known.box_key)
    };
    if chosen.iter().any(same) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{name} is known here as another box, of the authority {}: choose another name than for the one of {}",
        authority_id(&known.authority),
        authority_id(&access.authority)
    )))
}

/// The file itself is no proof of who made it.
fn confirm(
    world: &mut World<'_>,
    contexts: &Contexts,
    access: &CheckedAccess,
    chosen: &[(String, AccessibleBox)],
) -> Result<(), Failure> {
    let id = authority_id(&access.authority);
    let known = |name: &String| contexts.get(name).is_ok_and(|known| known.authority == access.authority);
    if chosen.iter().all(|(name, _)| known(name)) {
        return Ok(());
    }
    let before: Vec<String> = chosen
        .iter()
        .filter_map(|(name, _)| contexts.get(name).ok())
        .filter(|known| known.authority != access.authority)
        .map(|known| format!("{} belonged to the authority {} so far. ", known.name, authority_id(&known.authority)))
        .collect();
    let question = format!(
        "{}the authority is   {id}          does its owner's holdfast authority show say the same?",
        before.concat()
    );
    if world.terminal.confirm(&question)? {
        return Ok(());
    }
    Err(Failure::refused("not added: the authority is another one, so somebody may have changed the file on its way"))
}

/// The file that is handed over.
const ACCESS: &str = "access.json";
/// A box takes half a kilobyte.
const ACCESS_BYTES_MAX: u64 = 1 << 20;
/// A request has about a kilobyte.
const PEM_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests;
