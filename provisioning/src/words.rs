//! Four words that both sides show: who sees the same ones on the box's screen and in the terminal talks to that box.
//!
//! From BIP-39's English list (2,048 words, its licence beside it), 11 bits each, 44 in all. They follow from the session key,
//! which only who knows the code can have at all: so they catch who has learnt the code, not who guesses, and he has one attempt.

use sha2::{Digest, Sha256};

use crate::pake::SessionKey;

/// The words of a session.
#[must_use]
pub fn four_words(key: &SessionKey) -> String {
    let hash = Sha256::new_with_prefix(b"holdfast pairing words 1").chain_update(key.as_bytes()).finalize();
    let bits = hash[..8].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let words: Vec<&str> = LIST.lines().collect();
    let at = |number: u32| (bits >> (64 - WORD_BITS * (number + 1))) as usize % words.len();
    [0, 1, 2, 3].map(|number| words[at(number)]).join(" ")
}

const LIST: &str = include_str!("../words/english.txt");
const WORD_BITS: u32 = 11;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// SHA-256 of the list as its authors publish it.
    const PUBLISHED: &str = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda";

    #[test]
    fn the_list_is_the_published_one() {
        assert_eq!(hex::encode(Sha256::digest(LIST)), PUBLISHED);
        assert_eq!(LIST.lines().collect::<BTreeSet<_>>().len(), 1 << WORD_BITS);
    }

    #[test]
    fn the_words_follow_from_the_whole_key() {
        let words = four_words(&SessionKey::of_test([1; 64]));
        assert_eq!(words.split(' ').count(), 4);
        assert_eq!(words, four_words(&SessionKey::of_test([1; 64])));
        for at in [0, 63] {
            let mut key = [1; 64];
            key[at] ^= 1;
            assert_ne!(words, four_words(&SessionKey::of_test(key)));
        }
    }
}
