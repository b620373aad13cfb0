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

/// What the vault said of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VaultOwner {
    /// This authority.
    Authority(P256Public),
    /// Nobody.
    Nobody,
    /// It was not heard yet.
    Unknown,
}

#[derive(Clone, Debug)]
struct Present {
    /// As far as it was heard when this was made.
    owner: VaultOwner,
    config: Arc<ServerConfig>,
    judge: Option<Arc<ClientJudge>>,
    /// The certificate of the key by the box key.
    leaf: Option<Vec<u8>>,
}

impl VaultOwner {
    /// As a vault that was heard says it.
    pub(super) fn of(authority: Option<P256Public>) -> Self {
        authority.map_or(Self::Nobody, Self::Authority)
    }
}

impl Tls {
    /// With a new key, whose certificate names nobody yet.
    pub(super) fn new(host: &Arc<Host>) -> Result<Self, TlsError> {
        let key = TlsKey::random(&mut OsRng);
        let present = Present::new(&key, host, VaultOwner::Unknown, None)?;
        Ok(Self { key, present: RwLock::new(present) })
    }

    pub(super) fn public(&self) -> P256Public {
        self.key.public()
    }

    /// Takes up what the host says of owner and revocations now, and the leaf and the vault's word, if they are new. Whose
    /// certificates count the vault says: those that are left of an order that was not carried out, or of before a reset
    /// or a change of hands, do not.
    pub(super) fn renew(
        &self,
        host: &Arc<Host>,
        owner: Option<VaultOwner>,
        leaf: Option<Vec<u8>>,
    ) -> Result<(), TlsError> {
        let before = self.present();
        let (owner, leaf) = (owner.unwrap_or(before.owner), leaf.or(before.leaf));
        let present = Present::new(&self.key, host, owner, leaf)?;
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
    fn new(key: &TlsKey, host: &Arc<Host>, owner: VaultOwner, leaf: Option<Vec<u8>>) -> Result<Self, TlsError> {
        let Some((Owner { authority, box_certificate }, revocations)) = owner_of(host, owner) else {
            let config = server_config(key, vec![key.self_signed()?], None)?;
            return Ok(Self { owner, config, judge: None, leaf: None });
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
        Ok(Self { owner, config, judge: Some(judge), leaf })
    }
}

/// Who owns the box, and which of his certificates count no more. Whoever cannot tell that admits nobody: while the box
/// may have changed hands and the vault was not heard, nor the old owner whom it may not obey any more.
fn owner_of(host: &Host, vault: VaultOwner) -> Option<(Owner, Vec<Revocation>)> {
    let known = || -> Result<_, FolderError> {
        let owner = match vault {
            VaultOwner::Nobody => None,
            VaultOwner::Unknown if host.is_changing_hands()? => None,
            VaultOwner::Unknown => host.owner()?,
            VaultOwner::Authority(key) => host.owner_by(Some(key))?.filter(|owner| owner.public() == Some(key)),
        };
        match owner {
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
