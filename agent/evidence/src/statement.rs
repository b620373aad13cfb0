//! What a TPM states and signs (`TPMS_ATTEST`, TPM 2.0 Library Part 2, 10.12): read whole, or not at all.

/// A statement with what it is about left as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    pub(crate) kind: u16,
    /// The qualified Name of the key that signed.
    pub(crate) signer: &'a [u8],
    /// What the asker had put in.
    pub(crate) qualifying: &'a [u8],
    /// How often the TPM was reset.
    pub(crate) resets: u32,
    /// And restarted since.
    pub(crate) restarts: u32,
    about: &'a [u8],
}

impl<'a> Statement<'a> {
    /// Reads a statement that a TPM made: bytes from elsewhere that a restricted key signs never begin so.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.array()? != GENERATED {
            return None;
        }
        let kind = reader.number16()?;
        let (signer, qualifying) = (reader.sized()?, reader.sized()?);
        let _clock_ms: [u8; 8] = reader.array()?;
        let (resets, restarts) = (u32::from_be_bytes(reader.array()?), u32::from_be_bytes(reader.array()?));
        let [_safe] = reader.array()?;
        let _firmware: [u8; 8] = reader.array()?;
        Some(Self { kind, signer, qualifying, resets, restarts, about: reader.0 })
    }

    /// The registers of the SHA-256 bank that it quotes, in ascending order, and the digest of their values.
    pub(crate) fn quoted(&self) -> Option<(Vec<u8>, [u8; 32])> {
        let mut reader = Reader(self.about);
        let one_selection = self.kind == KIND_QUOTE && reader.array()? == [0, 0, 0, 1] && reader.array()? == ALG_SHA256;
        let [3] = reader.array()? else { return None };
        let selected: [u8; 3] = reader.array()?;
        let digest = reader.sized()?.try_into().ok()?;
        let registers = (0..24).filter(|register| selected[usize::from(register / 8)] & 1 << (register % 8) != 0);
        (one_selection && reader.0.is_empty()).then(|| (registers.collect(), digest))
    }

    /// The Name of the index that it certifies, and the number in it.
    pub(crate) fn certified_number(&self) -> Option<(&'a [u8], u64)> {
        let mut reader = Reader(self.about);
        let name = reader.sized()?;
        let whole = self.kind == KIND_NV && reader.number16()? == 0;
        let number = u64::from_be_bytes(reader.sized()?.try_into().ok()?);
        (whole && reader.0.is_empty()).then_some((name, number))
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Bytes behind their length.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.number16()?;
        let (taken, rest) = self.0.split_at_checked(len.into())?;
        self.0 = rest;
        Some(taken)
    }
}

/// `TPM_GENERATED_VALUE`.
const GENERATED: [u8; 4] = *b"\xffTCG";
/// `TPM_ST_ATTEST_NV` and `TPM_ST_ATTEST_QUOTE`.
pub(crate) const KIND_NV: u16 = 0x8014;
pub(crate) const KIND_QUOTE: u16 = 0x8018;
const ALG_SHA256: [u8; 2] = [0x00, 0x0b];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(kind: u16, about: &[u8]) -> Vec<u8> {
        let clock = [[1; 8].as_slice(), &[0, 0, 0, 2], &[0, 0, 0, 3], &[1], &[4; 8]].concat();
        [&GENERATED[..], &kind.to_be_bytes(), &[0, 2, 5, 6], &[0, 1, 7], &clock, about].concat()
    }

    fn quote() -> Vec<u8> {
        with(KIND_QUOTE, &[&[0, 0, 0, 1, 0, 0x0b, 3, 0x81, 0x08, 0, 0, 32][..], &[9; 32]].concat())
    }

    fn number() -> Vec<u8> {
        with(KIND_NV, &[0, 2, 1, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0])
    }

    #[test]
    fn a_quote_and_a_number_are_read_whole() {
        let quote = quote();
        let statement = Statement::read(&quote).unwrap();
        assert_eq!((statement.signer, statement.qualifying), (&[5, 6][..], &[7][..]));
        assert_eq!((statement.resets, statement.restarts), (2, 3));
        assert_eq!(statement.quoted(), Some((vec![0, 7, 11], [9; 32])));
        assert_eq!(statement.certified_number(), None);
        let number = number();
        let statement = Statement::read(&number).unwrap();
        assert_eq!(statement.certified_number(), Some((&[1, 2][..], 256)));
        assert_eq!(statement.quoted(), None);
    }

    #[test]
    fn nothing_shorter_longer_or_of_another_kind_is_read() {
        for whole in [quote(), number()] {
            let says = |bytes: &[u8]| {
                Statement::read(bytes).is_some_and(|read| read.quoted().is_some() || read.certified_number().is_some())
            };
            assert!(says(&whole));
            for len in 0..whole.len() {
                assert!(!says(&whole[..len]), "accepted {len} bytes");
            }
            assert!(!says(&[whole.as_slice(), &[0]].concat()), "a byte behind the end");
            for at in 0..6 {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                assert!(!says(&changed), "byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), ours in any::<bool>()) {
            if ours && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&GENERATED);
            }
            if let Some(statement) = Statement::read(&bytes) {
                let _ = (statement.quoted(), statement.certified_number());
            }
        }
    }
}
