//! What an owner hands to somebody who is to have access to his boxes: a certificate with a role, and by what the boxes are
//! known. The secret key is not in it, where the certificate was made from a request.
//!
//! Whoever can change the file on its way can put boxes of his own in it, so both people compare the authority's short name.

use std::sync::Arc;

use holdfast_types::{BoxName, Millis, P256Public};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::certificate::{self, CertificateError, ClientIdentity};
use crate::client::Target;
use crate::context::{Context, ContextError, SeenAtPairing, check_name};
use crate::tls::{BoxClock, ClientJudge, Refusal, Revocations, TlsError};

/// The file, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// The authority's certificate, in PEM.
    authority: String,
    /// The client's, by that authority, in PEM.
    certificate: String,
    /// The boxes that he may reach.
    pub boxes: Vec<AccessibleBox>,
}

/// A box, as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessibleBox {
    /// What the owner calls it.
    pub name: String,
    /// Where the owner reaches its API.
    pub address: Target,
    /// Its whole name.
    pub box_name: BoxName,
    /// Its key.
    pub box_key: P256Public,
    /// What was seen at the pairing.
    pub seen: SeenAtPairing,
}

/// An access whose certificate counts. Made by [`Access::check`] only.
#[derive(Clone, Debug)]
pub struct CheckedAccess {
    /// Who he is, and what he may do.
    pub client: ClientIdentity,
    /// The key that the certificate is for.
    pub client_key: P256Public,
    /// His certificate.
    pub certificate: CertificateDer<'static>,
    /// The authority's key.
    pub authority: P256Public,
    /// The authority's certificate.
    pub authority_certificate: CertificateDer<'static>,
    /// The boxes.
    pub boxes: Vec<AccessibleBox>,
}

/// Why a file gives no access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// One of its certificates is none.
    #[error("one of its certificates cannot be used")]
    Certificate(#[from] CertificateError),
    /// A box has no name that a context may have.
    #[error("it names a box in a way that is not accepted")]
    Context(#[from] ContextError),
    /// It lists more than anybody owns.
    #[error("it lists {len} boxes, at most {BOXES_MAX} are read")]
    ManyBoxes {
        /// How many.
        len: usize,
    },
    /// The bytes are no such file.
    #[error("it is not what holdfast authority issue writes as access.json")]
    Parse(#[source] serde_json::Error),
    /// The certificate does not count.
    #[error("its certificate does not count")]
    Refused(#[from] Refusal),
    /// The authority's certificate is no authority's.
    #[error("its authority cannot be used")]
    Tls(#[from] TlsError),
}

impl Access {
    /// What the owner hands over.
    ///
    /// # Errors
    /// When the certificate is none.
    pub fn of(
        authority: &Authority,
        certificate: &CertificateDer<'_>,
        boxes: Vec<AccessibleBox>,
    ) -> Result<Self, CertificateError> {
        let [authority, certificate] = [authority.certificate(), certificate].map(certificate::to_pem);
        Ok(Self { authority: authority?, certificate: certificate?, boxes })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain data has a form in JSON")
    }

    /// Reads it and checks that its certificate is by its authority, for a client, and in time. Whose authority that is, it
    /// cannot know.
    ///
    /// # Errors
    /// When the bytes are no such file, or the certificate would be refused by the boxes.
    pub fn check(bytes: &[u8], now: Millis) -> Result<CheckedAccess, AccessError> {
        let access: Self = serde_json::from_slice(bytes).map_err(AccessError::Parse)?;
        if access.boxes.len() > BOXES_MAX {
            return Err(AccessError::ManyBoxes { len: access.boxes.len() });
        }
        access.boxes.iter().try_for_each(|one| check_name(&one.name))?;
        let authority_certificate = certificate::from_pem(&access.authority)?;
        let certificate = certificate::from_pem(&access.certificate)?;
        let judge = ClientJudge::new(authority_certificate.clone(), Arc::new(Revocations::default()), move || {
            BoxClock::Synchronised(now)
        })?;
        Ok(CheckedAccess {
            client: judge.admit(&certificate)?,
            client_key: certificate::public_key(&certificate)?,
            certificate,
            authority: certificate::public_key(&authority_certificate)?,
            authority_certificate,
            boxes: access.boxes,
        })
    }
}

impl From<&Context> for AccessibleBox {
    fn from(context: &Context) -> Self {
        Self {
            name: context.name.clone(),
            address: context.address.clone(),
            box_name: context.box_name,
            box_key: context.box_key,
            seen: context.seen.clone(),
        }
    }
}

/// As many as a file of contexts can hold.
const BOXES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use holdfast_api::Role;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::certificate::CLIENT_VALID_MS;
    use crate::tls::TlsKey;

    const NOW: Millis = Millis(1_795_779_617_000);

    fn made() -> (Authority, TlsKey, Access) {
        let mut rng = StdRng::seed_from_u64(7);
        let authority = Authority::create(&mut rng).unwrap();
        let key = TlsKey::random(&mut rng);
        let certificate = authority.issue_client("bob", Role::Operator, &key.public(), NOW, &mut rng).unwrap();
        let attic = AccessibleBox {
            name: "attic".into(),
            address: "192.168.1.57".parse().unwrap(),
            box_name: BoxName([1; 32]),
            box_key: P256Public([2; 33]),
            seen: SeenAtPairing::default(),
        };
        let access = Access::of(&authority, &certificate, vec![attic]).unwrap();
        (authority, key, access)
    }

    #[test]
    fn what_is_handed_over_says_who_may_what_where() {
        let (authority, key, access) = made();
        let checked = Access::check(&access.to_json(), NOW).unwrap();
        assert_eq!((checked.client.name.as_str(), checked.client.role), ("bob", Role::Operator));
        assert_eq!((checked.client_key, checked.authority), (key.public(), authority.public()));
        assert_eq!(checked.boxes, access.boxes);
    }

    #[test]
    fn what_a_box_would_refuse_is_refused_here() {
        let (_, _, access) = made();
        // A certificate tells its end in whole seconds.
        let late = NOW.plus(CLIENT_VALID_MS + 1_000);
        assert!(matches!(Access::check(&access.to_json(), late), Err(AccessError::Refused(Refusal::Expired))));
        let other = Authority::create(&mut StdRng::seed_from_u64(8)).unwrap();
        let foreign = Access { authority: certificate::to_pem(other.certificate()).unwrap(), ..access.clone() };
        assert!(matches!(Access::check(&foreign.to_json(), NOW), Err(AccessError::Refused(Refusal::NotOurs))));
        let mut outside = access;
        outside.boxes[0].name = "../attic".into();
        assert!(matches!(Access::check(&outside.to_json(), NOW), Err(AccessError::Context(_))));
        assert!(matches!(Access::check(b"{}", NOW), Err(AccessError::Parse(_))));
    }
}
