//! The log of orders as its reader has it: a hash chain, of which a box keeps the last entries.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One entry of the vault's log of orders. Its hash covers the one before, so that none can be taken out unnoticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedOrder {
    /// Its number, from 1 on.
    pub number: u64,
    /// When, by the vault's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// The kind of the order, or of the request that was refused.
    pub kind: String,
    /// SHA-256 of the order as it came; zero for other requests.
    pub order: [u8; 32],
    /// `None` when it was carried out, else why not.
    pub refused: Option<String>,
    /// SHA-256 over the hash before, and over this entry's other fields as they travel: [`LoggedOrder::hash_after`].
    pub hash: [u8; 32],
}

/// Why entries are not the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// An entry does not follow the one before.
    #[error("entry {number} of the log does not follow the one before: the log was changed")]
    Broken {
        /// Its number, as it says.
        number: u64,
    },
    /// The entries end before the log does, or elsewhere.
    #[error("the log ends with entry {found}, the vault says that there are {count} and another end: read it again")]
    End {
        /// The last entry's number; 0 when there is none.
        found: u64,
        /// How many there are.
        count: u64,
    },
}

impl LoggedOrder {
    /// The hash that this entry has when the entry before has the hash `previous`, which is zero before the first.
    ///
    /// It covers every field but [`LoggedOrder::hash`] itself.
    #[must_use]
    pub fn hash_after(&self, previous: &[u8; 32]) -> [u8; 32] {
        let Self { number, at_ms, kind, order, refused, hash: _ } = self;
        let said = postcard::to_allocvec(&(number, at_ms, kind, order, refused)).expect("an entry has a fixed form");
        Sha256::new_with_prefix(previous).chain_update(said).finalize().into()
    }
}

/// Checks that `entries`, in their order, are the end of a log of `count` entries whose last one has the hash `head`.
///
/// The first of them is held against nothing but what follows it, unless it is number 1: a box keeps the last entries
/// only. Whoever knows the hash before it holds it against that with [`LoggedOrder::hash_after`].
///
/// # Errors
/// [`LogError::Broken`] names the entry that was changed, or stands where another should; [`LogError::End`] when the
/// entries end elsewhere.
pub fn check_log(entries: &[LoggedOrder], count: u64, head: &[u8; 32]) -> Result<(), LogError> {
    let ends = entries.last().map_or((0, [0; 32]), |last| (last.number, last.hash));
    if ends != (count, *head) {
        return Err(LogError::End { found: ends.0, count });
    }
    let mut before = None;
    for entry in entries {
        let follows = match before {
            None if entry.number == 1 => entry.hash_after(&[0; 32]) == entry.hash,
            None => entry.number > 1,
            Some((number, hash)) => {
                Some(entry.number) == u64::checked_add(number, 1) && entry.hash_after(hash) == entry.hash
            }
        };
        if !follows {
            return Err(LogError::Broken { number: entry.number });
        }
        before = Some((entry.number, &entry.hash));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn entry() -> LoggedOrder {
        LoggedOrder { number: 1, at_ms: 2, kind: "Own".into(), order: [3; 32], refused: None, hash: [4; 32] }
    }

    fn log(len: u64) -> Vec<LoggedOrder> {
        let mut head = [0; 32];
        let entries = (1..=len).map(|number| {
            let mut entry = LoggedOrder { number, at_ms: number * 1_000, ..entry() };
            entry.hash = entry.hash_after(&head);
            head = entry.hash;
            entry
        });
        entries.collect()
    }

    #[test]
    fn the_chain_of_the_log_is_what_the_format_says() {
        let said = [[1, 2, 3].as_slice(), b"Own", &[3; 32], &[0]].concat();
        let hash: [u8; 32] = Sha256::digest([[0; 32].as_slice(), &said].concat()).into();
        assert_eq!(entry().hash_after(&[0; 32]), hash);
    }

    #[test]
    fn no_field_of_an_entry_can_be_changed() {
        let entry = entry();
        let entries = [
            entry.clone(),
            LoggedOrder { number: 2, ..entry.clone() },
            LoggedOrder { at_ms: 3, ..entry.clone() },
            LoggedOrder { kind: "Reset".into(), ..entry.clone() },
            LoggedOrder { order: [9; 32], ..entry.clone() },
            LoggedOrder { refused: Some(String::new()), ..entry.clone() },
        ];
        let mut seen: BTreeSet<_> = entries.iter().map(|entry| entry.hash_after(&[0; 32])).collect();
        seen.insert(entry.hash_after(&[1; 32]));
        assert_eq!(seen.len(), entries.len() + 1);
        let own_hash_changed = LoggedOrder { hash: [9; 32], ..entry.clone() };
        assert_eq!(own_hash_changed.hash_after(&[0; 32]), entry.hash_after(&[0; 32]));
    }

    #[test]
    fn a_whole_log_and_its_end_hold() {
        let entries = log(5);
        let head = entries[4].hash;
        for first in 0..5 {
            assert_eq!(check_log(&entries[first..], 5, &head), Ok(()), "from {first} on");
        }
        assert_eq!(check_log(&[], 0, &[0; 32]), Ok(()));
    }

    #[test]
    fn what_was_changed_left_out_added_or_turned_around_is_named() {
        let (entries, broken) = (log(5), |number| Err(LogError::Broken { number }));
        let head = entries[4].hash;
        for at in 0..5 {
            let mut changed = entries.clone();
            changed[at].at_ms ^= 1;
            assert_eq!(check_log(&changed, 5, &head), broken(at as u64 + 1));
        }
        for at in 1..4 {
            let mut shorter = entries.clone();
            shorter.remove(at);
            assert_eq!(check_log(&shorter, 5, &head), broken(at as u64 + 2));
        }
        let mut turned = entries.clone();
        turned.swap(1, 2);
        assert_eq!(check_log(&turned, 5, &head), broken(3));
        assert_eq!(check_log(&entries[..4], 5, &head), Err(LogError::End { found: 4, count: 5 }));
        assert_eq!(check_log(&entries, 6, &head), Err(LogError::End { found: 5, count: 6 }));
        assert_eq!(check_log(&entries, 5, &[0; 32]), Err(LogError::End { found: 5, count: 5 }));
        assert_eq!(check_log(&[], 5, &head), Err(LogError::End { found: 0, count: 5 }));
        let zero = [LoggedOrder { number: 0, ..entries[4].clone() }];
        assert_eq!(check_log(&zero, 0, &head), broken(0));
    }
}
