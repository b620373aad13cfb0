//! The keys of an image: Secure Boot, register policy and release, each apart. These are for development: made on first use,
//! kept in a folder, worth nothing to anybody else.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use holdfast_evidence::SigningKey;
use rand_core::OsRng;

use crate::place::Place;
use crate::run::run;
use crate::tree::Tree;

/// The keys.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Signs what the firmware starts.
    pub(crate) secure_boot: Pair,
    /// Signs the register values that `/var` opens under.
    pub(crate) registers: Pair,
    /// Approves images for the shares.
    pub(crate) release: SigningKey,
}

/// The files of a key and its certificate.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) key: PathBuf,
    pub(crate) certificate: PathBuf,
}

impl Keys {
    /// The keys of this checkout.
    pub(crate) fn ready(place: &Place, tree: &Tree) -> anyhow::Result<Self> {
        let folder = place.made("keys");
        fs::create_dir_all(&folder).context("cannot make the folder of the keys")?;
        Ok(Self {
            secure_boot: pair(tree, &folder, "secure-boot")?,
            registers: pair(tree, &folder, "registers")?,
            release: release(&folder.join("release.key"))?,
        })
    }
}

/// As RSA: firmware and the TPM of a machine both take that.
fn pair(tree: &Tree, folder: &Path, name: &str) -> anyhow::Result<Pair> {
    let pair = Pair { key: folder.join(format!("{name}.key")), certificate: folder.join(format!("{name}.crt")) };
    if !pair.certificate.exists() {
        let subject = format!("/CN=Holdfast development, {name}");
        run(tree
            .command("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", &subject, "-keyout"])
            .arg(&pair.key)
            .arg("-out")
            .arg(&pair.certificate))?;
    }
    Ok(pair)
}

fn release(path: &Path) -> anyhow::Result<SigningKey> {
    if !path.exists() {
        let mut secret = [0; 32];
        rand_core::RngCore::fill_bytes(&mut OsRng, &mut secret);
        SigningKey::from_bytes(&secret).context("a random key is not usable: try again")?;
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{}", hex::encode(secret)).context("cannot write the release key")?;
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let secret: [u8; 32] = hex::decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| anyhow!("{} holds no key: 32 bytes as hex", path.display()))?;
    Ok(SigningKey::from_bytes(&secret)?)
}
