//! The protocols between nodes: their IDs and how long a frame may be (`cluster-wire.md` sections 2.2 and 2.4).

/// A protocol that nodes speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Consensus; one message, no answer.
    Qbft,
    /// Partial signatures; one message, no answer.
    ParSigEx,
    /// What a node is; a request and its answer.
    PeerInfo,
    /// What a node prefers; a request and its answer.
    Priority,
}

impl Protocol {
    /// All of them, in the order in which they are announced.
    pub const ALL: [Self; 4] = [Self::Qbft, Self::ParSigEx, Self::PeerInfo, Self::Priority];

    /// The ID in the negotiation of a stream.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Qbft => "/charon/consensus/qbft/2.0.0",
            Self::ParSigEx => "/charon/parsigex/2.0.0",
            Self::PeerInfo => "/charon/peerinfo/2.0.0",
            Self::Priority => "/charon/priority/2.0.0",
        }
    }

    /// The protocol of an ID.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.id() == id)
    }

    /// Whether the listener answers.
    #[must_use]
    pub const fn has_answer(self) -> bool {
        matches!(self, Self::PeerInfo | Self::Priority)
    }

    /// The longest frame that is read, in bytes, without its length.
    ///
    /// The reference reads up to 128 MiB of partial signatures and priorities and 1 MiB of peer info. No honest frame
    /// comes near these, so they are tighter here.
    #[must_use]
    pub const fn frame_len_max(self) -> usize {
        match self {
            // The reference's own limit: a block of at most 10 MiB (the gossip limit) with its blobs, and room for the
            // second value that a change of rounds may carry.
            Self::Qbft => 32 << 20,
            // A signed block of at most 10 MiB with 40 blobs of 131 072 bytes, their cell proofs included.
            Self::ParSigEx => 16 << 20,
            // About 100 bytes are sent; no field is longer than a few dozen bytes.
            Self::PeerInfo => 64 << 10,
            // About 1.5 KB are sent; a topic may list at most 999 priorities.
            Self::Priority => 256 << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_protocol() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_id(protocol.id()), Some(protocol));
        }
        assert_eq!(Protocol::from_id("/charon/foo/1.0.0"), None);
        assert_eq!(Protocol::from_id("charon/priority/2.0.0"), None);
    }
}
