//! TLS 1.3 between the command and the box, and who judges whose certificate.
//!
//! No session is resumed: a resumed one would carry a client's certificate over its revocation. rustls does the protocol and
//! webpki the chains and signatures; what is ours is which chains, keys, purposes and dates count.

mod box_judge;
mod client_judge;
mod signature;
mod unjudged;

use std::fmt;
use std::sync::Arc;

use holdfast_types::P256Public;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rand_core::CryptoRngCore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ConnectionCommon, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

pub use box_judge::{BoxJudge, Expected, Seen};
pub use client_judge::{BoxClock, ClientJudge, Refusal, Revocations};

use crate::certificate::{self, CertificateError};
use crate::pake::Binding;

/// A key for TLS: the daemon's, which it makes at each start and keeps in memory, or a client's.
pub struct TlsKey(SecretKey);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate.
    #[error("cannot use the certificate")]
    Certificate(#[from] CertificateError),
    /// The connection exports nothing yet.
    #[error("the TLS connection is not established")]
    NotEstablished,
    /// The text is no key.
    #[error("not a private key of P-256 in PEM (it begins with -----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// rustls refuses what it was given.
    #[error("cannot set up TLS")]
    Rustls(#[from] rustls::Error),
    /// webpki refuses the authority's certificate.
    #[error("the authority's certificate cannot be used")]
    Authority,
}

impl TlsKey {
    /// A new key.
    pub fn random(rng: &mut impl CryptoRngCore) -> Self {
        Self(SecretKey::random(rng))
    }

    /// Its public key, to be certified.
    #[must_use]
    pub fn public(&self) -> P256Public {
        let point = self.0.public_key().to_encoded_point(true);
        P256Public::from_slice(point.as_bytes()).expect("a compressed point has 33 bytes")
    }

    /// A certificate by which it names nobody: what a box shows before it is owned.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn self_signed(&self) -> Result<CertificateDer<'static>, TlsError> {
        let pair = rcgen::KeyPair::try_from(&self.pkcs8()?).map_err(CertificateError::from)?;
        Ok(certificate::self_signed_leaf(&pair)?)
    }

    /// A request for a certificate of this key (PKCS #10), in PEM.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn request_pem(&self, name: &str) -> Result<String, TlsError> {
        let pair = rcgen::KeyPair::try_from(&self.pkcs8()?).map_err(CertificateError::from)?;
        Ok(certificate::request_to_pem(&certificate::request(name, &pair)?)?)
    }

    /// In PEM, unencrypted: for a file that its owner alone may read.
    ///
    /// # Errors
    /// Never for a key that was made here.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, TlsError> {
        self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| TlsError::NoKey)
    }

    /// From PEM.
    ///
    /// # Errors
    /// [`TlsError::NoKey`].
    pub fn from_pem(pem: &str) -> Result<Self, TlsError> {
        SecretKey::from_pkcs8_pem(pem).map(Self).map_err(|_| TlsError::NoKey)
    }

    fn pkcs8(&self) -> Result<PrivatePkcs8KeyDer<'static>, TlsError> {
        let der = self.0.to_pkcs8_der().map_err(|_| TlsError::NoKey)?;
        Ok(PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()))
    }

    fn for_rustls(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        Ok(PrivateKeyDer::Pkcs8(self.pkcs8()?))
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey(..)")
    }
}

/// The box's side. With a judge, a client may show a certificate, and one that is refused ends the handshake; who shows none
/// is let in, to be told what is missing. Without one (nobody owns the box) none is asked for.
///
/// # Errors
/// When key and certificates do not fit together.
pub fn server_config(
    key: &TlsKey,
    chain: Vec<CertificateDer<'static>>,
    judge: Option<Arc<ClientJudge>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match judge {
        Some(judge) => builder.with_client_cert_verifier(judge),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key.for_rustls()?)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The command's side towards its own box. Without a certificate it can only read problems.
///
/// # Errors
/// When key and certificate do not fit together.
pub fn client_config(
    judge: Arc<BoxJudge>,
    identity: Option<(&TlsKey, CertificateDer<'static>)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(judge);
    let config = match identity {
        Some((key, certificate)) => builder.with_client_auth_cert(vec![certificate], key.for_rustls()?)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(plain(config)))
}

/// The command's side towards a box that it does not know yet. The box's certificate is not judged: the code does that, since
/// the key exchange is bound to this connection.
///
/// # Errors
/// Never, unless rustls has lost TLS 1.3.
pub fn pairing_client_config() -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(unjudged::Unjudged));
    Ok(Arc::new(plain(builder.with_no_client_auth())))
}

/// What ties the pairing to this connection; the same on both of its ends, and on no other.
///
/// # Errors
/// [`TlsError::NotEstablished`] before the handshake is over.
pub fn binding<Side>(connection: &ConnectionCommon<Side>) -> Result<Binding, TlsError> {
    let exported = connection.export_keying_material([0; 32], PAIRING_LABEL, None);
    exported.map(Binding).map_err(|_| TlsError::NotEstablished)
}

fn plain(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Boxes are known by their key, not by what they are reached at.
    config.enable_sni = false;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The label under which both sides export (RFC 8446, 7.5).
pub const PAIRING_LABEL: &[u8] = b"EXPORTER-holdfast-pairing";

/// Event streams need nothing more, and HTTP/2 would bring a compressor and its limits.
const ALPN: &[u8] = b"http/1.1";
