//! The network of a cluster: built in, or a file that whoever runs it hands out.

use std::path::Path;

use holdfast_cluster::{Network, NetworkFacts, Networks, public_networks};
use holdfast_evidence::NetworkPins;
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, Millis, Root, Slot};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::files;

/// A network that is not built in, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NetworkFile {
    /// Its name.
    pub(crate) name: String,
    /// The chain ID of its execution layer.
    pub(crate) chain_id: u64,
    /// When slot 0 begins, in seconds since 1970.
    pub(crate) genesis_time: u64,
    /// The root of the validators at genesis.
    pub(crate) genesis_validators_root: Root,
    /// The fork version at genesis.
    pub(crate) genesis_fork_version: ForkVersion,
    /// The length of a slot in milliseconds.
    pub(crate) slot_ms: u64,
    /// How many slots an epoch has.
    pub(crate) slots_per_epoch: u64,
    /// The forks, in ascending order of their epochs.
    pub(crate) forks: Vec<ForkFile>,
    /// The fork version under which exits are signed for ever: that of Capella.
    pub(crate) exit_fork_version: ForkVersion,
}

/// A fork in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ForkFile {
    /// Its first epoch.
    pub(crate) epoch: u64,
    /// Its version.
    pub(crate) version: ForkVersion,
}

/// What there is to know of networks: those that are built in, and perhaps one more.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownNetworks {
    custom: Option<NetworkFile>,
}

impl KnownNetworks {
    /// The built-in ones, and that of the file.
    pub(crate) fn with(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self::default()) };
        let bytes = files::read(path, NETWORK_BYTES_MAX)?;
        let custom: NetworkFile = serde_json::from_slice(&bytes)
            .map_err(|err| Failure::because(format!("{} describes no network", path.display()), err))?;
        custom.check()?;
        Ok(Self { custom: Some(custom) })
    }

    /// The networks that a lock is looked up in.
    pub(crate) fn for_locks(&self) -> Networks {
        self.custom.as_ref().map_or_else(Networks::public, |custom| Networks::with_custom(custom.network()))
    }

    /// Time base and forks of the network with this genesis fork version. A built-in one is never taken from a file.
    pub(crate) fn chain(&self, version: ForkVersion) -> Result<ChainSpec, Failure> {
        let built_in = built_in(version).map(|facts| facts.chain);
        let custom = self.custom.as_ref().filter(|file| file.genesis_fork_version == version).map(NetworkFile::chain);
        built_in.or(custom).ok_or_else(|| {
            Failure::unfit(format!(
                "the network with the genesis fork version {version} is not built in: describe it with --network"
            ))
        })
    }

    /// What an order pins of the network, when it is one of a file.
    pub(crate) fn pins(&self, version: ForkVersion) -> Option<NetworkPins> {
        let custom = self.custom.as_ref().filter(|file| file.genesis_fork_version == version)?;
        built_in(version)
            .is_none()
            .then(|| NetworkPins { chain: custom.chain(), exit_fork_version: custom.exit_fork_version })
    }

    /// The network of the file.
    pub(crate) const fn custom(&self) -> Option<&NetworkFile> {
        self.custom.as_ref()
    }

    /// The network of this name.
    pub(crate) fn named(&self, name: &str) -> Result<Network, Failure> {
        let facts = public_networks().find(|facts| facts.name == name);
        let network = facts.and_then(|facts| Networks::public().find(facts.chain.genesis_fork_version).cloned());
        network.ok_or_else(|| {
            let names: Vec<&str> = public_networks().map(|facts| facts.name).collect();
            Failure::usage(format!("there is no network {name:?} built in: there are {}", names.join(", ")))
        })
    }
}

impl NetworkFile {
    /// What the cluster files need to know of it.
    pub(crate) fn network(&self) -> Network {
        Network {
            name: self.name.clone().into(),
            chain_id: self.chain_id,
            genesis_fork_version: self.genesis_fork_version,
            genesis_time_s: self.genesis_time,
        }
    }

    fn chain(&self) -> ChainSpec {
        let fork = |fork: &ForkFile| Fork { epoch: Epoch(fork.epoch), version: fork.version };
        ChainSpec {
            genesis_time_s: self.genesis_time,
            genesis_validators_root: self.genesis_validators_root,
            genesis_fork_version: self.genesis_fork_version,
            slot_ms: self.slot_ms,
            slots_per_epoch: self.slots_per_epoch,
            forks: self.forks.iter().map(fork).collect(),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let wrong = if self.slot_ms == 0 || self.slots_per_epoch == 0 {
            "slotMs and slotsPerEpoch must be above 0"
        } else if self.forks.len() > FORKS_MAX {
            "it has more forks than any network"
        } else if !self.forks.is_sorted_by_key(|fork| fork.epoch) {
            "its forks must stand in ascending order of their epochs"
        } else {
            return Ok(());
        };
        Err(Failure::unfit(format!("the network {:?} cannot be: {wrong}", self.name)))
    }
}

/// The slot and the epoch at this time; the first ones before genesis.
pub(crate) fn present(chain: &ChainSpec, now: Millis) -> (Slot, Epoch) {
    let slot = chain.slot_at(now).unwrap_or_default();
    (slot, chain.epoch_of(slot))
}

fn built_in(version: ForkVersion) -> Option<NetworkFacts> {
    public_networks().find(|facts| facts.chain.genesis_fork_version == version)
}

/// A network has a few hundred bytes.
const NETWORK_BYTES_MAX: u64 = 64 << 10;
const FORKS_MAX: usize = 64;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A network that is nowhere else.
    pub(crate) fn file(version: [u8; 4]) -> NetworkFile {
        NetworkFile {
            name: "line".into(),
            chain_id: 32_382,
            genesis_time: 1_700_000_000,
            genesis_validators_root: Root([7; 32]),
            genesis_fork_version: ForkVersion(version),
            slot_ms: 6_000,
            slots_per_epoch: 8,
            forks: vec![ForkFile { epoch: 0, version: ForkVersion(version) }],
            exit_fork_version: ForkVersion([4, 0, 0, 1]),
        }
    }

    fn known(file: &NetworkFile) -> Result<KnownNetworks, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.json");
        std::fs::write(&path, serde_json::to_vec(file).unwrap()).unwrap();
        KnownNetworks::with(Some(&path))
    }

    #[test]
    fn a_network_of_a_file_is_pinned_and_a_built_in_one_never() {
        let known = known(&file([0x53, 0, 0, 1])).unwrap();
        let pins = known.pins(ForkVersion([0x53, 0, 0, 1])).unwrap();
        assert_eq!((pins.chain.slot_ms, pins.exit_fork_version), (6_000, ForkVersion([4, 0, 0, 1])));
        assert_eq!(known.pins(ForkVersion([0; 4])), None);
        let forged = super::tests::known(&file([0, 0, 0, 0])).unwrap();
        assert_eq!(forged.pins(ForkVersion([0; 4])), None, "mainnet was taken from a file");
        assert_eq!(forged.chain(ForkVersion([0; 4])).unwrap().slot_ms, 12_000);
    }

    #[test]
    fn an_unknown_network_asks_for_its_file() {
        let failure = KnownNetworks::default().chain(ForkVersion([9; 4])).unwrap_err();
        assert!(failure.told().ends_with("describe it with --network"), "{failure}");
    }

    #[test]
    fn a_network_that_cannot_be_is_refused() {
        let spoilt: [fn(&mut NetworkFile); 3] = [
            |file| file.slot_ms = 0,
            |file| file.slots_per_epoch = 0,
            |file| file.forks = vec![ForkFile { epoch: 5, ..file.forks[0] }, file.forks[0]],
        ];
        for spoil in spoilt {
            let mut file = file([9; 4]);
            spoil(&mut file);
            assert!(known(&file).is_err(), "{file:?}");
        }
    }
}
