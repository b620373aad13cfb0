//! Encryption to an RSA key with OAEP (RFC 8017, 7.1.1), SHA-256 throughout, as TPMs take seeds. Only the public half: no
//! secret key of this kind is ever here, and the numbers are those of `crypto-bigint`, whose time tells nothing of them.

use p256::elliptic_curve::bigint::modular::runtime_mod::{DynResidue, DynResidueParams};
use p256::elliptic_curve::bigint::{Encoding, Integer, U64, U2048};
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::areas::RSA_LEN;

/// Encrypts 32 bytes; `None` when the modulus is none. `label` is bound in.
pub(super) fn encrypt(
    modulus: &[u8; RSA_LEN],
    message: &[u8; 32],
    label: &[u8],
    rng: &mut impl CryptoRngCore,
) -> Option<Vec<u8>> {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *seed);
    let padded = padded(message, label, &seed);
    let modulus = U2048::from_be_bytes(*modulus);
    if !bool::from(modulus.is_odd()) {
        return None;
    }
    let parameters = DynResidueParams::new(&modulus);
    // It begins with a zero byte and the modulus does not, so it is the smaller one.
    let residue = DynResidue::new(&U2048::from_be_bytes(*padded), parameters);
    Some(residue.pow(&U64::from(EXPONENT)).retrieve().to_be_bytes().to_vec())
}

fn padded(message: &[u8; 32], label: &[u8], seed: &[u8; 32]) -> Zeroizing<[u8; RSA_LEN]> {
    let mut padded = Zeroizing::new([0; RSA_LEN]);
    let (masked_seed, block) = padded[1..].split_at_mut(32);
    block[..32].copy_from_slice(&Sha256::digest(label));
    block[BLOCK_LEN - 33] = 1;
    block[BLOCK_LEN - 32..].copy_from_slice(message);
    mask(seed, block);
    masked_seed.copy_from_slice(seed);
    mask(block, masked_seed);
    padded
}

/// MGF1 (RFC 8017, B.2.1).
fn mask(seed: &[u8], text: &mut [u8]) {
    for (counter, chunk) in (0u32..).zip(text.chunks_mut(32)) {
        let mask = Sha256::new_with_prefix(seed).chain_update(counter.to_be_bytes()).finalize();
        chunk.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// What is behind the zero byte and the seed.
const BLOCK_LEN: usize = RSA_LEN - 33;
const EXPONENT: u64 = 65_537;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// Of a key that `openssl genrsa 2048` made for this test.
    const MODULUS: &str = "a684d7333426865214b075389a5f1a4c46278f13f1e0a0547a7911e2798015c73bcc165a37ac090e4fdb9d44af65e5eddb56\
                           43580039381717a0e1eb45126ac494eb7d21de732a3455918ae715efba365aca1405926d1ab445324ee258f4e3781479742d\
                           56c4ff735e6bf3b63b2073fa04eccd7f1895dba441dda2076ff3a6754742410ebf40bc170cc20e478a7dabdc1f78884a3bd3\
                           a3d0417cf40aedc43c97a8344e774ad7b428063f8475b36b96f9e707672fb68358cbfc3386274fc249e56fc8799d2b8543c7\
                           84aa963abfe5f216974444924563f961141f3676f63ae82522759239f404b1fbd2681f25144d6bd0c0bb7130be0fde5059ec\
                           16c17ab9d423";
    /// What came out here, and what its owner read in it: `openssl pkeyutl -decrypt -inkey KEY -in FILE -pkeyopt
    /// rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 -pkeyopt
    /// rsa_oaep_label:4944454e5449545900` gave 32 bytes 0x5a. A credential for swtpm is opened in `tests/tests/tpm`.
    const CIPHERTEXT: &str = "54f46db68ef41dffa5790904ee410466d35bf0a80aae416a2c7269c14eff353028b457173846eaaf49af\
                              8535d7d31fc55bb21e36f3b69af6d67296979b2a905c1b9abb8e0eb96c543a3e88b2aacee2184ac4ca79\
                              bc2127cfd79072052649b5254d367fcc966b6706d0fb6292db9289a417d250e263b6c8044078961ee762\
                              9619502ec428af12e349c3f3db47cbb68712048eb2850d4412eac0faf1b1c7a3044e66c323b99eb9563b\
                              ed107ed151cadb101e6c0f9e1d2a1790eb14906ae5af7901536c9cbaac58203bb455c6495b5946c75acd\
                              f4e0a1f1e229866fe90776948af542aeb3c5b885decd039fd46399e3363b71eb2b76ffea09e912cb8767\
                              74753d77";

    fn modulus() -> [u8; RSA_LEN] {
        hex::decode(MODULUS).unwrap().try_into().unwrap()
    }

    #[test]
    fn what_is_encrypted_its_owner_has_read() {
        let made = encrypt(&modulus(), &[0x5a; 32], b"IDENTITY\0", &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(hex::encode(made), CIPHERTEXT);
    }

    #[test]
    fn the_same_twice_differs_and_an_even_number_is_no_modulus() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut made = |modulus: &[u8; RSA_LEN]| encrypt(modulus, &[0x5a; 32], b"label", &mut rng);
        assert_ne!(made(&modulus()), made(&modulus()));
        let mut even = modulus();
        even[RSA_LEN - 1] ^= 1;
        assert_eq!(made(&even), None);
    }
}
