//! Key shares encrypted under a password (EIP-2335; `cluster-files.md` section 4).
//!
//! Only operators' machines and test kits read and write these; a box never sees one.

use aes::cipher::{KeyIvInit, StreamCipher};
use holdfast_bls::ShareSecret;
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::go_json::to_go_json;

/// An encrypted share, as its file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keystore {
    crypto: Crypto,
    #[serde(default)]
    description: String,
    pubkey: String,
    #[serde(default)]
    path: String,
    uuid: String,
    version: u32,
}

/// How much work a password guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeystoreCost {
    /// Almost none, for tests: refused on networks with value.
    DangerInsecure,
    /// What the reference takes.
    Standard,
}

/// Why a keystore cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The costs in the file would take more time or memory than anyone should grant a file.
    #[error("the keystore asks for more work or memory than is granted: {what}")]
    Cost {
        /// The parameter.
        what: &'static str,
    },
    /// Not the JSON of a keystore.
    #[error("not the JSON of an EIP-2335 keystore")]
    Form(#[source] serde_json::Error),
    /// A field that is no hex, or has the wrong length.
    #[error("{what} of the keystore is not the hex of the right length")]
    Hex {
        /// The field.
        what: &'static str,
    },
    /// The secret is no share, or not that of the public key in the file.
    #[error("the decrypted secret is not the one of the keystore's pubkey")]
    Secret,
    /// Too large to be read.
    #[error("the keystore is larger than {KEYSTORE_BYTES_MAX} bytes")]
    TooLarge,
    /// An algorithm that the standard does not have, or a version other than 4.
    #[error("the keystore uses {what}, which is not supported")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The checksum does not fit.
    #[error("the password does not open the keystore")]
    WrongPassword,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Crypto {
    checksum: Module<Empty>,
    cipher: Module<CipherParams>,
    kdf: Module<KdfParams>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Module<P> {
    function: String,
    message: String,
    params: P,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Empty {}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum KdfParams {
    Pbkdf2 { c: u32, dklen: u32, prf: String, salt: String },
    Scrypt { dklen: u32, n: u32, p: u32, r: u32, salt: String },
}

impl Keystore {
    /// Reads the file of a keystore.
    ///
    /// # Errors
    ///
    /// When it is too large or not in its form.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeystoreError> {
        if bytes.len() > KEYSTORE_BYTES_MAX {
            return Err(KeystoreError::TooLarge);
        }
        serde_json::from_slice(bytes).map_err(KeystoreError::Form)
    }

    /// The file.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_go_json(self)
    }

    /// Encrypts a share under a password.
    #[must_use]
    pub fn encrypt(
        share: &ShareSecret,
        password: &str,
        cost: KeystoreCost,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Self {
        let (mut salt, mut iv, mut uuid) = ([0; 32], [0; 16], [0; 16]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut iv);
        rng.fill_bytes(&mut uuid);
        let rounds = match cost {
            KeystoreCost::DangerInsecure => 16,
            KeystoreCost::Standard => 262_144,
        };
        let key = pbkdf2(password, &salt, rounds);
        let mut message = *share.expose();
        apply_cipher(&key, &iv, &mut message);
        let module = |function: &str, message: &[u8]| (function.to_owned(), hex::encode(message));
        let (checksum, checksum_message) = module("sha256", &checksum(&key, &message));
        let (cipher, cipher_message) = module("aes-128-ctr", &message);
        let params = KdfParams::Pbkdf2 { c: rounds, dklen: 32, prf: "hmac-sha256".into(), salt: hex::encode(salt) };
        Self {
            crypto: Crypto {
                checksum: Module { function: checksum, message: checksum_message, params: Empty {} },
                cipher: Module {
                    function: cipher,
                    message: cipher_message,
                    params: CipherParams { iv: hex::encode(iv) },
                },
                kdf: Module { function: "pbkdf2".into(), message: String::new(), params },
            },
            description: String::new(),
            pubkey: hex::encode(share.public()),
            path: "m/12381/3600/0/0/0".into(),
            uuid: dashed(&uuid),
            version: 4,
        }
    }

    /// Decrypts the share.
    ///
    /// # Errors
    ///
    /// When the password does not open it, or it is not a keystore of a share that can be opened here.
    pub fn decrypt(&self, password: &str) -> Result<ShareSecret, KeystoreError> {
        let Crypto { checksum: expected, cipher, kdf } = &self.crypto;
        if self.version != 4 {
            return Err(KeystoreError::Unsupported { what: format!("version {}", self.version) });
        }
        for (module, known) in [(&expected.function, "sha256"), (&cipher.function, "aes-128-ctr")] {
            if module != known {
                return Err(KeystoreError::Unsupported { what: module.clone() });
            }
        }
        let iv: [u8; 16] = unhex("cipher.params.iv", &cipher.params.iv)?;
        let expected: [u8; 32] = unhex("checksum.message", &expected.message)?;
        let mut secret = Zeroizing::new(unhex::<32>("cipher.message", &cipher.message)?);
        let key = kdf.key(password)?;
        if checksum(&key, &secret) != expected {
            return Err(KeystoreError::WrongPassword);
        }
        apply_cipher(&key, &iv, &mut secret);
        let share = ShareSecret::from_bytes(&secret).map_err(|_| KeystoreError::Secret)?;
        let public: [u8; 48] = unhex("pubkey", self.pubkey.strip_prefix("0x").unwrap_or(&self.pubkey))?;
        if share.public().0 == public { Ok(share) } else { Err(KeystoreError::Secret) }
    }
}

impl Module<KdfParams> {
    fn key(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let unsupported = |what: String| Err(KeystoreError::Unsupported { what });
        match (self.function.as_str(), &self.params) {
            ("pbkdf2", KdfParams::Pbkdf2 { c, dklen: 32, prf, salt }) if prf == "hmac-sha256" => {
                if *c == 0 || *c > PBKDF2_ROUNDS_MAX {
                    return Err(KeystoreError::Cost { what: "kdf.params.c" });
                }
                Ok(pbkdf2(password, &salt_bytes(salt)?, *c))
            }
            ("scrypt", KdfParams::Scrypt { dklen: 32, n, p, r, salt }) => {
                scrypt_key(password, &salt_bytes(salt)?, [*n, *r, *p])
            }
            _ => unsupported(format!("kdf {} with parameters other than the standard's", self.function)),
        }
    }
}

fn pbkdf2(password: &str, salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(normalised(password).as_bytes(), salt, rounds, key.as_mut_slice());
    key
}

fn scrypt_key(password: &str, salt: &[u8], [n, r, p]: [u32; 3]) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let memory = u64::from(n).saturating_mul(u64::from(r)).saturating_mul(128);
    if !n.is_power_of_two() || memory > SCRYPT_MEMORY_MAX || p > SCRYPT_LANES_MAX {
        return Err(KeystoreError::Cost { what: "kdf.params n, r or p" });
    }
    let log_n = u8::try_from(n.trailing_zeros()).expect("a logarithm of 32 bits is small");
    let params =
        scrypt::Params::new(log_n, r, p, 32).map_err(|_| KeystoreError::Cost { what: "kdf.params n, r or p" })?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(normalised(password).as_bytes(), salt, &params, key.as_mut_slice())
        .expect("a key of 32 bytes can be derived");
    Ok(key)
}

/// The password as the standard hashes it: decomposed, without control characters, so that a final newline means nothing.
fn normalised(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkd().filter(|char| !char.is_control()).collect())
}

fn checksum(key: &[u8; 32], message: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(&key[16..]).chain_update(message).finalize().into()
}

fn apply_cipher(key: &[u8; 32], iv: &[u8; 16], message: &mut [u8; 32]) {
    let key: &[u8; 16] = key[..16].try_into().expect("half of 32 is 16");
    ctr::Ctr128BE::<aes::Aes128>::new(key.into(), iv.into()).apply_keystream(message);
}

fn salt_bytes(salt: &str) -> Result<Vec<u8>, KeystoreError> {
    hex::decode(salt).map_err(|_| KeystoreError::Hex { what: "kdf.params.salt" })
}

fn unhex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| KeystoreError::Hex { what })?;
    Ok(bytes)
}

/// The text form of a UUID, in capitals as the reference writes it.
pub(crate) fn dashed(bytes: &[u8; 16]) -> String {
    let hex = hex::encode_upper(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A keystore has less than 1 KiB; more is something else.
const KEYSTORE_BYTES_MAX: usize = 64 << 10;

/// 64 times what is usual: some ten seconds.
const PBKDF2_ROUNDS_MAX: u32 = 1 << 24;

/// Twice what is usual.
const SCRYPT_MEMORY_MAX: u64 = 512 << 20;

/// Lanes run one after the other; one is usual.
const SCRYPT_LANES_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_decomposed_and_lose_control_characters() {
        assert_eq!(*normalised("𝔱𝔢𝔰𝔱🔑\n\u{7f}\u{85}"), "test🔑");
        assert_eq!(normalised("ü").len(), 3);
    }
}
