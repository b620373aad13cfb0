//! Node keys as libp2p sees them: the identity of the host and the peer IDs of the operators (section 1.1).

use holdfast_wire::k1::NodePublic;
use libp2p::PeerId;
use libp2p::identity::{DecodingError, Keypair, secp256k1};
use zeroize::Zeroizing;

/// The peer ID of a node key: the identity multihash of its protobuf form, 39 bytes, text `16Uiu2HA…`.
///
/// # Panics
/// Never: a node key is a point of the curve, and every such point has a peer ID.
#[must_use]
pub fn peer_id(public: &NodePublic) -> PeerId {
    PeerId::from_bytes(&public.peer_id_bytes()).expect("39 bytes with the prefix of an identity multihash")
}

/// The key pair of the host. The bytes that were given are wiped.
pub(super) fn keypair(mut secret: Zeroizing<[u8; 32]>) -> Result<Keypair, DecodingError> {
    let secret = secp256k1::SecretKey::try_from_bytes(secret.as_mut_slice())?;
    Ok(secp256k1::Keypair::from(secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cluster-wire.md` section 14.
    #[test]
    fn secret_keys_lead_to_the_peer_ids_of_the_specification() {
        for (byte, public, text) in [
            (
                1,
                "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f",
                "16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi",
            ),
            (
                2,
                "024d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d0766",
                "16Uiu2HAkzdQ5Y9SYT91K1ue5SxXwgmajXntfScGnLYeip5hHyWmT",
            ),
            (
                3,
                "02531fe6068134503d2723133227c867ac8fa6c83c537e9a44c3c5bdbdcb1fe337",
                "16Uiu2HAm12A2heuphsgWqFjE3jcHVXNBfte9HU1fuQYRSKh6JSpN",
            ),
            (
                4,
                "03462779ad4aad39514614751a71085f2f10e1c7a593e4e030efb5b8721ce55b0b",
                "16Uiu2HAmHNqoSvjy1LSi5cMFrgZy87n43okaH9MD9Q4wP1oEzf6S",
            ),
        ] {
            let public = NodePublic::from_slice(&hex::decode(public).unwrap()).unwrap();
            assert_eq!(peer_id(&public).to_base58(), text);
            let own = keypair(Zeroizing::new([byte; 32])).unwrap().public().to_peer_id();
            assert_eq!(own.to_base58(), text);
            assert_eq!(own.to_bytes()[..6], [0x00, 0x25, 0x08, 0x02, 0x12, 0x21]);
        }
    }

    #[test]
    fn a_secret_that_is_no_scalar_is_refused() {
        assert!(keypair(Zeroizing::new([0; 32])).is_err());
        assert!(keypair(Zeroizing::new([0xff; 32])).is_err());
    }
}
