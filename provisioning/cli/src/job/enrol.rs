//! From a box that nobody owns to one that is known here: discover, pair; and the authority that owns it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_api::{EvidenceKind, PairingFinished, PairingOwn, RevocationList, RevocationRequest};
use holdfast_evidence::names::short_name;
use holdfast_evidence::{Approval, Order};
use holdfast_provisioning::authority::{Authority, AuthorityError};
use holdfast_provisioning::certificate::{authority_id, parse_serial, serial_text};
use holdfast_provisioning::client::{PairingClient, Timeouts};
use holdfast_provisioning::code::PairingCode;
use holdfast_provisioning::context::Context;
use holdfast_types::{BoxName, P256Public};
use mdns_sd::{ServiceDaemon, ServiceEvent};
use rand_core::OsRng;
use serde::Serialize;

use super::access;
use super::contexts::forget;
use crate::carrier::{failure, runtime};
use crate::evidence::{Known, Question, Shown, Trust, judged};
use crate::exit::Failure;
use crate::files;
use crate::home::{Home, Keys as _};
use crate::order::{base64, sign};
use crate::output::{Cell, Table};
use crate::plan::{AuthorityJob, PairJob};
use crate::world::{World, now};

/// A box in the local network, as it announces itself. Nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    name: String,
    address: String,
    board: String,
    mode: String,
    tier: String,
    version: String,
}

/// Lists the boxes that announce themselves.
pub(crate) fn discover(world: &mut World<'_>, listen: Duration) -> Result<(), Failure> {
    let because = |err: mdns_sd::Error| Failure::because("cannot look for boxes in this network", err);
    let daemon = ServiceDaemon::new().map_err(because)?;
    let events = daemon.browse(SERVICE).map_err(because)?;
    let end = Instant::now() + listen;
    let mut found = BTreeMap::new();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let Ok(event) = events.recv_timeout(left) else { break };
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        if found.len() >= FOUND_MAX {
            break;
        }
        let said = |key: &str| service.get_property_val_str(key).unwrap_or("–").chars().take(SAID_LEN_MAX).collect();
        let address = service
            .get_addresses()
            .iter()
            .map(ToString::to_string)
            .min_by_key(|ip| ip.contains(':'))
            .unwrap_or_default();
        let name = service.get_fullname().trim_end_matches(SERVICE).trim_end_matches('.').to_owned();
        let one = Found {
            name: name.clone(),
            address,
            board: said("board"),
            mode: said("mode"),
            tier: said("tier"),
            version: said("version"),
        };
        found.insert(name, one);
    }
    // Other programs on this machine are not told that we are gone; there is nothing to withdraw.
    drop(daemon.shutdown());
    let found: Vec<Found> = found.into_values().collect();
    if found.is_empty() {
        world
            .terminal
            .note("no box answers: is it on, and in this network? Its screen shows its address for holdfast pair");
    }
    world.output.show(&found, |found| {
        let mut table = Table::new(&["NAME", "ADDRESS", "BOARD", "MODE", "TIER", "VERSION"]);
        for one in found {
            let row = [&one.name, &one.address, &one.board, &one.mode, &one.tier, &one.version];
            table.row(row.map(|text| Cell::from(text.as_str())));
        }
        table
    })
}

/// Becomes the owner of a box.
pub(crate) fn pair(world: &mut World<'_>, home: &Home, job: &PairJob) -> Result<(), Failure> {
    let name = job.address.host().to_owned();
    if let Some(wanted) = &job.name {
        refuse_known(home, wanted)?;
    }
    let code = read_code(world, job)?;
    let runtime = runtime()?;
    let failed = |err| failure(&name, err);
    let mut client =
        runtime.block_on(PairingClient::connect(job.address.clone(), Timeouts::default())).map_err(failed)?;
    let paired = runtime.block_on(client.pair(&code)).map_err(failed)?;
    drop(code);
    let question = format!("both sides show   {}          same words on the box?", paired.words);
    if !world.terminal.confirm(&question)? {
        return Err(Failure::refused(
            "not paired: the words differ, so somebody stands in between. The box makes a new code; look at the network first",
        ));
    }
    let said = Said::of(&paired.said)?;
    let known = Known { box_name: said.box_name, box_key: Some(said.box_key), seen: None };
    let question = Question::new(EvidenceKind::Boot, known);
    let answer = runtime.block_on(client.evidence(&question.request())).map_err(failed)?;
    let mut open = |request: &_| runtime.block_on(client.credential(request)).map_err(failed);
    let shown = judged(&answer, &question, (world.judge, world.now), &mut open)?;
    world.output.say(&format!("evidence  TPM {}; image {}; tier {}", shown.tpm_told, shown.image, shown.tier))?;
    shown.check(Trust::of(job.accept_emulated))?;
    let (authority, is_new) = home.authority_or_new(&job.passphrase, world.terminal)?;
    let own = own(&authority, &said, &shown)?;
    let context = job.name.clone().unwrap_or_else(|| short_name(&said.box_name));
    refuse_known(home, &context)?;
    // Kept before the order: a box that is owned but not known here would have to be reset.
    let (client_certificate, client_key) = home.make_client(&context, &authority)?;
    let mut contexts = home.contexts()?;
    let because = |err| Failure::because("the box is not kept", err);
    contexts
        .put(Context {
            name: context.clone(),
            address: job.address.clone(),
            box_name: said.box_name,
            box_key: said.box_key,
            authority: authority.public(),
            client_certificate,
            client_key,
            seen: shown.seen,
        })
        .map_err(because)?;
    contexts.select(&context).map_err(because)?;
    home.save(&contexts)?;
    if let Err(err) = runtime.block_on(client.own(&own)) {
        // Only when the box itself says no is it certain that it has no owner now.
        if err.problem().is_some() {
            forget(home, &context)?;
        }
        return Err(failed(err));
    }
    world.output.say(&format!("paired    {context} is yours. Context {context:?} saved and selected."))?;
    if is_new {
        world.terminal.note(
            "Keep your authority safe, it is the only key to this box: holdfast authority export FILE. Without a copy, whoever \
             loses this machine can give the box no order and nobody a certificate: it has to be flashed anew, and the \
             cluster replaces its share",
        );
    }
    Ok(())
}

/// Does something about the authority.
pub(crate) fn authority(world: &mut World<'_>, home: &Home, job: AuthorityJob) -> Result<(), Failure> {
    match job {
        AuthorityJob::Show => show(world, home),
        AuthorityJob::Export { file, passphrase } => {
            let pem = home.authority_pem()?.ok_or_else(no_authority)?;
            // That it opens is checked here, and not on the day when it is needed.
            let authority = home.authority(&passphrase, world.terminal)?;
            files::write_new(&file, pem.as_bytes(), 0o600)?;
            world.output.say(&format!(
                "exported  authority {} to {}: keep it on another machine or on paper, with its passphrase elsewhere",
                authority.id(),
                file.display()
            ))
        }
        AuthorityJob::Import { file, passphrase } => {
            let pem = files::read(&file, PEM_BYTES_MAX)?;
            let pem = std::str::from_utf8(&pem).map_err(|err| Failure::because("the export is no text", err))?;
            let text = match &passphrase.known.passphrase_file {
                Some(path) => files::read_line(path)?,
                None => world.terminal.secret("passphrase of the export")?,
            };
            let authority = Authority::import_pem(pem, &text).map_err(opens_not)?;
            let kept =
                if passphrase.danger_no_passphrase { home.new_passphrase(&passphrase, world.terminal)? } else { text };
            home.keep_authority(&authority, &kept)?;
            world.output.say(&format!("imported  authority {}", authority.id()))
        }
        AuthorityJob::Issue { name, role, csr, out, passphrase } => {
            access::issue(world, home, (&name, role), csr.as_deref(), &out, &passphrase)
        }
        AuthorityJob::Revoke { serial } => revoke(world, &serial),
    }
}

/// What the box says of itself when the code was right.
struct Said {
    box_name: BoxName,
    box_key: P256Public,
    challenge: holdfast_types::Challenge,
}

impl Said {
    fn of(said: &PairingFinished) -> Result<Self, Failure> {
        let because = |err| Failure::because("the box's answer to the pairing cannot be read", err);
        Ok(Self {
            box_name: said.box_name.parse().map_err(because)?,
            box_key: said.box_key.parse().map_err(because)?,
            challenge: said.challenge.parse().map_err(because)?,
        })
    }
}

fn own(authority: &Authority, said: &Said, shown: &Shown) -> Result<PairingOwn, Failure> {
    let pcr_7 = shown.pcr_7.ok_or_else(|| Failure::unfit("the box's evidence lacks register 7, its boot state"))?;
    let firmware = Approval::of_firmware(authority.key(), pcr_7.0);
    let order = Order::Own { authority: authority.public(), firmware };
    let certificate = authority
        .issue_box(&said.box_name, &said.box_key, now(), &mut OsRng)
        .map_err(|err| Failure::because("cannot certify the box", err))?;
    Ok(PairingOwn {
        order: sign(authority.key(), said.box_name, said.challenge, order),
        authority_certificate: base64(authority.certificate()),
        box_certificate: base64(&certificate),
    })
}

fn read_code(world: &mut World<'_>, job: &PairJob) -> Result<PairingCode, Failure> {
    let text = match &job.code_file {
        Some(path) => files::read_line(path)?,
        None => world.terminal.secret("code")?,
    };
    text.parse().map_err(|err: holdfast_provisioning::code::CodeError| Failure::because("the code is not one", err))
}

fn refuse_known(home: &Home, name: &str) -> Result<(), Failure> {
    if home.contexts()?.get(name).is_ok() {
        return Err(Failure::refused(format!(
            "{name} is known here already: remove it with holdfast context remove {name}, or choose another --name"
        )));
    }
    Ok(())
}

fn show(world: &mut World<'_>, home: &Home) -> Result<(), Failure> {
    let public = home.authority_public()?.ok_or_else(no_authority)?;
    let boxes: Vec<String> =
        home.contexts()?.all().iter().filter(|one| one.authority == public).map(|one| one.name.clone()).collect();
    let shown = ShownAuthority { id: authority_id(&public), key: public, boxes };
    world.output.show(&shown, |shown| {
        Table::pairs([
            ("authority", shown.id.as_str().into()),
            ("key", shown.key.to_string().into()),
            ("boxes", shown.boxes.join(", ").into()),
        ])
    })
}

#[derive(Serialize)]
struct ShownAuthority {
    id: String,
    key: P256Public,
    boxes: Vec<String>,
}

fn revoke(world: &mut World<'_>, serial: &str) -> Result<(), Failure> {
    let serial = parse_serial(serial).map_err(|err| Failure::usage(err.to_string()))?;
    let request = RevocationRequest { serial: serial_text(&serial) };
    let said = world.each(|session| session.post::<RevocationList>("/v1/certificates/revocations", &request))?;
    world.show_each(said, |said| {
        let mut table = Table::new(&["BOX", "SERIAL", "REVOKED AT", "BY"]);
        for said in said {
            for one in said.answer.iter().flat_map(|list| &list.revocations) {
                table.row([said.name.as_str(), &one.serial, &one.at.to_string(), &one.by].map(Cell::from));
            }
        }
        table
    })
}

fn no_authority() -> Failure {
    Failure::NotPaired {
        why: "no authority is kept here: pair a box, or bring yours with holdfast authority import".into(),
    }
}

fn opens_not(err: AuthorityError) -> Failure {
    Failure::because("the authority does not open", err)
}

/// By what boxes announce themselves.
const SERVICE: &str = "_holdfast._tcp.local.";
/// More than a rack; a liar in the network does not fill the memory.
const FOUND_MAX: usize = 256;
const SAID_LEN_MAX: usize = 64;
/// An export or a request has about a kilobyte.
const PEM_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests;
