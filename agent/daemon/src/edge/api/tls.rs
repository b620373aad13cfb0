//! The certificate that the API shows, and who judges those that it is shown. Both change without a connection being
//! dropped: who connects next meets the new ones, and every request is judged by the present judge.

use std::sync::{Arc, PoisonError, RwLock};

use holdfast_api::Revocation;
use holdfast_provisioning::certificate::parse_serial;
use holdfast_provisioning::tls::{ClientJudge, Revocations, TlsError, TlsKey, server_config};
use holdfast_types::P256Public;
use rand::rngs::OsRng;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use super::answer::chain;
use crate::folder::{FolderError, Owner};
use crate::host::Host;

/// The key of this start of the daemon, and what goes with it at present.
#[derive(Debug)]
pub(super) struct Tls {
    key: TlsKey,
    present: RwLock<Present>,
}

#[derive(Clone, Debug)]
struct Present {
    config: Arc<ServerConfig>,
    judge: Option<Arc<ClientJudge>>,
    /// The certificate of the key by the box key.
    leaf: Option<Vec<u8>>,
}

impl Tls {
    /// With a new key, whose certificate names nobody yet.
    pub(super) fn new(host: &Arc<Host>) -> Result<Self, TlsError> {
        let key = TlsKey::random(&mut OsRng);
        let present = Present::new(&key, host, false, None)?;
        Ok(Self { key, present: RwLock::new(present) })
    }

    pub(super) fn public(&self) -> P256Public {
        self.key.public()
    }

    /// Takes up what the host says of owner and revocations now, and the leaf, if there is a new one. When the vault
    /// says that nobody owns the box, certificates that are left of an order that was not carried out, or of before a
    /// reset, do not count.
    pub(super) fn renew(&self, host: &Arc<Host>, vault_is_free: bool, leaf: Option<Vec<u8>>) -> Result<(), TlsError> {
        let leaf = leaf.or_else(|| self.present().leaf);
        let present = Present::new(&self.key, host, vault_is_free, leaf)?;
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = present;
        Ok(())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.present().config
    }

    /// `None` while nobody owns the box.
    pub(super) fn judge(&self) -> Option<Arc<ClientJudge>> {
        self.present().judge
    }

    fn present(&self) -> Present {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Present {
    fn new(key: &TlsKey, host: &Arc<Host>, vault_is_free: bool, leaf: Option<Vec<u8>>) -> Result<Self, TlsError> {
        let owner = if vault_is_free { None } else { owner_of(host) };
        let Some((Owner { authority, box_certificate }, revocations)) = owner else {
            let config = server_config(key, vec![key.self_signed()?], None)?;
            return Ok(Self { config, judge: None, leaf: None });
        };
        // An entry that is no serial number revokes nothing; the box never keeps one.
        let serials = revocations.into_iter().filter_map(|revoked| parse_serial(&revoked.serial).ok());
        let revocations = Arc::new(Revocations::new(serials));
        let clock = Arc::clone(host);
        let judge = Arc::new(ClientJudge::new(authority.into(), revocations, move || clock.clock())?);
        let chain = match &leaf {
            Some(leaf) => vec![CertificateDer::from(leaf.clone()), CertificateDer::from(box_certificate)],
            None => vec![key.self_signed()?],
        };
        let config = server_config(key, chain, Some(Arc::clone(&judge)))?;
        Ok(Self { config, judge: Some(judge), leaf })
    }
}

/// Who owns the box, and which of his certificates count no more. Whoever cannot tell that admits nobody.
fn owner_of(host: &Host) -> Option<(Owner, Vec<Revocation>)> {
    let known = || -> Result<_, FolderError> {
        match host.owner()? {
            Some(owner) => Ok(Some((owner, host.revocations()?))),
            None => Ok(None),
        }
    };
    known().unwrap_or_else(|error| {
        tracing::error!(
            error = chain(&error),
            "the API admits nobody: it cannot tell who owns the box, or what was revoked"
        );
        None
    })
}
