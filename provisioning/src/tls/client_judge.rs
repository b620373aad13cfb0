//! The box judges a client: its certificate is by the authority itself, for clients, in time, not revoked, of one role.
//!
//! A chain is not followed. The box key has a certificate of the authority that may sign, and must not make clients.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_types::Millis;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError as TlsRefusal, DistinguishedName, Error};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::TlsError;
use super::signature::{CHAIN_ALGORITHMS, our_signatures};
use crate::certificate::{self, CertificateError, ClientIdentity, Validity};

/// Judges clients. Asked at each handshake, and to be asked again at each request: connections are long.
pub struct ClientJudge {
    authority: CertificateDer<'static>,
    revocations: Arc<Revocations>,
    clock: Box<dyn Fn() -> BoxClock + Send + Sync>,
}

/// What the box knows of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxClock {
    /// It is this.
    Synchronised(Millis),
    /// Only that it is not before the image was built.
    Unsynchronised {
        /// When the image was built.
        built: Millis,
    },
}

/// The serial numbers that count no more.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<BTreeSet<Vec<u8>>>);

/// Why a client is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is too late.
    #[error("the client's certificate has expired: renew it with the authority")]
    Expired,
    /// It is no client's.
    #[error("the client's certificate is of the wrong kind")]
    Kind(#[from] CertificateError),
    /// It is too early.
    #[error("the client's certificate does not count yet: one of the two clocks is wrong")]
    NotYet,
    /// Another authority made it.
    #[error("the client's certificate is not by this box's authority")]
    NotOurs,
    /// It counts no more.
    #[error("the client's certificate was revoked")]
    Revoked,
}

impl ClientJudge {
    /// A judge for the clients of this authority.
    ///
    /// # Errors
    /// When its certificate cannot be read.
    pub fn new(
        authority: CertificateDer<'static>,
        revocations: Arc<Revocations>,
        clock: impl Fn() -> BoxClock + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        anchor_from_trusted_cert(&authority).map_err(|_| TlsError::Authority)?;
        Ok(Self { authority, revocations, clock: Box::new(clock) })
    }

    /// Who this is, if he may come in now.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, shown: &CertificateDer<'_>) -> Result<ClientIdentity, Refusal> {
        let at = self.moment(&certificate::validity(shown)?)?;
        let anchor = anchor_from_trusted_cert(&self.authority).map_err(|_| Refusal::NotOurs)?;
        let leaf = EndEntityCert::try_from(shown).map_err(|_| CertificateError::NoCertificate)?;
        let time = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
        leaf.verify_for_usage(CHAIN_ALGORITHMS, &[anchor], &[], time, KeyUsage::client_auth(), None, None)
            .map_err(|reason| Refusal::of(&reason))?;
        let client = certificate::parse_client(shown)?;
        if self.revocations.contain(&client.serial) { Err(Refusal::Revoked) } else { Ok(client) }
    }

    /// At which moment the dates are judged. Without a clock, one at which the certificate counts will do, if there is one in
    /// the years in which this image may run.
    fn moment(&self, validity: &Validity) -> Result<Millis, Refusal> {
        let (now, window) = match (self.clock)() {
            BoxClock::Synchronised(now) => (now, Validity { from: now, until: now }),
            BoxClock::Unsynchronised { built } => (built, Validity { from: built, until: built.plus(WINDOW_MS) }),
        };
        match validity.overlap(&window) {
            Some(both) => Ok(both.from),
            None if validity.until < now => Err(Refusal::Expired),
            None => Err(Refusal::NotYet),
        }
    }
}

impl Revocations {
    /// Those of a list.
    #[must_use]
    pub fn new(serials: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(RwLock::new(serials.into_iter().collect()))
    }

    /// One more, from now on.
    pub fn revoke(&self, serial: Vec<u8>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(serial);
    }

    /// Whether this one was revoked.
    #[must_use]
    pub fn contain(&self, serial: &[u8]) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(serial)
    }
}

impl Refusal {
    fn of(reason: &webpki::Error) -> Self {
        match reason {
            webpki::Error::CertExpired { .. } => Self::Expired,
            webpki::Error::CertNotValidYet { .. } => Self::NotYet,
            webpki::Error::CaUsedAsEndEntity | webpki::Error::RequiredEkuNotFoundContext(_) => {
                Self::Kind(CertificateError::Purpose)
            }
            _ => Self::NotOurs,
        }
    }

    /// As TLS tells the client.
    fn for_tls(&self) -> TlsRefusal {
        match self {
            Self::Expired => TlsRefusal::Expired,
            Self::Kind(_) => TlsRefusal::ApplicationVerificationFailure,
            Self::NotOurs => TlsRefusal::UnknownIssuer,
            Self::NotYet => TlsRefusal::NotValidYet,
            Self::Revoked => TlsRefusal::Revoked,
        }
    }
}

impl ClientCertVerifier for ClientJudge {
    /// Who shows none is told so by the API, in words.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let client = self.admit(end_entity).map_err(|refusal| Error::InvalidCertificate(refusal.for_tls()));
        client.map(|_| ClientCertVerified::assertion())
    }

    our_signatures!();
}

impl fmt::Debug for ClientJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientJudge(..)")
    }
}

/// Ten years from the build.
const WINDOW_MS: u64 = 3_652 * 24 * 60 * 60 * 1_000;
