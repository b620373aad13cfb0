//! The folder of a node: node key, lock, deposit files and keystores, named and protected as the reference does
//! (`cluster-files.md` sections 3.5, 4 and 7.1).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use holdfast_bls::ShareSecret;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::create::{CreatedCluster, CreatedNode};
use crate::deposit_file::{DepositFile, deposit_files};
use crate::identity::{KEY_FILE, KeyFileError};
use crate::json::write_lock;
use crate::keystore::{Keystore, KeystoreCost, KeystoreError};

/// Why a node's folder cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum NodeDirError {
    /// The node key cannot be written.
    #[error("cannot write the node key")]
    Key(#[source] KeyFileError),
    /// A keystore cannot be opened.
    #[error("cannot open keystore {}", path.display())]
    Keystore {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: KeystoreError,
    },
    /// The numbers in the names have a gap.
    #[error("{} has no keystore number {number}: the numbers must be 0, 1, 2 and so on", dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The number that is missing or there twice.
        number: usize,
    },
    /// Something cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
    /// Insecure keystores where keys guard money.
    #[error("insecure keystores are refused on {network}: use the standard cost")]
    Refused {
        /// The network.
        network: String,
    },
    /// Something cannot be written; existing files are never replaced.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        err: io::Error,
    },
}

/// Lays out `node0`, `node1` and so on in a folder.
///
/// # Errors
///
/// When a file exists or cannot be written; what was written before stays.
pub fn write_node_dirs(
    cluster: &CreatedCluster,
    dir: &Path,
    cost: KeystoreCost,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(), NodeDirError> {
    let network = cluster.lock.network();
    if cost == KeystoreCost::DangerInsecure && network.has_value() {
        return Err(NodeDirError::Refused { network: network.name.to_string() });
    }
    let lock = write_lock(cluster.lock.lock());
    let deposits = deposit_files(&cluster.lock);
    for (at, node) in cluster.nodes.iter().enumerate() {
        write_node(&dir.join(format!("node{at}")), node, &lock, &deposits, cost, rng)?;
    }
    Ok(())
}

/// Opens all keystores of a `validator_keys` folder; the shares come in the order of the lock's validators.
///
/// # Errors
///
/// When a keystore cannot be opened or the numbers in the names have a gap.
pub fn read_keystores(dir: &Path) -> Result<Vec<ShareSecret>, NodeDirError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|err| NodeDirError::Read { path: dir.to_owned(), err })?;
    let numbered = |path: PathBuf| keystore_number(&path).map(|number| (number, path));
    let mut files: Vec<_> = entries.into_iter().filter_map(|entry| numbered(entry.path())).collect();
    files.sort_unstable();
    if let Some(number) = (0..files.len()).find(|at| files[*at].0 != *at) {
        return Err(NodeDirError::Missing { dir: dir.to_owned(), number });
    }
    files.iter().map(|(_, path)| read_keystore(path)).collect()
}

fn read_keystore(path: &Path) -> Result<ShareSecret, NodeDirError> {
    let read = |path: &Path| fs::read(path).map_err(|err| NodeDirError::Read { path: path.to_owned(), err });
    let invalid = |err| NodeDirError::Keystore { path: path.to_owned(), err };
    let keystore = Keystore::parse(&read(path)?).map_err(invalid)?;
    let password = Zeroizing::new(read(&path.with_extension("txt"))?);
    let password = std::str::from_utf8(&password).map_err(|_| invalid(KeystoreError::WrongPassword))?;
    keystore.decrypt(password).map_err(invalid)
}

/// The number in `keystore-7.json` or `keystore-insecure-7.json`.
fn keystore_number(path: &Path) -> Option<usize> {
    let rest = path.file_name()?.to_str()?.strip_prefix("keystore-")?.strip_suffix(".json")?;
    let digits = rest.strip_prefix("insecure-").unwrap_or(rest);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn write_node(
    dir: &Path,
    node: &CreatedNode,
    lock: &str,
    deposits: &[DepositFile],
    cost: KeystoreCost,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(), NodeDirError> {
    let keys = dir.join("validator_keys");
    fs::create_dir_all(&keys).map_err(|err| NodeDirError::Write { path: keys.clone(), err })?;
    // The lock first: where it exists there is a node already, and nothing of it may be touched.
    write(&dir.join("cluster-lock.json"), 0o400, lock)?;
    node.key.write(&dir.join(KEY_FILE)).map_err(NodeDirError::Key)?;
    for file in deposits {
        write(&dir.join(&file.name), 0o444, &file.json)?;
    }
    let stem = match cost {
        KeystoreCost::DangerInsecure => "keystore-insecure",
        KeystoreCost::Standard => "keystore",
    };
    for (number, share) in node.shares.iter().enumerate() {
        let mut password = Zeroizing::new([0; 16]);
        rng.fill_bytes(password.as_mut_slice());
        let password = Zeroizing::new(hex::encode(password.as_slice()));
        let keystore = Keystore::encrypt(share, &password, cost, rng);
        write(&keys.join(format!("{stem}-{number}.json")), 0o444, &keystore.to_json())?;
        write(&keys.join(format!("{stem}-{number}.txt")), 0o400, &password)?;
    }
    Ok(())
}

fn write(path: &Path, mode: u32, content: &str) -> Result<(), NodeDirError> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    open.and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()
    })
    .map_err(|err| NodeDirError::Write { path: path.to_owned(), err })
}
