//! Lies on the bus between the vault and its TPM.

use std::collections::BTreeMap;

use holdfast_adversary::rng::Rng;
use holdfast_tests::bus::command::{HEADER_LEN, NV_INCREMENT, NV_READ, code, done, increment, refusal};
use holdfast_tests::bus::{Meddle, Wire};

use crate::rig::LEASE_COUNTER;

/// One way to lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// Counts once more behind the vault's back.
    CountTwice,
    /// Cuts the connection before a command, or swallows its answer.
    Cut,
    /// Changes one bit of an answer.
    Flip,
    /// Says that a counter was incremented when it was not.
    NotCounted,
    /// Answers a read of a counter with what was read before.
    OldReadBack,
    /// Says that the TPM is busy.
    Refuse,
}

impl Lie {
    pub(crate) const ALL: [Self; 6] =
        [Self::CountTwice, Self::Cut, Self::Flip, Self::NotCounted, Self::OldReadBack, Self::Refuse];

    /// Somebody on the bus who lies this way, now and then.
    pub(crate) fn teller(self, mut rng: Rng) -> Meddle {
        let mut before: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        Box::new(move |tpm: &mut Wire, command: &[u8]| {
            let code = code(command);
            match self {
                Self::NotCounted if code == NV_INCREMENT && rng.one_in(2) => {
                    return Some(before.get(&code).cloned().unwrap_or_else(done));
                }
                Self::OldReadBack if code == NV_READ && rng.one_in(2) => {
                    if let Some(answer) = before.get(&code) {
                        return Some(answer.clone());
                    }
                }
                Self::Cut if rng.one_in(40) => return None,
                Self::Refuse if rng.one_in(20) => return Some(refusal(BUSY)),
                _ => {}
            }
            let mut answer = tpm.send(command).ok()?;
            match self {
                Self::Cut if rng.one_in(40) => return None,
                Self::CountTwice if code == NV_INCREMENT && rng.one_in(3) => {
                    tpm.send(&increment(LEASE_COUNTER)).ok()?;
                }
                Self::Flip if rng.one_in(20) && answer.len() > HEADER_LEN => {
                    let at = usize::try_from(rng.between(HEADER_LEN as u64, answer.len() as u64 - 1)).ok()?;
                    answer[at] ^= 1 << rng.below(8);
                }
                _ => {}
            }
            if matches!(self, Self::NotCounted | Self::OldReadBack) {
                before.entry(code).or_insert_with(|| answer.clone());
            }
            Some(answer)
        })
    }
}

/// TPM_RC_RETRY.
const BUSY: u32 = 0x922;
