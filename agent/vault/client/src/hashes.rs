//! The hashes that the vault makes and that whoever reads its answers makes again: what a quote qualifies, and the chain
//! of the log of orders.

use sha2::{Digest, Sha256};

use crate::message::{EvidenceBody, EvidenceKind, LoggedOrder};

impl EvidenceBody {
    /// The qualifying data of the quote, as [`Evidence`](crate::Evidence) says.
    #[must_use]
    pub fn qualifying(&self, kind: EvidenceKind, nonce: &[u8; 32]) -> [u8; 32] {
        let kind = match kind {
            EvidenceKind::Boot => 0u8,
            EvidenceKind::ImportKey => 1,
        };
        let body = postcard::to_allocvec(self).expect("a body has a fixed form");
        let hash = Sha256::new_with_prefix(b"holdfast evidence 1").chain_update([kind]).chain_update(body);
        hash.chain_update(nonce).finalize().into()
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_types::{BoxName, ImportKey, P256Public};

    use super::*;
    use crate::message::Tier;
    use crate::samples;

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        Sha256::digest(parts.concat()).into()
    }

    #[test]
    fn what_a_quote_qualifies_is_what_the_format_says() {
        let body = [[32].as_slice(), &[2; 32], &[5], b"1.2.3", &[0, 0, 0]].concat();
        let expected = |kind| sha256(&[b"holdfast evidence 1", &[kind], &body, &[9; 32]]);
        let says = samples::evidence_body();
        assert_eq!(says.qualifying(EvidenceKind::Boot, &[9; 32]), expected(0));
        assert_eq!(says.qualifying(EvidenceKind::ImportKey, &[9; 32]), expected(1));
    }

    #[test]
    fn nothing_of_an_evidence_can_be_changed() {
        let body = samples::evidence_body();
        let bodies = [
            EvidenceBody { box_name: BoxName([3; 32]), ..body.clone() },
            EvidenceBody { version: "1.2.4".into(), ..body.clone() },
            EvidenceBody { tier: Tier::B, ..body.clone() },
            EvidenceBody { authority: Some(P256Public([1; 33])), ..body.clone() },
            EvidenceBody { import_key: Some(ImportKey([1; 32])), ..body.clone() },
        ];
        let mut seen: BTreeSet<_> = bodies.iter().map(|body| body.qualifying(EvidenceKind::Boot, &[9; 32])).collect();
        seen.insert(body.qualifying(EvidenceKind::Boot, &[9; 32]));
        seen.insert(body.qualifying(EvidenceKind::ImportKey, &[9; 32]));
        seen.insert(body.qualifying(EvidenceKind::Boot, &[8; 32]));
        assert_eq!(seen.len(), bodies.len() + 3);
    }

    #[test]
    fn the_chain_of_the_log_is_what_the_format_says() {
        let entry = samples::logged();
        let said = [[1, 2, 3].as_slice(), b"Own", &[3; 32], &[0]].concat();
        assert_eq!(entry.hash_after(&[0; 32]), sha256(&[&[0; 32], &said]));
    }

    #[test]
    fn no_entry_can_be_changed_or_taken_out() {
        let entry = samples::logged();
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
}
