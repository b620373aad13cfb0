//! The forms in which 32 secret bytes may lie somewhere, each as the bytes to look for.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::{self, Alphabet};
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

/// The order in which the bytes of the number were taken before they were written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// As in a keystore: the most significant byte first.
    Big,
    /// The least significant byte first.
    Little,
}

/// How a secret was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Base64 with `+` and `/`, after so many bytes (modulo 3) of something else.
    Base64 {
        /// The bytes in front, modulo 3.
        after: usize,
        /// The order of the bytes.
        order: Order,
    },
    /// Base64 with `-` and `_`, after so many bytes (modulo 3) of something else.
    Base64Url {
        /// The bytes in front, modulo 3.
        after: usize,
        /// The order of the bytes.
        order: Order,
    },
    /// A list of numbers as JSON and `Debug` write it: `7,255` and `7, 255`.
    ByteList {
        /// Whether a blank follows each comma.
        spaced: bool,
        /// The order of the bytes.
        order: Order,
    },
    /// The number in decimal digits.
    Decimal,
    /// Lower-case hex.
    HexLower {
        /// The order of the bytes.
        order: Order,
    },
    /// Upper-case hex.
    HexUpper {
        /// The order of the bytes.
        order: Order,
    },
    /// Limbs of so many bytes: the most significant limb first, each least significant byte first.
    LimbsBigOfLittle {
        /// The bytes of a limb.
        width: usize,
    },
    /// Limbs of so many bytes: the least significant limb first, each most significant byte first.
    LimbsLittleOfBig {
        /// The bytes of a limb.
        width: usize,
    },
    /// The Montgomery form, `x * 2^256 mod r`. In little order these are the limbs of a `blst_fr`.
    Montgomery {
        /// The order of the bytes.
        order: Order,
    },
    /// The bytes themselves.
    Raw,
    /// The bytes in reverse. These are as well the limbs of a `blst_scalar` and of any `[u64; 4]` or `[u32; 8]` with the
    /// least significant limb first, in the memory of a little-endian machine.
    Reversed,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Every form of a secret, with its bytes. Some secrets have the same bytes in both alphabets of base64.
pub(super) fn forms_of(secret: &[u8; 32]) -> Vec<(Form, Vec<u8>)> {
    let mut reversed = *secret;
    reversed.reverse();
    let montgomery = montgomery(secret);
    let mut montgomery_reversed = montgomery;
    montgomery_reversed.reverse();
    let mut forms = vec![
        (Form::Raw, secret.to_vec()),
        (Form::Reversed, reversed.to_vec()),
        (Form::Montgomery { order: Order::Big }, montgomery.to_vec()),
        (Form::Montgomery { order: Order::Little }, montgomery_reversed.to_vec()),
        (Form::Decimal, decimal(secret).into_bytes()),
    ];
    for width in [4, 8] {
        forms.push((Form::LimbsBigOfLittle { width }, each_reversed(secret, width)));
        forms.push((Form::LimbsLittleOfBig { width }, each_reversed(&reversed, width)));
    }
    forms.extend(texts_of(secret, Order::Big));
    forms.extend(texts_of(&reversed, Order::Little));
    forms
}

/// Every form of a secret that is a text already, such as a token in a URL or a code that people type.
pub(super) fn forms_of_text(secret: &str) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![(Form::Raw, secret.as_bytes().to_vec())];
    forms.extend(texts_of(secret.as_bytes(), Order::Big));
    forms
}

/// How bytes are written as text, where numbers are of no matter.
fn texts_of(bytes: &[u8], order: Order) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![
        (Form::HexLower { order }, hex::encode(bytes).into_bytes()),
        (Form::HexUpper { order }, hex::encode_upper(bytes).into_bytes()),
    ];
    for (spaced, separator) in [(false, ","), (true, ", ")] {
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        forms.push((Form::ByteList { spaced, order }, numbers.join(separator).into_bytes()));
    }
    for after in 0..3 {
        forms.push((Form::Base64 { after, order }, base64_middle(bytes, after, &alphabet::STANDARD)));
        forms.push((Form::Base64Url { after, order }, base64_middle(bytes, after, &alphabet::URL_SAFE)));
    }
    forms
}

fn each_reversed(bytes: &[u8; 32], width: usize) -> Vec<u8> {
    bytes.chunks(width).flat_map(|limb| limb.iter().rev().copied()).collect()
}

/// The characters that depend on nothing but `bytes`, when `after` bytes (modulo 3) come before them.
fn base64_middle(bytes: &[u8], after: usize, alphabet: &Alphabet) -> Vec<u8> {
    let mut padded = vec![0; after];
    padded.extend_from_slice(bytes);
    let text = GeneralPurpose::new(alphabet, NO_PAD).encode(&padded);
    // A character holds 6 bits: the first ones share some with what comes before, the last one with what follows.
    text.as_bytes()[(8 * after).div_ceil(6)..8 * padded.len() / 6].to_vec()
}

fn decimal(big_endian: &[u8; 32]) -> String {
    let mut number = *big_endian;
    let mut digits = Vec::new();
    while number.iter().any(|&byte| byte != 0) {
        let mut rest = 0_u16;
        for byte in &mut number {
            let value = rest << 8 | u16::from(*byte);
            *byte = u8::try_from(value / 10).expect("the rest is below 10, so the quotient is below 256");
            rest = value % 10;
        }
        digits.push(char::from(b'0' + u8::try_from(rest).expect("a digit")));
    }
    digits.iter().rev().collect()
}

/// `x * 2^256 mod r` by doubling 256 times, so that this test shares no arithmetic with what it watches.
fn montgomery(big_endian: &[u8; 32]) -> [u8; 32] {
    let mut value = *big_endian;
    // A number below 2^256 holds r at most twice.
    for _ in 0..2 {
        subtract_order_if_it_fits(&mut value);
    }
    for _ in 0..256 {
        let mut carry = 0;
        for byte in value.iter_mut().rev() {
            let next = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = next;
        }
        // The order is below 2^255, so that twice a remainder still fits into 256 bits.
        subtract_order_if_it_fits(&mut value);
    }
    value
}

fn subtract_order_if_it_fits(value: &mut [u8; 32]) {
    // Both are big-endian, so that their bytes compare as the numbers do.
    if *value < ORDER {
        return;
    }
    let mut borrow = false;
    for (byte, order) in value.iter_mut().zip(ORDER).rev() {
        let (first, under) = byte.overflowing_sub(order);
        let (second, under_again) = first.overflowing_sub(u8::from(borrow));
        *byte = second;
        borrow = under || under_again;
    }
}

/// The order r of the BLS12-381 groups, big-endian.
const ORDER: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05, 0x53, 0xbd, 0xa4,
    0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_montgomery_form_is_two_to_the_256_modulo_the_order() {
        let mut one = [0; 32];
        one[31] = 1;
        // The constant R of BLS12-381's scalar field, as published with it.
        let expected = "1824b159acc5056f998c4fefecbc4ff55884b7fa0003480200000001fffffffe";
        assert_eq!(hex::encode(montgomery(&one)), expected);
    }

    #[test]
    fn the_order_itself_is_zero_in_montgomery_form() {
        assert_eq!(montgomery(&ORDER), [0; 32]);
    }

    #[test]
    fn the_order_in_decimal() {
        assert_eq!(decimal(&ORDER), "52435875175126190479447740508185965837690552500527637822603658699938581184513");
    }

    #[test]
    fn the_middle_of_base64_is_in_every_text_around_it() {
        let secret: [u8; 32] = std::array::from_fn(|place| u8::try_from(place * 37 % 251).unwrap());
        for before in 0..7_usize {
            let mut bytes = vec![0xa5; before];
            bytes.extend_from_slice(&secret);
            bytes.extend_from_slice(&[0x5a; 5]);
            let text = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD).encode(&bytes);
            let middle = base64_middle(&secret, before % 3, &alphabet::STANDARD);
            assert!(middle.len() >= 42 && text.contains(std::str::from_utf8(&middle).unwrap()));
        }
    }
}
