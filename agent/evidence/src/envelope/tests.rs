//! What opens an envelope, and that nothing else does.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

const BOX: BoxName = BoxName([1; 32]);
const PURPOSE: &[u8] = b"shares of a lock";
const PLAIN: &[u8] = &[0xa5; 64];

fn sealed() -> (ImportSecret, Envelope) {
    let mut rng = StdRng::seed_from_u64(1);
    let secret = ImportSecret::random(&mut rng);
    let envelope = Envelope::seal(BOX, secret.public(), PURPOSE, PLAIN, &mut rng).unwrap();
    (secret, envelope)
}

fn not_ours(opened: &Result<Zeroizing<Vec<u8>>, EnvelopeError>, what: &str) {
    assert_eq!(opened, &Err(EnvelopeError::NotOurs), "{what}");
}

#[test]
fn it_opens_for_its_box_key_and_purpose_also_after_the_journey() {
    let (secret, envelope) = sealed();
    let carried = postcard::to_allocvec(&envelope).unwrap();
    assert!(!carried.windows(8).any(|window| window == &PLAIN[..8]));
    let arrived: Envelope = postcard::from_bytes(&carried).unwrap();
    assert_eq!(secret.open(BOX, PURPOSE, &arrived).unwrap().as_slice(), PLAIN);
}

#[test]
fn another_box_purpose_or_key_does_not_open_it() {
    let (secret, envelope) = sealed();
    not_ours(&secret.open(BoxName([2; 32]), PURPOSE, &envelope), "another box");
    not_ours(&secret.open(BOX, b"identity", &envelope), "another purpose");
    not_ours(&secret.open(BOX, b"", &envelope), "no purpose");
    let other = ImportSecret::random(&mut StdRng::seed_from_u64(2));
    not_ours(&other.open(BOX, PURPOSE, &envelope), "another key");
    let relabelled = Envelope { to: other.public(), ..envelope };
    not_ours(&other.open(BOX, PURPOSE, &relabelled), "another key under its own label");
}

#[test]
fn every_changed_byte_fails() {
    let (secret, envelope) = sealed();
    // X25519 ignores the highest bit of a point; the envelope does not.
    for (at, bit) in (0..32).map(|at| (at, 1)).chain([(31, 0x80)]) {
        let mut changed = envelope.clone();
        changed.to.0[at] ^= bit;
        not_ours(&secret.open(BOX, PURPOSE, &changed), &format!("bit {bit:#x} of byte {at} of the key"));
        let mut changed = envelope.clone();
        changed.encapsulated.0[at] ^= bit;
        not_ours(&secret.open(BOX, PURPOSE, &changed), &format!("bit {bit:#x} of byte {at} of the encapsulated key"));
    }
    for at in 0..envelope.ciphertext.len() {
        let mut changed = envelope.clone();
        changed.ciphertext[at] ^= 1;
        not_ours(&secret.open(BOX, PURPOSE, &changed), &format!("ciphertext byte {at}"));
    }
    for len in 0..envelope.ciphertext.len() {
        let mut changed = envelope.clone();
        changed.ciphertext.truncate(len);
        not_ours(&secret.open(BOX, PURPOSE, &changed), &format!("{len} bytes of ciphertext"));
    }
}

#[test]
fn a_key_that_gives_everybody_the_same_secret_is_refused() {
    let (secret, mut envelope) = sealed();
    let refused = Envelope::seal(BOX, ImportKey([0; 32]), PURPOSE, PLAIN, &mut StdRng::seed_from_u64(1));
    assert_eq!(refused, Err(EnvelopeError::NotOurs));
    envelope.encapsulated = ImportKey([0; 32]);
    not_ours(&secret.open(BOX, PURPOSE, &envelope), "a point of low order");
}

#[test]
fn neither_half_shows_what_is_secret() {
    let (secret, envelope) = sealed();
    assert_eq!(format!("{secret:?}"), format!("ImportSecret(of {})", secret.public()));
    assert_eq!(format!("{envelope:?}"), format!("Envelope(80 bytes to {})", secret.public()));
}

/// RFC 9180, A.2.1, sequence number 0.
#[test]
fn it_opens_what_the_standard_seals() {
    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }
    let secret: [u8; 32] = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
    let public = ImportKey(bytes("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"));
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&secret).unwrap();
    let secret = ImportSecret { secret, public };
    let envelope = Envelope {
        to: public,
        encapsulated: ImportKey(bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")),
        ciphertext: hex::decode(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        )
        .unwrap(),
    };
    let opened = secret.open_with(b"Ode on a Grecian Urn", b"Count-0", &envelope).unwrap();
    assert_eq!(opened.as_slice(), b"Beauty is truth, truth beauty");
}
