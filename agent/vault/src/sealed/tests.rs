//! A machine, its owner and its releases, for the tests of what is sealed.

use std::fs;

use holdfast_evidence::{Approval, NetworkPins, SigningKey};
use holdfast_hal::tpm::PcrIndex;
use holdfast_hal_sim::SimTpm;
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, LockHash, Root, ShareIndex, ValidatorPublic};
use holdfast_vault_client::{IdentityKey, Tier};

use super::constants::{Owner, PinnedNetwork};
use super::*;
use crate::keys::Pins;
use crate::lease::Terms;
use crate::state::StateFolder;

mod cuts;
mod foreign;
mod life;
mod policies;
pub(crate) mod watched;

const BOARD: &str = "pc";
const LEVEL: u64 = 3;
const IMAGE: [u8; 32] = [11; 32];
const NEXT_IMAGE: [u8; 32] = [12; 32];
const BOOT_STATE: [u8; 32] = [7; 32];
const NEXT_BOOT_STATE: [u8; 32] = [8; 32];
const LOCK: LockHash = LockHash([0x10; 32]);

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn authority() -> SigningKey {
    key(1)
}

fn release() -> SigningKey {
    key(2)
}

fn validator(number: u8) -> ValidatorPublic {
    ValidatorPublic([number; 48])
}

/// One box: its disk and its TPM, in an approved boot.
struct Machine {
    place: tempfile::TempDir,
    tpm: SimTpm,
}

/// What was approved, by whom ever.
#[derive(Clone, Default)]
struct Papers {
    releases: Vec<Approval>,
    firmware: Vec<Approval>,
}

/// Everything that keys hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    mac_key: [u8; 32],
    identity: Option<[u8; 32]>,
    pins: Option<Pins>,
    shares: Vec<(ValidatorPublic, [u8; 32])>,
}

/// What a start finds, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum View {
    Nothing,
    Open(Box<(Sealed, Held)>),
}

type Files = Vec<(String, Vec<u8>)>;

impl Machine {
    fn new(seed: u64) -> Self {
        let tpm = SimTpm::new(seed);
        tpm.set_pcr(PcrIndex(7), BOOT_STATE);
        tpm.set_pcr(PcrIndex(11), IMAGE);
        Self { place: tempfile::tempdir().unwrap(), tpm }
    }

    /// A box that is owned, with an identity and two shares: generations 2 and 3 of its counter.
    fn with_shares(seed: u64) -> Self {
        let machine = Self::new(seed);
        machine.own();
        machine.change(|_, keys| {
            keys.set_identity(&IdentityKey([0x5a; 32]));
            keys.take_shares(LOCK, ShareIndex(2), shares(&[1, 2]).iter().map(by_reference)).unwrap();
        });
        machine
    }

    fn disk(&self) -> StateFolder {
        StateFolder::open(self.place.path()).unwrap()
    }

    fn constants(&self) -> Constants {
        let owner = Owner { authority: authority().public(), release: release().public(), board: BOARD, tier: Tier::C };
        Constants::of_machine(&mut self.tpm.clone(), &owner).unwrap()
    }

    fn own(&self) -> Sealed {
        let keys = Keys::empty(KeyRoom::allocate().unwrap(), &[0x3c; 32]);
        Sealed::first(&self.disk(), &mut self.tpm.clone(), self.constants(), LEVEL, &keys).unwrap()
    }

    fn open_with(&self, papers: &Papers) -> Result<(Sealed, Keys), Box<Unopened>> {
        match open(&self.disk(), &mut self.tpm.clone(), &papers.approvals(), KeyRoom::allocate().unwrap())? {
            Found::Open(sealed, keys) => Ok((*sealed, keys)),
            Found::Nothing(_) => panic!("nothing is sealed"),
        }
    }

    /// The reason why it stays closed.
    fn closed(&self, papers: &Papers) -> SealError {
        self.open_with(papers).err().expect("it opened").error
    }

    fn view(&self) -> View {
        let room = KeyRoom::allocate().unwrap();
        match open(&self.disk(), &mut self.tpm.clone(), &Papers::usual().approvals(), room) {
            Ok(Found::Nothing(_)) => View::Nothing,
            Ok(Found::Open(sealed, keys)) => View::Open(Box::new((*sealed, held(&keys)))),
            Err(unopened) => panic!("neither the old nor the new: {}", unopened.error),
        }
    }

    /// Opens it, changes something and seals the next generation.
    fn change(&self, change: impl FnOnce(&mut Constants, &mut Keys)) -> Sealed {
        let (sealed, mut keys) = self.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
        let mut constants = sealed.constants.clone();
        change(&mut constants, &mut keys);
        sealed.next(&self.disk(), &mut self.tpm.clone(), constants, sealed.level, &keys, 40).unwrap()
    }

    fn files(&self) -> Files {
        let disk = self.disk();
        let names = sealed_names(&disk).unwrap();
        names.into_iter().map(|name| (name.clone(), disk.read(&name).unwrap().unwrap())).collect()
    }

    /// Puts an older copy of the disk in the place of the present one.
    fn restore(&self, files: &Files) {
        let disk = self.disk();
        remove_all_but(&disk, None).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(disk.file(name), bytes).unwrap());
    }

    /// The one sealed file.
    fn only_file(&self) -> (String, Vec<u8>) {
        let files: [(String, Vec<u8>); 1] = self.files().try_into().unwrap();
        let [file] = files;
        file
    }
}

impl Papers {
    /// The image at all levels up to the usual one, and the boot state.
    fn usual() -> Self {
        Self::of(&release(), &authority())
    }

    fn of(release: &SigningKey, authority: &SigningKey) -> Self {
        Self {
            releases: (1..=LEVEL).map(|level| Approval::of_image(release, BOARD, level, IMAGE)).collect(),
            firmware: vec![Approval::of_firmware(authority, BOOT_STATE)],
        }
    }

    fn approvals(&self) -> Approvals<'_> {
        Approvals { board: BOARD, release_key: release().public(), releases: &self.releases, firmware: &self.firmware }
    }
}

fn shares(numbers: &[u8]) -> Vec<(ValidatorPublic, [u8; 32])> {
    numbers.iter().map(|number| (validator(*number), [0xa0 + number; 32])).collect()
}

fn by_reference((validator, share): &(ValidatorPublic, [u8; 32])) -> (ValidatorPublic, &[u8; 32]) {
    (*validator, share)
}

fn held(keys: &Keys) -> Held {
    Held {
        mac_key: *keys.mac_key(),
        identity: keys.identity().map(|identity| identity.0),
        pins: keys.pins().cloned(),
        shares: keys.shares().map(|(validator, share)| (*validator, *share)).collect(),
    }
}

fn network() -> PinnedNetwork {
    let chain = ChainSpec {
        genesis_time_s: 1_000,
        genesis_validators_root: Root([7; 32]),
        genesis_fork_version: ForkVersion([0, 0, 0, 1]),
        slot_ms: 2_000,
        slots_per_epoch: 32,
        forks: vec![Fork { epoch: Epoch(0), version: ForkVersion([0, 0, 0, 1]) }],
    };
    PinnedNetwork {
        pins: NetworkPins { chain, exit_fork_version: ForkVersion([3, 0, 0, 1]) },
        terms: Terms { first_counter: 40, first_epoch: Epoch(9), epochs: 8 },
    }
}
