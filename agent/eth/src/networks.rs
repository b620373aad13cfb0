//! The public networks: the facts that signatures depend on, built in so that nobody has to be asked for them.
//!
//! Private networks are not here; their facts come from whoever runs them. A fork that was scheduled after the release
//! is not here either: a release is needed before it begins.
//!
//! Each number was read in two places that do not copy from one another: the network's own registry (eth-clients/mainnet,
//! eth-clients/hoodi and eth-clients/sepolia, `metadata/config.yaml`; gnosischain/configs, `mainnet/config.yaml` and
//! `chiado/config.yaml`) and the tables of two clients (`@lodestar/config` 1.46.0, `chainConfig/networks` and `networks`;
//! Nethermind, `Nethermind.BeaconChain/Spec/BeaconChainSpec`). Where the copy of a registry was older than a fork, both
//! clients have it; Gloas of Sepolia is in its registry and in Nethermind. Slots per epoch are those of the presets `mainnet` and `gnosis`.

use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, Root};

/// What one network fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Its name, as clients take it.
    pub name: &'static str,
    /// Time base, genesis and forks.
    pub chain: ChainSpec,
    /// The fork version under which exits are signed for ever: that of Capella (EIP-7044).
    pub exit_fork_version: ForkVersion,
}

/// The public network whose genesis has this fork version.
#[must_use]
pub fn public(genesis_fork_version: ForkVersion) -> Option<NetworkFacts> {
    all().find(|network| network.chain.genesis_fork_version == genesis_fork_version)
}

/// Every public network.
pub fn all() -> impl Iterator<Item = NetworkFacts> {
    PUBLIC.iter().map(Public::facts)
}

/// A network as the table has it.
struct Public {
    name: &'static str,
    genesis_time_s: u64,
    genesis_validators_root: [u8; 32],
    slot_ms: u64,
    slots_per_epoch: u64,
    /// Phase 0, Altair, Bellatrix, Capella, Deneb, Electra, Fulu, and Gloas where it is scheduled.
    forks: &'static [(u64, [u8; 4])],
}

impl Public {
    fn facts(&self) -> NetworkFacts {
        let fork = |(epoch, version): &(u64, [u8; 4])| Fork { epoch: Epoch(*epoch), version: ForkVersion(*version) };
        NetworkFacts {
            name: self.name,
            chain: ChainSpec {
                genesis_time_s: self.genesis_time_s,
                genesis_validators_root: Root(self.genesis_validators_root),
                genesis_fork_version: ForkVersion(self.forks[0].1),
                slot_ms: self.slot_ms,
                slots_per_epoch: self.slots_per_epoch,
                forks: self.forks.iter().map(fork).collect(),
            },
            exit_fork_version: ForkVersion(self.forks[CAPELLA].1),
        }
    }
}

/// The bytes of 64 hex digits; anything else does not compile.
const fn root(text: &str) -> [u8; 32] {
    let digits = text.as_bytes();
    assert!(digits.len() == 64, "a root has 64 digits");
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 64 {
        let digit = match digits[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("a root is written in lower-case hex"),
        };
        bytes[at / 2] = bytes[at / 2] << 4 | digit;
        at += 1;
    }
    bytes
}

/// Where the forks of every network have Capella.
const CAPELLA: usize = 3;

const PUBLIC: [Public; 5] = [
    Public {
        name: "mainnet",
        genesis_time_s: 1_606_824_023,
        genesis_validators_root: root("4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"),
        slot_ms: 12_000,
        slots_per_epoch: 32,
        forks: &[
            (0, [0x00, 0x00, 0x00, 0x00]),
            (74_240, [0x01, 0x00, 0x00, 0x00]),
            (144_896, [0x02, 0x00, 0x00, 0x00]),
            (194_048, [0x03, 0x00, 0x00, 0x00]),
            (269_568, [0x04, 0x00, 0x00, 0x00]),
            (364_032, [0x05, 0x00, 0x00, 0x00]),
            (411_392, [0x06, 0x00, 0x00, 0x00]),
        ],
    },
    Public {
        name: "hoodi",
        genesis_time_s: 1_742_213_400,
        genesis_validators_root: root("212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f"),
        slot_ms: 12_000,
        slots_per_epoch: 32,
        forks: &[
            (0, [0x10, 0x00, 0x09, 0x10]),
            (0, [0x20, 0x00, 0x09, 0x10]),
            (0, [0x30, 0x00, 0x09, 0x10]),
            (0, [0x40, 0x00, 0x09, 0x10]),
            (0, [0x50, 0x00, 0x09, 0x10]),
            (2_048, [0x60, 0x00, 0x09, 0x10]),
            (50_688, [0x70, 0x00, 0x09, 0x10]),
        ],
    },
    Public {
        name: "sepolia",
        genesis_time_s: 1_655_733_600,
        genesis_validators_root: root("d8ea171f3c94aea21ebc42a1ed61052acf3f9209c00e4efbaaddac09ed9b8078"),
        slot_ms: 12_000,
        slots_per_epoch: 32,
        forks: &[
            (0, [0x90, 0x00, 0x00, 0x69]),
            (50, [0x90, 0x00, 0x00, 0x70]),
            (100, [0x90, 0x00, 0x00, 0x71]),
            (56_832, [0x90, 0x00, 0x00, 0x72]),
            (132_608, [0x90, 0x00, 0x00, 0x73]),
            (222_464, [0x90, 0x00, 0x00, 0x74]),
            (272_640, [0x90, 0x00, 0x00, 0x75]),
            (353_024, [0x90, 0x00, 0x00, 0x76]),
        ],
    },
    Public {
        name: "gnosis",
        genesis_time_s: 1_638_993_340,
        genesis_validators_root: root("f5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47"),
        slot_ms: 5_000,
        slots_per_epoch: 16,
        forks: &[
            (0, [0x00, 0x00, 0x00, 0x64]),
            (512, [0x01, 0x00, 0x00, 0x64]),
            (385_536, [0x02, 0x00, 0x00, 0x64]),
            (648_704, [0x03, 0x00, 0x00, 0x64]),
            (889_856, [0x04, 0x00, 0x00, 0x64]),
            (1_337_856, [0x05, 0x00, 0x00, 0x64]),
            (1_714_688, [0x06, 0x00, 0x00, 0x64]),
        ],
    },
    Public {
        name: "chiado",
        genesis_time_s: 1_665_396_300,
        genesis_validators_root: root("9d642dac73058fbf39c0ae41ab1e34e4d889043cb199851ded7095bc99eb4c1e"),
        slot_ms: 5_000,
        slots_per_epoch: 16,
        forks: &[
            (0, [0x00, 0x00, 0x00, 0x6f]),
            (90, [0x01, 0x00, 0x00, 0x6f]),
            (180, [0x02, 0x00, 0x00, 0x6f]),
            (244_224, [0x03, 0x00, 0x00, 0x6f]),
            (516_608, [0x04, 0x00, 0x00, 0x6f]),
            (948_224, [0x05, 0x00, 0x00, 0x6f]),
            (1_353_216, [0x06, 0x00, 0x00, 0x6f]),
        ],
    },
];

#[cfg(test)]
mod tests {
    use holdfast_types::{Millis, Slot};

    use super::*;
    use crate::domain::{DomainType, domain};

    /// `compute_fork_digest` until Electra: the first bytes of the fork data's root, which every domain has as well.
    fn digest(network: &NetworkFacts, fork: usize) -> String {
        let version = network.chain.forks[fork].version;
        hex::encode(&domain(DomainType::BeaconProposer, version, network.chain.genesis_validators_root)[4..8])
    }

    fn by_name(name: &str) -> NetworkFacts {
        all().find(|network| network.name == name).unwrap()
    }

    /// Digests that were seen on the networks: in the topics and node records of mainnet, in the `eth2` entries of the boot
    /// nodes that the registries list, and in published domains of Sepolia.
    #[test]
    fn fork_digests_are_those_seen_on_the_networks() {
        let seen = [
            ("mainnet", 0, "b5303f2a"),
            ("mainnet", 1, "afcaaba0"),
            ("mainnet", 2, "4a26c58b"),
            ("mainnet", 3, "bba4da96"),
            ("mainnet", 4, "6a95a1a9"),
            ("mainnet", 5, "ad532ceb"),
            ("hoodi", 0, "5df5c106"),
            ("hoodi", 4, "d2f1997f"),
            ("sepolia", 0, "a8fee8ee"),
            ("sepolia", 2, "36fa5013"),
            ("sepolia", 3, "47eb72b3"),
            ("sepolia", 4, "d31f6191"),
            ("sepolia", 5, "14045b5a"),
            ("gnosis", 2, "824be431"),
            ("gnosis", 3, "21a6f836"),
            ("gnosis", 4, "3ebfd484"),
            ("chiado", 2, "31367043"),
            ("chiado", 4, "9d33b675"),
        ];
        for (name, fork, expected) in seen {
            assert_eq!(digest(&by_name(name), fork), expected, "{name}, fork {fork}");
        }
    }

    #[test]
    fn forks_begin_when_their_announcements_say() {
        let announced = [
            ("mainnet", 5, 1_746_612_311), // 2025-05-07T10:05:11Z.
            ("mainnet", 6, 1_764_798_551), // 2025-12-03T21:49:11Z.
            ("hoodi", 5, 1_742_999_832),   // The execution layer's Prague time.
            ("sepolia", 7, 1_791_294_816), // 2026-10-06T13:53:36Z.
            ("gnosis", 4, 1_710_181_820),  // 2024-03-11T18:30:20Z.
            ("gnosis", 5, 1_746_021_820),  // 2025-04-30T14:03:40Z.
            ("gnosis", 6, 1_776_168_380),  // 2026-04-14T12:06:20Z.
            ("chiado", 4, 1_706_724_940),  // 2024-01-31T18:15:40Z.
            ("chiado", 6, 1_773_653_580),  // 2026-03-16T09:33:00Z.
        ];
        for (name, fork, expected_s) in announced {
            let chain = by_name(name).chain;
            let start = chain.slot_start(chain.first_slot(chain.forks[fork].epoch));
            assert_eq!(start, Millis(expected_s * 1_000), "{name}, fork {fork}");
        }
    }

    #[test]
    fn each_network_is_found_by_its_genesis_version_and_stands_alone() {
        for network in all() {
            assert_eq!(public(network.chain.genesis_fork_version).as_ref(), Some(&network));
            let others = || all().filter(|other| other.name != network.name);
            let versions =
                |network: &NetworkFacts| network.chain.forks.iter().map(|fork| fork.version).collect::<Vec<_>>();
            for other in others() {
                assert_ne!(other.chain.genesis_validators_root, network.chain.genesis_validators_root);
                assert!(versions(&other).iter().all(|version| !versions(&network).contains(version)));
            }
        }
        assert_eq!(public(ForkVersion([0x00, 0x00, 0x10, 0x20])), None);
    }

    #[test]
    fn every_fork_follows_from_the_table() {
        for NetworkFacts { name, chain, exit_fork_version } in all() {
            assert!(chain.forks.is_sorted_by_key(|fork| fork.epoch), "{name}");
            assert_eq!(chain.forks[0].epoch, Epoch(0), "{name}");
            assert_eq!(exit_fork_version, chain.forks[3].version, "{name}");
            let last = chain.forks.last().unwrap();
            assert_eq!(chain.fork_version_at(last.epoch), last.version, "{name}");
            assert_eq!(chain.slot_at(chain.slot_start(Slot(1))), Some(Slot(1)), "{name}");
        }
        let hoodi = by_name("hoodi");
        assert_eq!(hoodi.chain.fork_version_at(Epoch(0)), hoodi.chain.forks[4].version, "Deneb from genesis on");
    }
}
