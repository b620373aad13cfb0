//! What a signature counts for: its own domain on the pinned network, and nothing else.

use holdfast_bls::{VerifyError, public_of, verify_partial};
use holdfast_eth::domain::{domain, signing_root, signing_root_at};
use holdfast_types::{ForkVersion, SigningRoot};

use super::*;

/// The signing roots of an object under each purpose, every version of the network and both roots of genesis.
pub(super) fn every_root(object: Root) -> Vec<((DomainType, ForkVersion, Root), SigningRoot)> {
    let chain = chain();
    let mut versions: Vec<ForkVersion> = chain.forks.iter().map(|fork| fork.version).collect();
    versions.extend([network().exit_fork_version, ForkVersion::default()]);
    let mut all = Vec::new();
    for kind in DomainType::ALL {
        for version in &versions {
            for root in [chain.genesis_validators_root, Root::default()] {
                all.push(((kind, *version, root), signing_root(object, &domain(kind, *version, root))));
            }
        }
    }
    all
}

pub(super) fn verifies(root: SigningRoot, partial: &PartialSignature) -> Result<(), VerifyError> {
    verify_partial(&public_of(&SECRET).unwrap(), root, partial)
}

#[test]
fn a_signature_counts_under_its_own_domain_and_no_other() {
    let (_place, mut vault) = Situation::Open.set_up();
    let mut held = 0;
    for kind in Kind::ALL {
        let asked = Asked::new(kind, 100, &chain());
        let partial = asked.of(&mut vault).unwrap();
        let own = (kind.domain(), chain().fork_version_at(Epoch(3)), chain().genesis_validators_root);
        for (under, root) in every_root(asked.object()) {
            let expected = if under == own { Ok(()) } else { Err(VerifyError::Mismatch) };
            assert_eq!(verifies(root, &partial), expected, "{kind:?} under {under:?}");
            held += 1;
        }
        assert_eq!(verifies(SigningRoot(asked.object().0), &partial), Err(VerifyError::Mismatch), "{kind:?} bare");
    }
    assert_eq!(held, 8 * 19 * 4 * 2, "kinds, domains, versions, roots of genesis");
}

/// What somebody may want signed who may choose 32 bytes: other objects, what is finally signed of them, a lock hash.
fn wanted() -> Vec<[u8; 32]> {
    let mut wanted = vec![[0; 32], [5; 32], [0xff; 32]];
    for kind in Kind::ALL {
        let asked = Asked::new(kind, 100, &chain());
        wanted.push(asked.object().0);
        wanted.push(signing_root_at(&chain(), kind.domain(), Epoch(3), asked.object()).0);
    }
    for kind in DomainType::ALL {
        wanted.push(domain(kind, chain().fork_version_at(Epoch(3)), chain().genesis_validators_root));
    }
    wanted
}

#[test]
fn no_32_bytes_of_anybodys_choice_are_signed() {
    let (_place, mut vault) = Situation::Open.set_up();
    for kind in Kind::OPAQUE {
        for bytes in wanted() {
            let asked = Asked { root: Root(bytes), ..Asked::new(kind, 100, &chain()) };
            let partial = asked.of(&mut vault).unwrap();
            assert_eq!(verifies(SigningRoot(bytes), &partial), Err(VerifyError::Mismatch), "{kind:?}: {bytes:?}");
            let own = signing_root_at(&chain(), kind.domain(), Epoch(3), Root(bytes));
            assert_eq!(verifies(own, &partial), Ok(()), "{kind:?}: {bytes:?}");
        }
    }
}

#[test]
fn the_fork_is_that_of_the_slot_on_both_sides_of_its_beginning() {
    // The fork begins with epoch 2 and slot 64; at its first slot both sides are in every window.
    for slot in [63, 64] {
        let mut place = TestBox::new();
        place.clock.set_slot(64);
        let mut vault = place.start();
        place.import(&mut vault);
        for kind in Kind::ALL {
            let asked = Asked::new(kind, slot, &chain());
            let partial = asked.of(&mut vault).unwrap();
            let root = signing_root_at(&chain(), kind.domain(), asked.epoch, asked.object());
            assert_eq!(verifies(root, &partial), Ok(()), "{kind:?} of slot {slot}");
        }
    }
    assert_ne!(chain().fork_version_at(Epoch(1)), chain().fork_version_at(Epoch(2)));
}
