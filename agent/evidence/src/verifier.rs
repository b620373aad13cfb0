//! What evidence proves: a pure function of the evidence and of what its reader expects.
//!
//! The quote proves the body, the registers and which key signed. That the key is in a TPM that a maker vouches for is
//! proved only by a credential ([`Verified::challenge`], [`Verified::activated`]): until then the verdict says so.

use holdfast_types::{BoxName, ImportKey, Millis, P256Public, P256Signature};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::approval::{Approval, IMAGE_REGISTERS};
use crate::areas::{self, EndorsementKey, NAME_LEN};
use crate::credential::{Credential, CredentialError};
use crate::evidence::{Custody, Evidence, EvidenceBody, EvidenceKind, LEASE_COUNTER_INDEX, QUOTED_REGISTERS, Tier};
use crate::key::verify as signed_by;
use crate::names::box_name;
use crate::policy;
use crate::statement::Statement;
use crate::vendor::{Emulated, Found, Model, Unproven, VendorRoots};

/// What its reader expects of an evidence.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The nonce that he gave.
    pub nonce: [u8; 32],
    /// What he asked for.
    pub kind: EvidenceKind,
    /// The box, once it is known.
    pub box_name: Option<BoxName>,
    /// The TPM makers that he believes.
    pub vendors: &'a VendorRoots,
    /// The releases that he knows; `None` when he does not judge the image.
    pub releases: Option<&'a KnownReleases>,
    /// The time by his clock.
    pub now: Millis,
}

/// The images of a release key.
#[derive(Clone, Debug)]
pub struct KnownReleases {
    /// The key.
    pub key: P256Public,
    /// Its images; only those count that it approved.
    pub images: Vec<KnownImage>,
}

/// One image, at one level.
#[derive(Clone, Debug)]
pub struct KnownImage {
    /// What it measures into register 11 until the phase `sysinit`.
    pub pcr_11: [u8; 32],
    /// The release key's approval of that.
    pub approval: Approval,
}

/// What an evidence proves. Made only by [`verify`].
#[derive(Clone, Debug)]
pub struct Verified {
    /// The box.
    pub box_name: BoxName,
    /// The Name of its attestation key, from which the box's name follows.
    pub attestation_key: [u8; NAME_LEN],
    /// What is known of the TPM.
    pub tpm: TpmVerdict,
    /// What the seal means there: C when the TPM is emulated, otherwise as the box says.
    pub tier: Tier,
    /// What is known of the image that runs.
    pub image: ImageVerdict,
    /// The vault's version, as it says.
    pub version: String,
    /// The authority that the vault says it obeys.
    pub authority: Option<P256Public>,
    /// The key by which the box certifies its daemon's.
    pub box_key: P256Public,
    /// The one-time key, when that was asked for.
    pub import_key: Option<ImportKey>,
    /// What the vault holds, when that was asked for.
    pub custody: Option<Custody>,
    /// The value of the lease's counter; `None` while there is none.
    pub counter: Option<u64>,
    /// The values of [`QUOTED_REGISTERS`].
    pub values: [[u8; 32]; QUOTED_REGISTERS.len()],
    /// How often the TPM was reset.
    pub resets: u32,
    /// And restarted since.
    pub restarts: u32,
    endorsement_key: EndorsementKey,
    /// The TPM that its maker vouches for, until it opened a credential.
    vouched: Option<Model>,
}

/// What is known of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmVerdict {
    /// The attestation key is in a TPM of a maker on the list.
    Genuine(Model),
    /// Nothing is proved of what holds the attestation key.
    Unproven(Unproven),
    /// It is software: it proves nothing, and the tier is C.
    Emulated(Emulated),
}

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageVerdict {
    /// It is this release, as far as the TPM was told of what booted.
    Released {
        /// The kind of board.
        board: String,
        /// The level.
        level: u64,
    },
    /// It is no release that the reader knows.
    Unknown,
    /// It was not held against any.
    Unchecked,
}

/// Why an evidence proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The attestation key is of another kind.
    #[error("the attestation key is not one that signs only what its TPM states: this is no box of ours")]
    AttestationKey,
    /// The box did not open the credential.
    #[error("the box did not open the credential, so its attestation key is not in the TPM of its certificate")]
    Credential,
    /// What it says contradicts itself.
    #[error("the evidence makes no sense: {0}; are command and box of the same release")]
    Body(&'static str),
    /// The counter is not the lease's.
    #[error("the certified counter is not that of the lease")]
    Counter,
    /// The endorsement key is of another kind.
    #[error("the endorsement key is none of the two kinds that TPMs have by default")]
    EndorsementKey,
    /// It is another box's.
    #[error("the evidence is of box {found}, not of {expected}")]
    OtherBox {
        /// Who was asked.
        expected: BoxName,
        /// Who answered.
        found: BoxName,
    },
    /// It answers another question: nonce, kind or content are not those that the TPM signed.
    #[error("the evidence is no answer to what was asked: ask again; if it stays, somebody between changes it")]
    OtherQuestion,
    /// The values are not those that the TPM signed, or other registers.
    #[error("the registers are not as the TPM quotes them: they may have changed just then, ask again")]
    Registers,
    /// A signature is not that of the attestation key.
    #[error("the {0} is not signed by the attestation key of the box")]
    Signature(&'static str),
    /// What was signed is no statement of a TPM.
    #[error("the {0} is not a statement of the box's TPM")]
    Statement(&'static str),
}

/// Checks an evidence.
///
/// # Errors
/// [`EvidenceError`]: then nothing of it is proved. What is proved of TPM and image is a verdict, not an error.
pub fn verify(evidence: &Evidence, expected: &Expected<'_>) -> Result<Verified, EvidenceError> {
    let Evidence { body, registers, values, attestation_key, endorsement, .. } = evidence;
    let key = areas::attestation_key(attestation_key).ok_or(EvidenceError::AttestationKey)?;
    let key_name = areas::name(attestation_key);
    check_box(body, &key_name, expected)?;
    check_body(body, expected.kind)?;
    let qualifying = body.qualifying(expected.kind, &expected.nonce);
    let signer = Signer { key, name: key_name, qualifying };
    let quote = signer.statement("quote", &evidence.quote, &evidence.signature)?;
    let (quoted, digest) = quote.quoted().ok_or(EvidenceError::Statement("quote"))?;
    let values = <[[u8; 32]; QUOTED_REGISTERS.len()]>::try_from(&values[..]).map_err(|_| EvidenceError::Registers)?;
    if *registers != QUOTED_REGISTERS || quoted != QUOTED_REGISTERS || digest != policy::digest_of(&values) {
        return Err(EvidenceError::Registers);
    }
    let counter = evidence.counter.as_ref().map(|certified| {
        let statement = signer.statement("counter", &certified.statement, &certified.signature)?;
        let (name, value) = statement.certified_number().ok_or(EvidenceError::Statement("counter"))?;
        if name == areas::counter_name(LEASE_COUNTER_INDEX) { Ok(value) } else { Err(EvidenceError::Counter) }
    });
    let endorsement_key = EndorsementKey::from_area(&endorsement.public).ok_or(EvidenceError::EndorsementKey)?;
    let found = expected.vendors.judge(&endorsement_key, endorsement.certificate.as_deref(), expected.now);
    let (tpm, vouched) = match found {
        _ if body.tier == Tier::C => (TpmVerdict::Emulated(Emulated::BoxSays), None),
        Found::Emulated(emulated) => (TpmVerdict::Emulated(emulated), None),
        Found::Unproven(unproven) => (TpmVerdict::Unproven(unproven), None),
        Found::Vouched(model) => (TpmVerdict::Unproven(Unproven::NotActivated), Some(model)),
    };
    Ok(Verified {
        box_name: body.box_name,
        attestation_key: key_name,
        tier: if matches!(tpm, TpmVerdict::Emulated(_)) { Tier::C } else { body.tier },
        tpm,
        image: expected.releases.map_or(ImageVerdict::Unchecked, |releases| releases.judge(&values)),
        version: body.version.clone(),
        authority: body.authority,
        box_key: body.box_key,
        import_key: body.import_key,
        custody: body.custody.clone(),
        counter: counter.transpose()?,
        values,
        resets: quote.resets,
        restarts: quote.restarts,
        endorsement_key,
        vouched,
    })
}

/// A credential for one box, and what it must answer.
#[derive(Debug)]
pub struct Challenge {
    /// What is sent.
    pub credential: Credential,
    secret: Zeroizing<[u8; 32]>,
    attestation_key: [u8; NAME_LEN],
    endorsement_key: EndorsementKey,
}

impl Verified {
    /// The value of a register among [`QUOTED_REGISTERS`].
    #[must_use]
    pub fn register(&self, register: u8) -> Option<[u8; 32]> {
        let place = QUOTED_REGISTERS.iter().position(|quoted| *quoted == register)?;
        self.values.get(place).copied()
    }

    /// A credential that only a TPM with both keys of this evidence opens.
    ///
    /// # Errors
    /// [`CredentialError::Key`] when the endorsement key is no key to encrypt to.
    pub fn challenge(&self, rng: &mut impl CryptoRngCore) -> Result<Challenge, CredentialError> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        let area = self.endorsement_key.area().map_err(|_| CredentialError::Key)?;
        let credential = Credential::make(&area, &self.attestation_key, &secret, rng)?;
        let (attestation_key, endorsement_key) = (self.attestation_key, self.endorsement_key.clone());
        Ok(Challenge { credential, secret, attestation_key, endorsement_key })
    }

    /// What is proved once the box has answered: an attestation key in a TPM that its maker vouches for is genuine.
    ///
    /// # Errors
    /// [`EvidenceError::Credential`] when the answer is not what only this box could give.
    pub fn activated(self, challenge: &Challenge, answer: &[u8; 32]) -> Result<Self, EvidenceError> {
        let ours =
            (self.attestation_key, &self.endorsement_key) == (challenge.attestation_key, &challenge.endorsement_key);
        if !ours || *answer != *challenge.secret {
            return Err(EvidenceError::Credential);
        }
        Ok(match self.vouched {
            Some(model) => Self { tpm: TpmVerdict::Genuine(model), vouched: None, ..self },
            None => self,
        })
    }
}

impl KnownReleases {
    /// The highest level at which one of the images is approved that the registers show.
    fn judge(&self, values: &[[u8; 32]; QUOTED_REGISTERS.len()]) -> ImageVerdict {
        let [.., image, command_line, extensions] = *values;
        let zero = [[0; 32]; 2];
        let shown = |known: &&KnownImage| {
            [command_line, extensions] == zero && [known.pcr_11, when_ready(&known.pcr_11)].contains(&image)
        };
        let levels = self.images.iter().filter(shown).filter_map(|known| {
            let approved = policy::pcrs(&IMAGE_REGISTERS, &[known.pcr_11, [0; 32], [0; 32]]) == known.approval.policy;
            let (board, level) = known.approval.of_which_image().filter(|_| approved)?;
            known.approval.verify(&self.key).ok().map(|()| (level, board))
        });
        levels.max().map_or(ImageVerdict::Unknown, |(level, board)| ImageVerdict::Released { board, level })
    }
}

/// The boot goes on after the phase that the shares open in, and systemd measures that (`systemd-pcrphase`, "ready").
fn when_ready(pcr_11: &[u8; 32]) -> [u8; 32] {
    policy::extended(pcr_11, b"ready")
}

/// The key that signs, and what it is to have signed.
struct Signer {
    key: P256Public,
    name: [u8; NAME_LEN],
    qualifying: [u8; 32],
}

impl Signer {
    /// A statement that this key made about itself for this question.
    fn statement<'a>(
        &self,
        what: &'static str,
        bytes: &'a [u8],
        signature: &P256Signature,
    ) -> Result<Statement<'a>, EvidenceError> {
        if !signed_by(&self.key, bytes, signature) {
            return Err(EvidenceError::Signature(what));
        }
        let statement = Statement::read(bytes).ok_or(EvidenceError::Statement(what))?;
        if statement.signer != areas::qualified_name(&self.name) {
            return Err(EvidenceError::Statement(what));
        }
        if statement.qualifying != self.qualifying { Err(EvidenceError::OtherQuestion) } else { Ok(statement) }
    }
}

fn check_box(body: &EvidenceBody, key_name: &[u8], expected: &Expected<'_>) -> Result<(), EvidenceError> {
    let found = box_name(key_name);
    if body.box_name != found {
        return Err(EvidenceError::Body("the box's name is not that of its attestation key"));
    }
    match expected.box_name.filter(|expected| *expected != found) {
        Some(expected) => Err(EvidenceError::OtherBox { expected, found }),
        None => Ok(()),
    }
}

fn check_body(body: &EvidenceBody, kind: EvidenceKind) -> Result<(), EvidenceError> {
    let version = body.version.as_bytes();
    let custody = body.custody.as_ref().and_then(|custody| custody.shares.as_ref());
    let wrong = [
        (body.import_key.is_some() != (kind == EvidenceKind::ImportKey), "an import key where none belongs, or none"),
        (body.custody.is_some() != (kind == EvidenceKind::Custody), "a custody where none belongs, or none"),
        (version.len() > VERSION_LEN_MAX || !version.iter().all(u8::is_ascii_graphic), "its version is none"),
        (p256::PublicKey::from_sec1_bytes(&body.box_key.0).is_err(), "the box key is none"),
        (custody.is_some_and(|held| held.validators.is_empty()), "it holds shares of nobody"),
        (custody.is_some_and(|held| held.validators.len() > SHARES_MAX), "it holds more shares than a box may"),
        (custody.is_some_and(|held| !held.validators.is_sorted_by(|one, next| one.0 < next.0)), "shares out of order"),
        (custody.is_some_and(|held| held.share_index.0 == 0), "no share has the index 0"),
    ];
    wrong.iter().find(|(is_so, _)| *is_so).map_or(Ok(()), |(_, what)| Err(EvidenceError::Body(what)))
}

/// As many as one box may hold.
const SHARES_MAX: usize = 1_000;
const VERSION_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
