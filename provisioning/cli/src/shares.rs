//! The offline half of an import: lock, keystores, history and identity are checked on this machine, before anything is
//! asked of a box.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_cluster::{
    Enr, HISTORY_BYTES_MAX, HistoryLimits, Keystore, LOCK_BYTES_MAX, NodeKey, VerifiedLock, history_of_cluster,
    read_history, read_lock,
};
use holdfast_types::{ChainSpec, Epoch, HistoryMarks, Millis, OperatorIndex, ShareIndex, SharePublic, ValidatorPublic};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::files;
use crate::network::{KnownNetworks, present};
use crate::terminal::Progress;

/// A lock that was read and verified.
#[derive(Debug)]
pub(crate) struct CheckedLock {
    /// The lock.
    pub(crate) lock: VerifiedLock,
    /// The file, byte for byte.
    pub(crate) file: Vec<u8>,
    /// Time base and forks of its network.
    pub(crate) chain: ChainSpec,
}

/// All shares of one operator.
pub(crate) struct Shares {
    /// Whose they are.
    pub(crate) operator: OperatorIndex,
    /// Each validator with its secret, in ascending order of the validators.
    secrets: BTreeMap<ValidatorPublic, Zeroizing<[u8; 32]>>,
}

/// The slashing history, as far as it is about the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownHistory {
    /// The watermarks.
    pub(crate) marks: HistoryMarks,
    /// How many keys of the file are of no validator of the cluster.
    pub(crate) others: usize,
}

impl CheckedLock {
    /// Reads a lock and verifies everything in it.
    pub(crate) fn read(path: &Path, networks: &KnownNetworks) -> Result<Self, Failure> {
        let file = files::read(path, LOCK_BYTES_MAX as u64)?.to_vec();
        let because = |err: Box<dyn std::error::Error + Send + Sync>| {
            Failure::because(format!("the cluster lock {} does not hold", path.display()), err)
        };
        let lock = read_lock(&file).map_err(|err| because(err.into()))?;
        let lock = VerifiedLock::verify(lock, &networks.for_locks()).map_err(|err| because(err.into()))?;
        let chain = networks.chain(lock.fork_version())?;
        Ok(Self { lock, file, chain })
    }

    /// What it says, in one line.
    pub(crate) fn told(&self) -> String {
        format!(
            "{:?}, {} operators, threshold {}, {} validators: every hash and signature ok",
            self.lock.name(),
            self.lock.enrs().len(),
            self.lock.threshold(),
            self.lock.validators().len()
        )
    }

    /// The slot and the epoch at this time.
    pub(crate) fn epoch_at(&self, now: Millis) -> Epoch {
        present(&self.chain, now).1
    }

    /// The operator with this node record.
    pub(crate) fn operator_of(&self, enr: &Enr) -> Result<OperatorIndex, Failure> {
        self.lock.operator_of(&enr.public()).ok_or_else(|| self.no_operator(enr))
    }

    /// The node record is that of the operator whose shares these are.
    pub(crate) fn check_identity(&self, enr: &Enr, operator: OperatorIndex) -> Result<(), Failure> {
        let found = self.operator_of(enr)?;
        if found == operator {
            return Ok(());
        }
        let expected = &self.lock.enrs()[usize::from(operator.0)];
        Err(Failure::refused(format!(
            "the shares are those of operator {} of the lock, and the box is operator {}: take the keystores of the same \
             operator\n  shares  {}\n  box     {}",
            u16::from(operator.0) + 1,
            u16::from(found.0) + 1,
            expected.text(),
            enr.text()
        )))
    }

    fn no_operator(&self, enr: &Enr) -> Failure {
        let mut text = format!(
            "the box's identity is none of the {} operators of the lock: make the cluster with the box's record, or give \
             the box the key of an operator with --identity\n  box         {}",
            self.lock.enrs().len(),
            enr.text()
        );
        for (at, enr) in (1..).zip(self.lock.enrs()) {
            text.push_str(&format!("\n  operator {at}  {}", enr.text()));
        }
        Failure::refused(text)
    }
}

impl Shares {
    /// Decrypts every keystore of a folder and checks each share against the lock.
    pub(crate) fn read(
        dir: &Path,
        lock: &CheckedLock,
        progress: &mut dyn FnMut(u64) -> Progress,
    ) -> Result<Self, Failure> {
        let files = keystores(dir)?;
        let mut bar = progress(files.len() as u64);
        let places = places(&lock.lock);
        let mut shares = Self { operator: OperatorIndex(0), secrets: BTreeMap::new() };
        for (at, path) in files.iter().enumerate() {
            let (public, secret) = decrypt(path)?;
            let Some(&(operator, validator)) = places.get(&public) else {
                return Err(Failure::refused(format!(
                    "the share in {} is none of the lock's: take the keystores of this cluster",
                    path.display()
                )));
            };
            if at > 0 && operator != shares.operator {
                return Err(Failure::refused(format!(
                    "{} holds a share of operator {}, and the keystores before it those of operator {}: one box holds \
                     the shares of one operator",
                    path.display(),
                    u16::from(operator.0) + 1,
                    u16::from(shares.operator.0) + 1
                )));
            }
            shares.operator = operator;
            if shares.secrets.insert(validator, secret).is_some() {
                return Err(Failure::refused(format!("the share in {} is there twice: remove one", path.display())));
            }
            bar.step();
        }
        let validators = lock.lock.validators().len();
        if shares.secrets.len() != validators {
            return Err(Failure::refused(format!(
                "{} has keystores for {} of the {validators} validators of the lock: all of them are needed",
                dir.display(),
                shares.secrets.len()
            )));
        }
        Ok(shares)
    }

    /// Their index in the lock, from 1.
    pub(crate) fn index(&self) -> ShareIndex {
        ShareIndex(self.operator.0 + 1)
    }

    /// The validators, in ascending order.
    pub(crate) fn validators(&self) -> Vec<ValidatorPublic> {
        self.secrets.keys().copied().collect()
    }

    /// The secrets in the same order, one after the other.
    pub(crate) fn plain(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(self.secrets.len() * 32));
        for secret in self.secrets.values() {
            plain.extend_from_slice(secret.as_slice());
        }
        plain
    }
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shares({} of operator {})", self.secrets.len(), self.operator)
    }
}

/// Reads a slashing history and keeps what is about the cluster's validators.
pub(crate) fn history(path: &Path, lock: &CheckedLock, now: Millis) -> Result<KnownHistory, Failure> {
    let bytes = files::read(path, HISTORY_BYTES_MAX as u64)?;
    let (last_slot, last_epoch) = present(&lock.chain, now);
    let limits = HistoryLimits {
        genesis_validators_root: lock.chain.genesis_validators_root,
        // What was signed for the next epoch ahead of time, and a clock that is a little behind.
        last_epoch: Epoch(last_epoch.0.saturating_add(1)),
        last_slot: holdfast_types::Slot(last_slot.0.saturating_add(lock.chain.slots_per_epoch)),
    };
    let marks = read_history(&bytes, &limits)
        .map_err(|err| Failure::because(format!("the history {} is not taken", path.display()), err))?;
    let of_cluster = history_of_cluster(&marks, &lock.lock);
    let known: Vec<_> = of_cluster.marks.validators.iter().map(|marks| marks.validator).collect();
    let missing = lock.lock.validators().filter(|validator| !known.contains(&validator.public)).count();
    if missing > 0 {
        return Err(Failure::refused(format!(
            "the history {} says nothing of {missing} of the {} validators of the lock: take the history of the client \
             that signed for them, or --danger-no-history when it is lost",
            path.display(),
            lock.lock.validators().len()
        )));
    }
    Ok(KnownHistory { marks: of_cluster.marks, others: of_cluster.others.len() })
}

/// Reads a node key.
pub(crate) fn node_key(path: &Path) -> Result<NodeKey, Failure> {
    NodeKey::read(path).map_err(|err| Failure::because("the node key is not taken", err))
}

/// Where each share of the lock belongs.
fn places(lock: &VerifiedLock) -> BTreeMap<SharePublic, (OperatorIndex, ValidatorPublic)> {
    let of = |validator: holdfast_cluster::LockedValidator<'_>| {
        let shares = (0..).map(OperatorIndex).zip(validator.shares.to_vec());
        shares.map(move |(operator, share)| (share, (operator, validator.public))).collect::<Vec<_>>()
    };
    lock.validators().flat_map(of).collect()
}

/// The keystores of a folder, in the order of their names.
fn keystores(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Failure::read(dir))? {
        let path = entry.map_err(Failure::read(dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("keystore") && name.ends_with(".json") {
            files.push(path);
        }
    }
    if files.is_empty() || files.len() > KEYSTORES_MAX {
        return Err(Failure::unfit(format!(
            "{} has {} files keystore-N.json: between 1 and {KEYSTORES_MAX} are read",
            dir.display(),
            files.len()
        )));
    }
    files.sort_unstable();
    Ok(files)
}

fn decrypt(path: &Path) -> Result<(SharePublic, Zeroizing<[u8; 32]>), Failure> {
    let keystore = Keystore::parse(&files::read(path, KEYSTORE_BYTES_MAX)?);
    let password_file = path.with_extension("txt");
    let password = files::read(&password_file, KEYSTORE_BYTES_MAX)?;
    let password = std::str::from_utf8(&password)
        .map_err(|err| Failure::because(format!("{} is no text", password_file.display()), err))?;
    let share = keystore.and_then(|keystore| keystore.decrypt(password));
    let share = share.map_err(|err| Failure::because(format!("cannot open {}", path.display()), err))?;
    Ok((share.public(), share.expose()))
}

/// As many validators as one box may hold shares of.
const KEYSTORES_MAX: usize = 1_000;
/// A keystore has less than 1 KiB.
const KEYSTORE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
pub(crate) mod tests;
