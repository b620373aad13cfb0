//! What a box's TPM says, asked with a fresh nonce and judged on this machine. The judge is passed in: what a vault signs is
//! `holdfast_evidence`'s to know.

mod verifier;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{CredentialAnswer, CredentialRequest, EvidenceAnswer, EvidenceKind, EvidenceRequest};
use holdfast_evidence::Custody;
use holdfast_provisioning::context::SeenAtPairing;
use holdfast_types::{BoxName, ImportKey, Millis, P256Public, Root};
use rand_core::{OsRng, RngCore as _};
use serde::Serialize;

use crate::ask::Session;
use crate::exit::Failure;
use crate::output::{Cell, Table, Tone};

pub(crate) use verifier::Verifier;

/// Judges evidence. A trait, so that tests believe what they like.
pub(crate) trait Judge {
    /// Judges bytes of a box by what was asked, at the present time.
    ///
    /// # Errors
    /// When nothing of it is proved.
    fn judge(&self, bytes: &[u8], question: &Question, now: Millis) -> Result<Judged, Failure>;
}

/// Evidence that was judged, as far as bytes alone can tell.
pub(crate) enum Judged {
    /// There is no more to find out.
    Shown(Box<Shown>),
    /// A credential would prove that the attestation key is in the TPM that its maker vouches for.
    Challenge {
        /// What only that TPM opens.
        credential: Vec<u8>,
        /// Judges what it says was inside.
        then: Opened,
    },
}

/// Judges what was inside a credential.
pub(crate) type Opened = Box<dyn FnOnce(&[u8; 32]) -> Result<Shown, Failure>>;

/// What is known of a box before it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its whole name.
    pub(crate) box_name: BoxName,
    /// Its key.
    pub(crate) box_key: Option<P256Public>,
    /// What its TPM was at the pairing; nothing while it is being paired.
    pub(crate) seen: Option<SeenAtPairing>,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// About what.
    pub(crate) kind: EvidenceKind,
    /// The fresh number.
    pub(crate) nonce: [u8; 32],
    /// Whom.
    pub(crate) known: Known,
}

/// What evidence shows, after it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    /// The box.
    pub(crate) box_name: BoxName,
    /// Its key.
    pub(crate) box_key: P256Public,
    /// What the seal means on this machine: `A`, `B` or `C`.
    pub(crate) tier: String,
    /// How far the TPM is proved to be one.
    pub(crate) tpm: Tpm,
    /// The same in words: vendor and model, or why it is not proved.
    pub(crate) tpm_told: String,
    /// The image that runs, in words.
    pub(crate) image: String,
    /// The register of the boot state.
    pub(crate) pcr_7: Option<Root>,
    /// The one-time key for an import.
    pub(crate) import_key: Option<ImportKey>,
    /// Which shares the vault holds, a line each.
    pub(crate) custody: Vec<String>,
    /// The same as the vault said it, with the end of its log of orders.
    #[serde(skip)]
    pub(crate) holds: Option<Custody>,
    /// The Names of its endorsement and attestation keys, and its tier, as a context keeps them.
    #[serde(skip)]
    pub(crate) seen: SeenAtPairing,
}

/// How far a TPM is proved to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tpm {
    /// A vendor that is known certified it.
    Genuine,
    /// Nobody that is known certified it.
    Unproven,
    /// It is a program.
    Emulated,
}

/// What is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// An emulated TPM too: the operator said so.
    Any,
    /// Anything that is not known to be a program.
    NotEmulated,
}

impl Trust {
    /// From the flag that accepts an emulated TPM.
    pub(crate) const fn of(accept_emulated: bool) -> Self {
        if accept_emulated { Self::Any } else { Self::NotEmulated }
    }
}

/// Asks for evidence and judges it.
pub(crate) fn ask(
    session: &mut Session,
    (judge, now): (&dyn Judge, Millis),
    kind: EvidenceKind,
    known: Known,
) -> Result<Shown, Failure> {
    let question = Question::new(kind, known);
    let answer: EvidenceAnswer = session.post("/v1/vault/evidence", &question.request())?;
    judged(&answer, &question, (judge, now), &mut |request| session.post("/v1/vault/credential", request))
}

/// What the vault holds and where its log of orders ends, by its evidence: what the daemon tells of either is its claim.
pub(crate) fn ask_custody(
    session: &mut Session,
    judge: (&dyn Judge, Millis),
    known: Known,
) -> Result<Custody, Failure> {
    let shown = ask(session, judge, EvidenceKind::Custody, known)?;
    shown.holds.ok_or_else(|| Failure::unfit("the box's evidence does not say what its vault holds"))
}

/// Judges an answer, and has the box open a credential where that proves more. What the TPM was at the pairing it must still
/// be.
pub(crate) fn judged(
    answer: &EvidenceAnswer,
    question: &Question,
    (judge, now): (&dyn Judge, Millis),
    open: &mut dyn FnMut(&CredentialRequest) -> Result<CredentialAnswer, Failure>,
) -> Result<Shown, Failure> {
    let bytes = STANDARD.decode(&answer.evidence);
    let bytes = bytes.map_err(|err| Failure::because("the box's evidence is no base64", err))?;
    let shown = match judge.judge(&bytes, question, now)? {
        Judged::Shown(shown) => *shown,
        Judged::Challenge { credential, then } => {
            let answer = open(&CredentialRequest { credential: STANDARD.encode(credential) })?;
            let inside: Root = answer
                .secret
                .parse()
                .map_err(|err| Failure::because("the box's answer to the credential cannot be read", err))?;
            then(&inside.0)?
        }
    };
    let known = &question.known;
    let same_key = known.box_key.is_none_or(|key| key == shown.box_key);
    if shown.box_name != known.box_name || !same_key {
        return Err(Failure::refused("the evidence is another box's: somebody stands in between, send nothing"));
    }
    match &known.seen {
        Some(seen) => changed(seen, &shown.seen).map(|()| shown),
        None => Ok(shown),
    }
}

fn changed(seen: &SeenAtPairing, now: &SeenAtPairing) -> Result<(), Failure> {
    let what = if seen.endorsement_key != now.endorsement_key {
        "the endorsement key of its TPM"
    } else if seen.attestation_key != now.attestation_key {
        "the attestation key of its TPM"
    } else if seen.tier != now.tier {
        "its tier"
    } else {
        return Ok(());
    };
    Err(Failure::refused(format!(
        "{what} is not what it was at the pairing (tier {} then, {} now): the board or its setup was changed. If you did that, \
         reset the box and pair it again; otherwise send it nothing",
        seen.tier, now.tier
    )))
}

impl Question {
    /// A question with a fresh nonce.
    pub(crate) fn new(kind: EvidenceKind, known: Known) -> Self {
        let mut nonce = [0; 32];
        OsRng.fill_bytes(&mut nonce);
        Self { kind, nonce, known }
    }

    /// As the API takes it.
    pub(crate) fn request(&self) -> EvidenceRequest {
        EvidenceRequest { kind: self.kind, nonce: Root(self.nonce).to_string() }
    }
}

impl Shown {
    /// Fails when the TPM is an emulated one and that was not accepted.
    pub(crate) fn check(&self, trust: Trust) -> Result<(), Failure> {
        if self.tpm == Tpm::Emulated && trust == Trust::NotEmulated {
            return Err(Failure::refused(format!(
                "the TPM of this box is a program ({}): it seals nothing, and whoever has the disk has the shares. For a \
                 trial say --danger-accept-emulated-tpm",
                self.tpm_told
            )));
        }
        Ok(())
    }

    /// As a person reads it.
    pub(crate) fn table(&self) -> Table {
        let tone = match self.tpm {
            Tpm::Genuine => Tone::Good,
            Tpm::Unproven => Tone::Warn,
            Tpm::Emulated => Tone::Bad,
        };
        let mut table = Table::pairs([
            ("box", self.box_name.to_string().into()),
            ("TPM", Cell::toned(self.tpm_told.as_str(), tone)),
            ("tier", self.tier.as_str().into()),
            ("image", self.image.as_str().into()),
            ("PCR 7", self.pcr_7.map_or_else(|| "–".to_owned(), |value| value.to_string()).into()),
        ]);
        for line in &self.custody {
            table.row(["holds".into(), line.as_str().into()]);
        }
        table
    }
}

/// A judge for tests: evidence is the words that it is judged by.
#[cfg(test)]
pub(crate) mod played {
    use serde_json::{Value, json};

    use super::*;

    /// What a box with this TPM answers.
    pub(crate) fn answer(tpm: Tpm) -> Value {
        answer_of(tpm, BOX_KEY)
    }

    /// What a box answers whose vault holds this.
    pub(crate) fn answer_holding(tpm: Tpm, holds: &Custody) -> Value {
        let holds = serde_json::to_string(holds).unwrap();
        json!({"evidence": STANDARD.encode(format!("{tpm:?} {BOX_KEY} {holds}"))})
    }

    /// What the box with this key answers.
    pub(crate) fn answer_of(tpm: Tpm, box_key: P256Public) -> Value {
        json!({"evidence": STANDARD.encode(format!("{tpm:?} {box_key}"))})
    }

    /// The key of a box that nobody looks at closely.
    pub(crate) const BOX_KEY: P256Public = P256Public([2; 33]);

    /// The key that shares are sealed to.
    pub(crate) const IMPORT_KEY: ImportKey = ImportKey([9; 32]);

    /// Believes the words in the bytes, and gives this key out for imports.
    pub(crate) struct Credulous(pub(crate) ImportKey);

    impl Judge for Credulous {
        fn judge(&self, bytes: &[u8], question: &Question, _now: Millis) -> Result<Judged, Failure> {
            let text = std::str::from_utf8(bytes).unwrap();
            let (tpm, rest) = text.split_once(' ').unwrap_or((text, ""));
            let (box_key, holds) = rest.split_once(' ').unwrap_or((rest, ""));
            let tpm = match tpm {
                "Genuine" => Tpm::Genuine,
                "Unproven" => Tpm::Unproven,
                "Emulated" => Tpm::Emulated,
                _ => return Err(Failure::refused("the evidence does not verify")),
            };
            let tier = if tpm == Tpm::Emulated { "C" } else { "A" };
            let shown = Shown {
                box_name: question.known.box_name,
                box_key: box_key.parse().unwrap(),
                tier: tier.to_owned(),
                tpm,
                tpm_told: format!("{tpm:?}"),
                image: "0.3.0".to_owned(),
                pcr_7: Some(Root([7; 32])),
                import_key: (question.kind == EvidenceKind::ImportKey).then_some(self.0),
                custody: Vec::new(),
                holds: (!holds.is_empty()).then(|| serde_json::from_str(holds).unwrap()),
                seen: SeenAtPairing { endorsement_key: "e".into(), attestation_key: "a".into(), tier: tier.to_owned() },
            };
            if tpm != Tpm::Genuine {
                return Ok(Judged::Shown(Box::new(shown)));
            }
            let then = |inside: &[u8; 32]| match inside {
                &INSIDE => Ok(shown),
                _ => Err(Failure::refused("the box did not open the credential")),
            };
            Ok(Judged::Challenge { credential: vec![1, 2, 3], then: Box::new(then) })
        }
    }

    /// What the box answers that opens the credential.
    pub(crate) fn opened() -> Value {
        json!({"secret": Root(INSIDE)})
    }

    const INSIDE: [u8; 32] = [4; 32];
    /// The judge of tests that import nothing.
    pub(crate) const JUDGE: Credulous = Credulous(IMPORT_KEY);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::played as box_played;
    use crate::exit::Exit;

    fn known(seen: Option<SeenAtPairing>) -> Known {
        Known { box_name: BoxName([1; 32]), box_key: Some(P256Public([2; 33])), seen }
    }

    fn ask_once(tpm: Tpm, known: Known) -> Result<Shown, Failure> {
        ask_of(tpm, known, played::opened())
    }

    fn ask_of(tpm: Tpm, known: Known, opened: serde_json::Value) -> Result<Shown, Failure> {
        let answers = vec![("/v1/vault/evidence", played::answer(tpm)), ("/v1/vault/credential", opened)];
        let (mut session, _) = box_played::session(answers);
        ask(&mut session, (&played::JUDGE, Millis(0)), EvidenceKind::Boot, known)
    }

    #[test]
    fn each_question_has_its_own_nonce() {
        let [one, two] = [(); 2].map(|()| Question::new(EvidenceKind::Boot, known(None)).request().nonce);
        assert_eq!(one.len(), 66);
        assert_ne!(one, two);
    }

    #[test]
    fn an_emulated_tpm_is_good_enough_only_when_it_is_said() {
        let shown = ask_once(Tpm::Emulated, known(None)).unwrap();
        assert_eq!(shown.check(Trust::of(false)).unwrap_err().exit(), Exit::Refused);
        shown.check(Trust::of(true)).unwrap();
        ask_once(Tpm::Unproven, known(None)).unwrap().check(Trust::of(false)).unwrap();
    }

    #[test]
    fn what_changed_since_the_pairing_is_refused() {
        let seen = SeenAtPairing { endorsement_key: "e".into(), attestation_key: "a".into(), tier: "A".into() };
        ask_once(Tpm::Genuine, known(Some(seen.clone()))).unwrap();
        for changed in [
            SeenAtPairing { endorsement_key: "x".into(), ..seen.clone() },
            SeenAtPairing { attestation_key: "x".into(), ..seen.clone() },
            SeenAtPairing { tier: "B".into(), ..seen },
        ] {
            let failure = ask_once(Tpm::Genuine, known(Some(changed))).unwrap_err();
            assert_eq!(failure.exit(), Exit::Refused);
            assert!(failure.told().contains("not what it was at the pairing"), "{failure}");
        }
    }

    #[test]
    fn a_tpm_is_genuine_only_when_it_opened_the_credential() {
        assert_eq!(ask_once(Tpm::Genuine, known(None)).unwrap().tpm, Tpm::Genuine);
        let wrong = serde_json::json!({"secret": Root([5; 32])});
        let failure = ask_of(Tpm::Genuine, known(None), wrong).unwrap_err();
        assert!(failure.told().contains("did not open the credential"), "{failure}");
        assert!(ask_of(Tpm::Genuine, known(None), serde_json::json!({"secret": "0x12"})).is_err());
    }

    #[test]
    fn evidence_with_another_box_key_is_another_box() {
        let failure = ask_once(Tpm::Genuine, Known { box_key: Some(P256Public([3; 33])), ..known(None) }).unwrap_err();
        assert!(failure.told().contains("another box's"), "{failure}");
    }
}
