//! The operator's authority: the key that signs orders and certificates, and how it is kept.
//!
//! It leaves memory encrypted, unless `danger` is asked for: PKCS#8 in PEM, under a key that scrypt stretches from a passphrase,
//! with AES-256. Its certificate follows from it.

use std::fmt;
use std::sync::Arc;

use holdfast_api::Role;
use holdfast_evidence::SigningKey;
use holdfast_types::{BoxName, Millis, P256Public};
use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, PrivateKeyInfo};
use pkcs8::der::pem::PemLabel;
use pkcs8::der::{self, Decode};
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding};
use rand_core::CryptoRngCore;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::certificate::{self, CertificateError, authority_id};

/// The operator's authority.
pub struct Authority {
    /// `p256` wipes it when it is dropped.
    secret: SecretKey,
    key: Arc<SigningKey>,
    certificate: CertificateDer<'static>,
}

/// Why there is no authority, or nothing by it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate of it cannot be made.
    #[error("the authority cannot certify")]
    Certificate(#[from] CertificateError),
    /// The passphrase stretches by another function, or at a cost that no export of ours has.
    #[error(
        "the key is encrypted in a way that is not accepted: it takes scrypt, with at most 1 GiB of memory, and AES-256"
    )]
    Cost,
    /// The text is no encrypted key.
    #[error("not an encrypted private key of P-256 in PEM (it begins with -----BEGIN ENCRYPTED PRIVATE KEY-----)")]
    NoKey,
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    Passphrase,
    /// The passphrase is too short to protect anything.
    #[error("the passphrase is too short: take at least {PASSPHRASE_LEN_MIN} characters")]
    ShortPassphrase,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// When its certificate cannot be made.
    pub fn create(rng: &mut impl CryptoRngCore) -> Result<Self, AuthorityError> {
        Self::of(SecretKey::random(rng))
    }

    /// Its encrypted key, the form in which it is kept and exported. Slow by design.
    ///
    /// # Errors
    /// When the passphrase is too short.
    pub fn export_pem(&self, passphrase: &str, rng: &mut impl CryptoRngCore) -> Result<String, AuthorityError> {
        if passphrase.chars().count() < PASSPHRASE_LEN_MIN {
            return Err(AuthorityError::ShortPassphrase);
        }
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut iv);
        let cost = scrypt::Params::new(LOG_N, R, P, 32).map_err(|_| AuthorityError::Cost)?;
        let parameters = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|_| AuthorityError::Cost)?;
        let plain = self.secret.to_pkcs8_der().map_err(|_| AuthorityError::NoKey)?;
        let encrypted = PrivateKeyInfo::try_from(plain.as_bytes()).map_err(|_| AuthorityError::NoKey)?;
        let encrypted =
            encrypted.encrypt_with_params(parameters, passphrase).map_err(|_| AuthorityError::Passphrase)?;
        let pem = encrypted.to_pem(EncryptedPrivateKeyInfo::PEM_LABEL, LineEnding::LF);
        pem.map(|pem| pem.to_string()).map_err(|_| AuthorityError::NoKey)
    }

    /// The authority of an export. Slow by design.
    ///
    /// # Errors
    /// When the text is no export, or the passphrase is another.
    pub fn import_pem(pem: &str, passphrase: &str) -> Result<Self, AuthorityError> {
        if pem.len() > PEM_LEN_MAX {
            return Err(AuthorityError::NoKey);
        }
        let (label, document) = der::pem::decode_vec(pem.trim().as_bytes()).map_err(|_| AuthorityError::NoKey)?;
        if label != EncryptedPrivateKeyInfo::PEM_LABEL {
            return Err(AuthorityError::NoKey);
        }
        let encrypted = EncryptedPrivateKeyInfo::from_der(&document).map_err(|_| AuthorityError::NoKey)?;
        let parameters = encrypted.encryption_algorithm.pbes2().ok_or(AuthorityError::Cost)?;
        // Who sends a file must not choose how much memory it takes to open.
        let cost = parameters.kdf.scrypt().ok_or(AuthorityError::Cost)?;
        let memory = cost.cost_parameter.saturating_mul(u64::from(cost.block_size)).saturating_mul(128);
        if memory > MEMORY_MAX || cost.parallelization > 4 || parameters.encryption.key_size() != 32 {
            return Err(AuthorityError::Cost);
        }
        let plain = encrypted.decrypt(passphrase).map_err(|_| AuthorityError::Passphrase)?;
        // A wrong passphrase passes the padding once in a few hundred times, so this may be its fault as well.
        Self::of(SecretKey::from_pkcs8_der(plain.as_bytes()).map_err(|_| AuthorityError::Passphrase)?)
    }

    /// Its key in the clear, for who keeps it encrypted in another way.
    ///
    /// # Errors
    /// Never for a key that was made here.
    pub fn danger_plain_pem(&self) -> Result<Zeroizing<String>, AuthorityError> {
        self.secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| AuthorityError::NoKey)
    }

    /// The authority of a key in the clear.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn danger_from_plain_pem(pem: &str) -> Result<Self, AuthorityError> {
        Self::of(SecretKey::from_pkcs8_pem(pem).map_err(|_| AuthorityError::NoKey)?)
    }

    /// The key that signs orders.
    #[must_use]
    pub fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }

    /// Its public key.
    #[must_use]
    pub fn public(&self) -> P256Public {
        self.key.public()
    }

    /// Its short name.
    #[must_use]
    pub fn id(&self) -> String {
        authority_id(&self.public())
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for the key of a client: who, what role, for 90 days.
    ///
    /// # Errors
    /// When the name or the key is none.
    pub fn issue_client(
        &self,
        name: &str,
        role: Role,
        key: &P256Public,
        now: Millis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        Ok(certificate::issue_client(&self.key, (name, role), key, now, rng)?)
    }

    /// A certificate for the key of a box.
    ///
    /// # Errors
    /// When the key is none.
    pub fn issue_box(
        &self,
        name: &BoxName,
        key: &P256Public,
        now: Millis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        Ok(certificate::issue_box(&self.key, name, key, now, rng)?)
    }

    fn of(secret: SecretKey) -> Result<Self, AuthorityError> {
        let bytes = Zeroizing::new(<[u8; 32]>::from(secret.to_bytes()));
        let key = Arc::new(SigningKey::from_bytes(&bytes).map_err(|_| AuthorityError::NoKey)?);
        let certificate = certificate::authority_certificate(&key)?;
        Ok(Self { secret, key, certificate })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.id())
    }
}

/// The least passphrase: with scrypt in between, what remains is the operator's choice.
pub const PASSPHRASE_LEN_MIN: usize = 8;

/// 128 MiB and about half a second, for a file that may be copied and attacked at leisure. OpenSSL's command refuses to spend
/// more than 32 MiB, so it does not open such a file.
const LOG_N: u8 = 17;
const R: u32 = 8;
const P: u32 = 1;
/// What opening a file may take: whoever exported it elsewhere may have paid more than we do.
const MEMORY_MAX: u64 = 1 << 30;
/// An export has about 500 bytes.
const PEM_LEN_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    #[test]
    fn an_export_is_the_whole_authority() {
        let authority = Authority::create(&mut rng(1)).unwrap();
        let pem = authority.export_pem("correct horse", &mut rng(2)).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
        let read = Authority::import_pem(&pem, "correct horse").unwrap();
        assert_eq!(read.public(), authority.public());
        assert_eq!(read.certificate(), authority.certificate());
        assert_eq!(format!("{read:?}"), format!("Authority({})", authority.id()));
        let plain = Authority::danger_from_plain_pem(&read.danger_plain_pem().unwrap()).unwrap();
        assert_eq!(plain.certificate(), authority.certificate());
        assert!(matches!(Authority::import_pem(&pem, "correct house"), Err(AuthorityError::Passphrase)));
    }

    #[test]
    fn a_short_passphrase_protects_nothing() {
        let authority = Authority::create(&mut rng(1)).unwrap();
        let error = authority.export_pem("seven77", &mut rng(2)).unwrap_err();
        assert_eq!(error.to_string(), "the passphrase is too short: take at least 8 characters");
    }

    #[test]
    fn a_file_does_not_choose_what_it_costs_to_open() {
        let secret = SecretKey::random(&mut rng(3));
        let plain = secret.to_pkcs8_der().unwrap();
        let plain = PrivateKeyInfo::try_from(plain.as_bytes()).unwrap();
        for parameters in [
            pbes2::Parameters::pbkdf2_sha256_aes256cbc(1_000, &[0; 16], &[0; 16]).unwrap(),
            pbes2::Parameters::scrypt_aes128cbc(scrypt::Params::new(4, 8, 1, 16).unwrap(), &[0; 16], &[0; 16]).unwrap(),
        ] {
            let encrypted = plain.encrypt_with_params(parameters, "correct horse").unwrap();
            let pem = encrypted.to_pem(EncryptedPrivateKeyInfo::PEM_LABEL, LineEnding::LF).unwrap();
            assert!(matches!(Authority::import_pem(&pem, "correct horse"), Err(AuthorityError::Cost)));
        }
        // One that asks for 128 GiB: it is refused before anything is derived.
        let cost = scrypt::Params::new(27, 8, 1, 32).unwrap();
        let parameters = pbes2::Parameters::scrypt_aes256cbc(cost, &[0; 16], &[0; 16]).unwrap();
        let info = EncryptedPrivateKeyInfo { encryption_algorithm: parameters.into(), encrypted_data: &[0; 144] };
        let pem = der::pem::encode_string(
            EncryptedPrivateKeyInfo::PEM_LABEL,
            LineEnding::LF,
            &der::Encode::to_der(&info).unwrap(),
        );
        assert!(matches!(Authority::import_pem(&pem.unwrap(), "correct horse"), Err(AuthorityError::Cost)));
    }

    #[test]
    fn what_is_no_export_is_none() {
        let plain = SecretKey::random(&mut rng(4)).to_pkcs8_pem(LineEnding::LF).unwrap();
        for text in ["", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", &plain] {
            assert!(matches!(Authority::import_pem(text, "correct horse"), Err(AuthorityError::NoKey)), "{text}");
        }
    }
}
