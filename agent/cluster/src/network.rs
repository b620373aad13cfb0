//! The networks that a definition may name by their genesis fork version (`cluster-files.md` section 6).

use std::borrow::Cow;

use holdfast_types::ForkVersion;

/// What the cluster files need to know of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name, in deposit files.
    pub name: Cow<'static, str>,
    /// The chain id of its execution layer, part of what operators sign.
    pub chain_id: u64,
    /// The fork version at genesis, which names the network in a definition.
    pub genesis_fork_version: ForkVersion,
    /// The Unix time of slot 0 in seconds, the time of new builder registrations.
    pub genesis_time_s: u64,
}

/// The networks that a lock is looked up in: the public ones, and one that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// The public networks only.
    #[must_use]
    pub fn public() -> Self {
        let network = |(name, chain_id, version, genesis_time_s)| Network {
            name: Cow::Borrowed(name),
            chain_id,
            genesis_fork_version: ForkVersion(version),
            genesis_time_s,
        };
        Self(PUBLIC.map(network).to_vec())
    }

    /// The public networks and a custom one, which is found after them.
    #[must_use]
    pub fn with_custom(custom: Network) -> Self {
        let mut networks = Self::public();
        networks.0.push(custom);
        networks
    }

    /// The network with this genesis fork version.
    #[must_use]
    pub fn find(&self, genesis_fork_version: ForkVersion) -> Option<&Network> {
        self.0.iter().find(|network| network.genesis_fork_version == genesis_fork_version)
    }
}

impl Network {
    /// Whether keys guard money there, so that insecure keystores and the zero address are refused.
    pub(crate) fn has_value(&self) -> bool {
        [1, 100].contains(&self.chain_id)
    }
}

const PUBLIC: [(&str, u64, [u8; 4], u64); 6] = [
    ("mainnet", 1, [0x00, 0x00, 0x00, 0x00], 1_606_824_023),
    ("goerli", 5, [0x00, 0x00, 0x10, 0x20], 1_616_508_000),
    ("gnosis", 100, [0x00, 0x00, 0x00, 0x64], 1_638_993_340),
    ("chiado", 10_200, [0x00, 0x00, 0x00, 0x6f], 1_665_396_300),
    ("sepolia", 11_155_111, [0x90, 0x00, 0x00, 0x69], 1_655_733_600),
    ("hoodi", 560_048, [0x10, 0x00, 0x09, 0x10], 1_742_213_400),
];
