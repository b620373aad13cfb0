//! The command judges a box: its chain is leaf, box certificate, authority, and the box is the one that was meant.
//!
//! The leaf's dates are the box's clock, so they are told and not judged.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_evidence::names::common_name;
use holdfast_types::{BoxName, Millis, P256Public};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError as TlsRefusal, Error};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::TlsError;
use super::signature::{CHAIN_ALGORITHMS, our_signatures};
use crate::certificate::{self, BoxIdentity, Validity};

/// Judges a box.
pub struct BoxJudge {
    authority: CertificateDer<'static>,
    expected: Expected,
    now: Box<dyn Fn() -> Millis + Send + Sync>,
    seen: Mutex<Option<Seen>>,
}

/// What is known of the box. Nothing means any box of the authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: Option<BoxName>,
    /// Its key, as it was at the pairing.
    pub key: Option<P256Public>,
}

/// What the box showed at the last handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which box.
    pub identity: BoxIdentity,
    /// The leaf's dates, a day before to a week after the box's clock when it was made.
    pub leaf: Validity,
    /// Whether they disagree with our clock.
    pub clock_disagrees: bool,
}

impl BoxJudge {
    /// A judge for boxes of this authority; `now` is the command's own clock.
    ///
    /// # Errors
    /// When its certificate cannot be read.
    pub fn new(
        authority: CertificateDer<'static>,
        expected: Expected,
        now: impl Fn() -> Millis + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        anchor_from_trusted_cert(&authority).map_err(|_| TlsError::Authority)?;
        Ok(Self { authority, expected, now: Box::new(now), seen: Mutex::new(None) })
    }

    /// What the box showed at the last handshake that was accepted.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<Seen, TlsRefusal> {
        let [box_certificate] = chain else { return Err(TlsRefusal::UnknownIssuer) };
        let identity = certificate::box_identity(box_certificate).map_err(|_| TlsRefusal::BadEncoding)?;
        if !self.expected.is(&identity) {
            return Err(TlsRefusal::NotValidForName);
        }
        let now = (self.now)();
        let dates = |der: &CertificateDer<'_>| certificate::validity(der).map_err(|_| TlsRefusal::BadEncoding);
        let (of_leaf, of_box) = (dates(leaf)?, dates(box_certificate)?);
        if !of_box.includes(now) {
            return Err(TlsRefusal::Expired);
        }
        // A moment at which all of the chain counts: ours, or else the box's.
        let both = of_leaf.overlap(&of_box).ok_or(TlsRefusal::Expired)?;
        let at = now.clamp(both.from, both.until);
        self.verify(leaf, chain, at)?;
        Ok(Seen { identity, leaf: of_leaf, clock_disagrees: !of_leaf.includes(now) })
    }

    fn verify(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], at: Millis) -> Result<(), TlsRefusal> {
        let anchor = [anchor_from_trusted_cert(&self.authority).map_err(|_| TlsRefusal::UnknownIssuer)?];
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| TlsRefusal::BadEncoding)?;
        let time = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
        let usage = KeyUsage::server_auth();
        let path = leaf.verify_for_usage(CHAIN_ALGORITHMS, &anchor, chain, time, usage, None, None);
        let path = path.map_err(|reason| match reason {
            webpki::Error::CertExpired { .. } => TlsRefusal::Expired,
            webpki::Error::CertNotValidYet { .. } => TlsRefusal::NotValidYet,
            webpki::Error::RequiredEkuNotFoundContext(_) => TlsRefusal::InvalidPurpose,
            _ => TlsRefusal::UnknownIssuer,
        })?;
        // The box that was looked at must be the one that signed.
        if path.intermediate_certificates().count() == 1 { Ok(()) } else { Err(TlsRefusal::UnknownIssuer) }
    }
}

impl Expected {
    fn is(&self, identity: &BoxIdentity) -> bool {
        self.name.is_none_or(|name| common_name(&name) == identity.common_name)
            && self.key.is_none_or(|key| key == identity.key)
    }
}

impl ServerCertVerifier for BoxJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = self.judge(end_entity, intermediates).map_err(Error::InvalidCertificate)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(ServerCertVerified::assertion())
    }

    our_signatures!();
}

impl fmt::Debug for BoxJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoxJudge({:?})", self.expected)
    }
}
