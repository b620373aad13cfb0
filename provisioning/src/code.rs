//! The one-time code: Crockford's base32 in groups, with a check symbol, so that a slip of the hand costs no try.
//!
//! The check symbol is worth nothing to who guesses: it follows from the rest.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRngCore;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A pairing code. It shows itself only where it is asked to, by [`fmt::Display`].
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PairingCode {
    #[zeroize(skip)]
    kind: CodeKind,
    value: u128,
}

/// Where a code is read from, which fixes how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// From the boot medium: 80 random bits, since whoever reads the medium may guess for weeks.
    Medium,
    /// From the box's screen: 40 random bits, since the box counts the tries.
    Screen,
}

/// What was typed is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The check symbol does not fit.
    #[error("the code has a slip: its last character does not fit the others. Look at it again; no try was used")]
    Check,
    /// A character that no code has.
    #[error("{0:?} is in no code: there are digits and letters without I, L, O and U. No try was used")]
    Character(char),
    /// It is too short or too long.
    #[error("a code has 9 characters from a screen or 17 from a boot medium, without the dashes; no try was used")]
    Length,
}

impl CodeKind {
    /// How many random bits it has.
    #[must_use]
    pub const fn bits(self) -> u32 {
        5 * self.symbols() as u32
    }

    /// The symbols that carry those bits, five each; the check symbol comes after them.
    const fn symbols(self) -> usize {
        match self {
            Self::Medium => 16,
            Self::Screen => 8,
        }
    }
}

impl PairingCode {
    /// A new code.
    pub fn random(kind: CodeKind, rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0; 16]);
        rng.fill_bytes(&mut *bytes);
        Self { kind, value: u128::from_be_bytes(*bytes) >> (u128::BITS - kind.bits()) }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> CodeKind {
        self.kind
    }

    /// What the key exchange takes as its password: one form for all ways to write the code.
    #[must_use]
    pub fn password(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.symbols().map(|symbol| ALPHABET[symbol]).collect())
    }

    fn symbols(&self) -> impl Iterator<Item = usize> + use<> {
        let (value, count) = (self.value, self.kind.symbols());
        (0..count).rev().map(move |at| (value >> (5 * at)) as usize & 0x1f)
    }
}

/// In groups of four: `7KQ4-M2XD-9`.
impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = (self.value % CHECK_MODULUS) as usize;
        for (at, symbol) in self.symbols().chain([check]).enumerate() {
            if at > 0 && at % GROUP_LEN == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[symbol]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairingCode({:?}, ..)", self.kind)
    }
}

/// Tolerant as Crockford wants it: any case, dashes and spaces anywhere, O for 0, I and L for 1.
impl FromStr for PairingCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let mut symbols = Zeroizing::new([0_u8; SYMBOLS_MAX]);
        let mut count = 0;
        for character in text.chars().filter(|character| !matches!(character, '-' | ' ' | '\t' | '\r' | '\n')) {
            let symbol = symbol(character).ok_or(CodeError::Character(character))?;
            *symbols.get_mut(count).ok_or(CodeError::Length)? = symbol;
            count += 1;
        }
        let kind = [CodeKind::Screen, CodeKind::Medium].into_iter().find(|kind| kind.symbols() + 1 == count);
        let kind = kind.ok_or(CodeError::Length)?;
        let (digits, check) = (&symbols[..count - 1], symbols[count - 1]);
        if let Some(digit) = digits.iter().find(|digit| **digit > 0x1f) {
            return Err(CodeError::Character(char::from(ALPHABET[usize::from(*digit)])));
        }
        let value = digits.iter().fold(0, |value: u128, digit| value << 5 | u128::from(*digit));
        if value % CHECK_MODULUS == u128::from(check) { Ok(Self { kind, value }) } else { Err(CodeError::Check) }
    }
}

fn symbol(character: char) -> Option<u8> {
    let character = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let byte = u8::try_from(character).ok()?;
    ALPHABET.iter().position(|symbol| *symbol == byte).map(|at| at as u8)
}

/// Crockford's alphabet; the last five are check symbols only.
const ALPHABET: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";
/// The least prime above 32: it notices any one wrong symbol and any two neighbours that changed places.
const CHECK_MODULUS: u128 = 37;
const GROUP_LEN: usize = 4;
/// A medium's code with its check symbol.
const SYMBOLS_MAX: usize = 17;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn random(kind: CodeKind, seed: u64) -> PairingCode {
        PairingCode::random(kind, &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_code_has_the_bits_that_it_promises() {
        assert_eq!((CodeKind::Screen.bits(), CodeKind::Medium.bits()), (40, 80));
        let (mut ones, mut zeros) = (0, u128::MAX);
        for seed in 0..200 {
            let value = random(CodeKind::Medium, seed).value;
            (ones, zeros) = (ones | value, zeros & value);
        }
        assert_eq!((ones, zeros), ((1 << 80) - 1, 0), "every bit takes both values");
        let codes: BTreeSet<_> = (0..200).map(|seed| random(CodeKind::Screen, seed).to_string()).collect();
        assert_eq!(codes.len(), 200);
    }

    #[test]
    fn a_code_looks_as_the_screen_shows_it() {
        let code = PairingCode { kind: CodeKind::Screen, value: 0 };
        assert_eq!(code.to_string(), "0000-0000-0");
        // 36 is its own remainder: the last of the check symbols.
        let code = PairingCode { kind: CodeKind::Screen, value: 36 };
        assert_eq!(code.to_string(), "0000-0014-U");
        assert_eq!(random(CodeKind::Medium, 1).to_string().len(), 17 + 4);
    }

    #[test]
    fn what_hands_and_eyes_confuse_is_the_same_code() {
        let code: PairingCode = "0000-0014-U".parse().unwrap();
        for text in ["oOoOooI4u", " 0000 00l4 U\n", "0-0-0-0-0-0-L-4-u"] {
            assert_eq!(text.parse::<PairingCode>().unwrap(), code, "{text}");
        }
        assert_eq!(&**code.password(), b"00000014");
    }

    #[test]
    fn what_is_no_code_says_why() {
        for (text, error) in [
            ("", CodeError::Length),
            ("0000-0000", CodeError::Length),
            ("0000-0000-0000-0000-0000", CodeError::Length),
            ("0000-0000-1", CodeError::Check),
            ("0000-000U-0", CodeError::Character('U')),
            ("0000-00é0-0", CodeError::Character('é')),
            ("0000_0000_0", CodeError::Character('_')),
        ] {
            assert_eq!(text.parse::<PairingCode>(), Err(error), "{text}");
        }
    }

    #[test]
    fn every_slip_of_one_symbol_or_of_two_neighbours_is_noticed() {
        let text: Vec<char> = random(CodeKind::Medium, 5).to_string().chars().filter(|c| *c != '-').collect();
        for at in 0..text.len() {
            for symbol in ALPHABET.iter().map(|symbol| char::from(*symbol)).filter(|symbol| *symbol != text[at]) {
                let mut slip = text.clone();
                slip[at] = symbol;
                slip.iter().collect::<String>().parse::<PairingCode>().unwrap_err();
            }
            if at + 2 < text.len() && text[at] != text[at + 1] {
                let mut slip = text.clone();
                slip.swap(at, at + 1);
                slip.iter().collect::<String>().parse::<PairingCode>().unwrap_err();
            }
        }
    }

    #[test]
    fn a_code_does_not_show_itself_by_accident() {
        let code = random(CodeKind::Screen, 3);
        assert_eq!(format!("{code:?}"), "PairingCode(Screen, ..)");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(seed: u64, medium: bool) {
            let code = random(if medium { CodeKind::Medium } else { CodeKind::Screen }, seed);
            prop_assert_eq!(code.to_string().parse::<PairingCode>(), Ok(code));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<PairingCode>();
        }
    }
}
