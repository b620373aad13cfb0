//! What this machine keeps: contexts, client keys and certificates, the authority. Written by rename, for its owner only.

mod clients;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_api::span;
use holdfast_provisioning::authority::{Authority, AuthorityError, PASSPHRASE_LEN_MIN};
use holdfast_provisioning::certificate::{authority_id, public_key, validity, wants_renewal};
use holdfast_provisioning::client::{Client, Target};
use holdfast_provisioning::context::{Context, Contexts};
use holdfast_provisioning::files::{read_bounded, write_whole};
use holdfast_provisioning::tls::{BoxJudge, client_config};
use holdfast_types::{BoxName, P256Public};
use rand_core::{OsRng, RngCore as _};
use zeroize::Zeroizing;

use crate::args::{NewPassphraseArgs, PassphraseArgs};
use crate::ask::Session;
use crate::carrier::Carrier;
use crate::evidence::Known;
use crate::exit::Failure;
use crate::files::{make_private_dir, read_line};
use crate::plan::Boxes;
use crate::terminal::Terminal;
use crate::world::{Reach, now};

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

/// Keys that orders need, and what is known of a box.
pub(crate) trait Keys {
    /// The authority, opened.
    ///
    /// # Errors
    /// When there is none, or the passphrase is another.
    fn authority(&self, passphrase: &PassphraseArgs, terminal: &mut dyn Terminal) -> Result<Authority, Failure>;

    /// Whether an authority is kept here.
    ///
    /// # Errors
    /// When that cannot be read.
    fn keeps_one(&self) -> Result<bool, Failure>;

    /// Who owns a box, by what is known here.
    ///
    /// # Errors
    /// When the box is not known.
    fn owner(&self, context: &str) -> Result<P256Public, Failure>;

    /// The authority, opened, when it is the one that owns this box: a vault obeys no other.
    ///
    /// # Errors
    /// As [`Keys::authority`], and when the box has another owner.
    fn authority_of(
        &self,
        context: &str,
        passphrase: &PassphraseArgs,
        terminal: &mut dyn Terminal,
    ) -> Result<Authority, Failure> {
        let owner = self.owner(context)?;
        if !self.keeps_one()? {
            return Err(Failure::NotPaired {
                why: format!(
                    "{context} belongs to the authority {}, which is not kept here: its owner gives this order, whatever your \
                     role",
                    authority_id(&owner)
                ),
            });
        }
        let authority = self.authority(passphrase, terminal)?;
        if authority.public() == owner {
            return Ok(authority);
        }
        Err(Failure::NotPaired {
            why: format!(
                "{context} belongs to the authority {}, and the one that is kept here is {}: give orders where that one is",
                authority_id(&owner),
                authority.id()
            ),
        })
    }

    /// A box's whole name.
    ///
    /// # Errors
    /// When the box is not known.
    fn box_name(&self, context: &str) -> Result<BoxName, Failure> {
        self.expected(context).map(|known| known.box_name)
    }

    /// What a box's evidence must agree with.
    ///
    /// # Errors
    /// When the box is not known.
    fn expected(&self, context: &str) -> Result<Known, Failure>;
}

impl Home {
    /// The folder at this place; it need not be there yet.
    pub(crate) const fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The contexts.
    pub(crate) fn contexts(&self) -> Result<Contexts, Failure> {
        Contexts::load(&self.contexts_path()).map_err(|err| Failure::because("the contexts cannot be used", err))
    }

    /// Keeps the contexts.
    pub(crate) fn save(&self, contexts: &Contexts) -> Result<(), Failure> {
        make_private_dir(&self.dir)?;
        contexts.save(&self.contexts_path()).map_err(|err| Failure::because("the contexts are not kept", err))
    }

    /// The context of this name.
    pub(crate) fn context(&self, name: &str) -> Result<Context, Failure> {
        let contexts = self.contexts()?;
        contexts.get(name).cloned().map_err(|err| Failure::NotPaired { why: err.to_string() })
    }

    /// Whether the client certificate for this box should be renewed by now.
    pub(crate) fn wants_renewal(&self, context: &Context) -> Result<bool, Failure> {
        let certificate = self.certificate(context)?;
        wants_renewal(&certificate, now()).map_err(|err| Failure::because("the client certificate cannot be read", err))
    }

    /// Makes the certificate for this box anew, for the same key.
    pub(crate) fn renew(&self, context: &Context, authority: &Authority) -> Result<(), Failure> {
        if authority.public() != context.authority {
            return Err(Failure::NotPaired { why: ask_the_owner(context) });
        }
        let because = |err| Failure::because("the client certificate cannot be read", err);
        let old = self.certificate(context)?;
        let who = holdfast_provisioning::certificate::parse_client(&old).map_err(because)?;
        let key = public_key(&old).map_err(because)?;
        let certificate = authority
            .issue_client(&who.name, who.role, &key, now(), &mut OsRng)
            .map_err(|err| Failure::because("cannot make the client certificate", err))?;
        keep(&self.path_of(&context.client_certificate), &certificate)
    }

    /// The encrypted authority as it is kept, if there is one.
    pub(crate) fn authority_pem(&self) -> Result<Option<String>, Failure> {
        let Some(bytes) = read(&self.authority_path())? else { return Ok(None) };
        let what = format!("{} is no authority", self.authority_path().display());
        String::from_utf8(bytes).map(Some).map_err(|err| Failure::because(what, err))
    }

    /// The public key of the authority that is kept here, without its passphrase.
    pub(crate) fn authority_public(&self) -> Result<Option<P256Public>, Failure> {
        let Some(certificate) = read(&self.dir.join(AUTHORITY_CERTIFICATE))? else { return Ok(None) };
        public_key(&certificate).map(Some).map_err(|err| Failure::because("the authority's certificate is none", err))
    }

    /// Keeps an authority under a passphrase. One that is there already is never replaced by another.
    pub(crate) fn keep_authority(&self, authority: &Authority, passphrase: &str) -> Result<(), Failure> {
        if self.authority_public()?.is_some_and(|present| present != authority.public()) {
            return Err(Failure::refused(format!(
                "another authority is kept in {}: export it, then use another --home for this one",
                self.dir.display()
            )));
        }
        let pem = authority
            .export_pem(passphrase, &mut OsRng)
            .map_err(|err| Failure::because("the authority is not kept", err))?;
        make_private_dir(&self.dir)?;
        keep(&self.authority_path(), pem.as_bytes())?;
        self.know_authority(&authority.public(), authority.certificate())?;
        keep(&self.dir.join(AUTHORITY_CERTIFICATE), authority.certificate())
    }

    /// Keeps the certificate by which boxes of somebody's authority are known.
    pub(crate) fn know_authority(&self, public: &P256Public, certificate: &[u8]) -> Result<(), Failure> {
        make_private_dir(&self.dir)?;
        keep(&self.dir.join(format!("authority-{}.der", authority_id(public))), certificate)
    }

    /// The authority that is kept here, or else a new one.
    pub(crate) fn authority_or_new(
        &self,
        passphrase: &NewPassphraseArgs,
        terminal: &mut dyn Terminal,
    ) -> Result<(Authority, bool), Failure> {
        if self.authority_pem()?.is_some() {
            return self.authority(&passphrase.known, terminal).map(|authority| (authority, false));
        }
        let text = self.new_passphrase(passphrase, terminal)?;
        let authority =
            Authority::create(&mut OsRng).map_err(|err| Failure::because("cannot make an authority", err))?;
        self.keep_authority(&authority, &text)?;
        Ok((authority, true))
    }

    /// A passphrase for something new: asked for twice, or from its file. Without one, a random one is kept beside the key.
    pub(crate) fn new_passphrase(
        &self,
        args: &NewPassphraseArgs,
        terminal: &mut dyn Terminal,
    ) -> Result<Zeroizing<String>, Failure> {
        if args.danger_no_passphrase {
            let mut bytes = Zeroizing::new([0; 16]);
            OsRng.fill_bytes(bytes.as_mut_slice());
            let text = Zeroizing::new(hex(bytes.as_slice()));
            make_private_dir(&self.dir)?;
            keep(&self.dir.join(OPEN_PASSPHRASE), text.as_bytes())?;
            return Ok(text);
        }
        if let Some(path) = &args.known.passphrase_file {
            return long_enough(read_line(path)?);
        }
        terminal.note("the authority commands your boxes: choose a passphrase for its key");
        let text = long_enough(terminal.secret("new passphrase of the authority")?)?;
        if *terminal.secret("the same again")? != *text {
            return Err(Failure::unfit("the two passphrases differ: try again"));
        }
        Ok(text)
    }

    /// The passphrase of what is kept: from its file, beside the key, or asked for.
    fn passphrase(&self, args: &PassphraseArgs, terminal: &mut dyn Terminal) -> Result<Zeroizing<String>, Failure> {
        if let Some(known) = self.known_passphrase(args)? {
            return Ok(known);
        }
        terminal.secret("passphrase of the authority")
    }

    /// The passphrase, when nobody has to be asked for it.
    fn known_passphrase(&self, args: &PassphraseArgs) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(path) = &args.passphrase_file {
            return read_line(path).map(Some);
        }
        let beside = self.dir.join(OPEN_PASSPHRASE);
        if beside.exists() { read_line(&beside).map(Some) } else { Ok(None) }
    }

    /// Renews the certificate for a box when a third of its time is left and the authority opens without a question;
    /// otherwise says what to do.
    pub(crate) fn renew_in_time(&self, name: &str, terminal: &mut dyn Terminal) -> Result<(), Failure> {
        let context = self.context(name)?;
        if !self.wants_renewal(&context)? {
            return Ok(());
        }
        let args = PassphraseArgs { passphrase_file: std::env::var_os("HOLDFAST_PASSPHRASE_FILE").map(PathBuf::from) };
        if self.authority_public()? == Some(context.authority) && self.known_passphrase(&args)?.is_some() {
            return self.renew(&context, &self.authority(&args, terminal)?);
        }
        let ends = self.ends(&context)?;
        if self.authority_public()? == Some(context.authority) {
            terminal.note(&format!("your certificate for {name} {ends}: renew it with holdfast context renew {name}"));
        } else {
            terminal.note(&format!("your certificate for {name} {ends}. {}", ask_the_owner(&context)));
        }
        Ok(())
    }

    /// When the certificate for this box ends, in words.
    fn ends(&self, context: &Context) -> Result<String, Failure> {
        let because = |err| Failure::because("the client certificate cannot be read", err);
        let until = validity(&self.certificate(context)?).map_err(because)?.until;
        let now = now();
        Ok(if until < now { "has ended".to_owned() } else { format!("ends in {}", span(until.since(now))) })
    }

    fn certificate(&self, context: &Context) -> Result<Vec<u8>, Failure> {
        let path = self.path_of(&context.client_certificate);
        read(&path)?.ok_or_else(|| Failure::NotPaired {
            why: format!("the client certificate {} is gone: issue another, or pair anew", path.display()),
        })
    }

    /// Paths of a context are relative to the folder, so that it may be moved.
    fn path_of(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    fn client(&self, context: &Context) -> Result<Client, Failure> {
        let because = |err: Box<dyn std::error::Error + Send + Sync>| {
            Failure::because(format!("cannot use the context {}", context.name), err)
        };
        let certificate = self.certificate(context)?;
        let key = self.read_key(&self.path_of(&context.client_key))?;
        let id = authority_id(&context.authority);
        let path = self.dir.join(format!("authority-{id}.der"));
        let authority = read(&path)?.ok_or_else(|| Failure::NotPaired {
            why: format!("{} is gone, so {} cannot be known: pair it anew", path.display(), context.name),
        })?;
        let judge = BoxJudge::new(authority.into(), context.expected(), now).map_err(|err| because(err.into()))?;
        let tls =
            client_config(Arc::new(judge), Some((&key, certificate.into()))).map_err(|err| because(err.into()))?;
        Ok(Client::new(context.address.clone(), tls))
    }

    /// The client of a box, for what a [`Session`] does not do: following its events.
    pub(crate) fn client_of(&self, name: &str) -> Result<Client, Failure> {
        self.client(&self.context(name)?)
    }

    /// The folder of the certificates of TPM makers that are believed.
    pub(crate) fn vendors(&self) -> PathBuf {
        self.dir.join("tpm-vendors")
    }

    fn contexts_path(&self) -> PathBuf {
        self.dir.join("contexts.json")
    }

    fn authority_path(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }
}

impl Keys for Home {
    fn authority(&self, passphrase: &PassphraseArgs, terminal: &mut dyn Terminal) -> Result<Authority, Failure> {
        let pem = self.authority_pem()?.ok_or_else(|| Failure::NotPaired {
            why: "no authority is kept here: pair a box, or bring yours with holdfast authority import".to_owned(),
        })?;
        let text = self.passphrase(passphrase, terminal)?;
        Authority::import_pem(&pem, &text).map_err(|err| Failure::because("the authority does not open", err))
    }

    fn keeps_one(&self) -> Result<bool, Failure> {
        self.authority_pem().map(|pem| pem.is_some())
    }

    fn owner(&self, context: &str) -> Result<P256Public, Failure> {
        self.context(context).map(|context| context.authority)
    }

    fn expected(&self, context: &str) -> Result<Known, Failure> {
        let context = self.context(context)?;
        Ok(Known { box_name: context.box_name, box_key: Some(context.box_key), seen: Some(context.seen) })
    }
}

impl Reach for Home {
    fn names(&self, boxes: &Boxes) -> Result<Vec<String>, Failure> {
        let contexts = self.contexts()?;
        let not_paired = |why: String| Failure::NotPaired { why };
        match boxes {
            Boxes::Selected => {
                let selected = contexts.selected().map_err(|err| not_paired(err.to_string()))?;
                Ok(vec![selected.name.clone()])
            }
            Boxes::Named(names) => {
                for name in names {
                    contexts.get(name).map_err(|err| not_paired(err.to_string()))?;
                }
                Ok(names.clone())
            }
            Boxes::All if contexts.all().is_empty() => {
                Err(not_paired("no box is known here: pair one with holdfast pair".to_owned()))
            }
            Boxes::All => Ok(contexts.all().iter().map(|context| context.name.clone()).collect()),
        }
    }

    fn session(&self, name: &str) -> Result<Session, Failure> {
        let context = self.context(name)?;
        Ok(Session::new(name, Box::new(Carrier::new(name, self.client(&context)?)?)))
    }
}

/// The address of a box, checked.
pub(crate) fn target(text: &str) -> Result<Target, Failure> {
    text.parse().map_err(|err: holdfast_provisioning::client::BadTarget| Failure::usage(err.to_string()))
}

/// What whoever has no authority does for another certificate.
fn ask_the_owner(context: &Context) -> String {
    let (name, id) = (&context.name, authority_id(&context.authority));
    format!(
        "{name} belongs to the authority {id}, which is not kept here: make holdfast context request {name} --out {name}.csr, \
         have its owner certify that, and take what he hands back by holdfast context add {name} --certificate access.json"
    )
}

fn long_enough(text: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if text.chars().count() < PASSPHRASE_LEN_MIN {
        return Err(Failure::because("the authority is not kept", AuthorityError::ShortPassphrase));
    }
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    read_bounded(path, FILE_BYTES_MAX).map_err(|err| Failure::because("a file of this command cannot be used", err))
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_whole(path, bytes).map_err(|err| Failure::because("a file of this command is not kept", err))
}

/// The certificate of the authority that is kept here.
const AUTHORITY_CERTIFICATE: &str = "authority.der";
/// Only with `--danger-no-passphrase`: the lock and its key in one place.
const OPEN_PASSPHRASE: &str = "authority.passphrase";
/// Keys and certificates have a few hundred bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
pub(crate) mod tests;
