//! The start of the process: a named list. Everything that needs a privilege is opened first, then what it guards.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use holdfast_hal::tpm::{Tpm, TpmError, TpmKind};
use holdfast_hal_tpm::EsapiTpm;
use holdfast_vault_client::{Request, Response, Tier};

use crate::clock::SystemClock;
use crate::confine::{self, ConfineError};
use crate::image::{ImageError, release};
use crate::server::{Server, ServerError, Service};
use crate::state::{StateError, StateFolder};
use crate::tier::Machine;
use crate::vault::{OpenError, Release, Upkeep, Vault};

/// Where the vault lives and whom it answers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state folder.
    pub state: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// The TPM's address.
    pub tpm: String,
    /// The only user that is answered.
    pub allowed_uid: u32,
    /// The file with the key that approves images.
    pub release_key: PathBuf,
    /// The file with the approvals of this image.
    pub release_approvals: PathBuf,
    /// The kind of board.
    pub board: String,
    /// Whether a machine is accepted on which the seal means nothing.
    pub tier_c: bool,
    /// The length of a lease in epochs.
    pub lease_epochs: u64,
}

/// How the TPM is reached.
pub type OpenTpm = Box<dyn FnOnce() -> Result<Box<dyn Tpm>, TpmError>>;

/// Reaches the TPM at an address.
#[must_use]
pub fn tpm_at(address: String) -> OpenTpm {
    Box::new(move || accepted(Box::new(EsapiTpm::open(&address)?), address))
}

/// Another crate of one build may switch the emulated TPM on in the shared `hal/tpm`; only the vault's own feature counts.
fn accepted(tpm: Box<dyn Tpm>, address: String) -> Result<Box<dyn Tpm>, TpmError> {
    let emulated = tpm.kind() == TpmKind::Emulated;
    if emulated && !cfg!(feature = "danger_emulated_tpm") { Err(TpmError::Emulated { address }) } else { Ok(tpm) }
}

/// Why the vault does not start. What only keeps it from signing does not keep it from starting.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The process cannot be confined.
    #[error("cannot confine the process")]
    Confine(#[from] ConfineError),
    /// There is no vault.
    #[error(transparent)]
    Vault(#[from] OpenError),
    /// The files of the image cannot be used.
    #[error("cannot use the files of the image")]
    Image(#[from] ImageError),
    /// The seal would mean nothing.
    #[error("this machine is of tier C ({reason}): shares are not safe on it; for trials give --danger-tier-c")]
    TierC {
        /// Why.
        reason: String,
    },
    /// The socket cannot be served.
    #[error("cannot serve the socket")]
    Server(#[from] ServerError),
    /// The state folder cannot be used.
    #[error("cannot use the state folder")]
    State(#[from] StateError),
    /// The service manager is not told.
    #[error("cannot tell the service manager that the keys were read")]
    Notify(#[source] io::Error),
    /// The TPM is not there.
    #[error("cannot use the TPM: check --tpm, and that the vault's user may open it")]
    Tpm(#[from] TpmError),
}

/// A vault that is ready to serve.
pub struct Booted {
    /// The vault.
    pub vault: Vault,
    /// Its socket.
    pub server: Server,
}

impl Service for Vault {
    fn answer(&mut self, request: Request) -> Response {
        Vault::answer(self, request)
    }

    fn maintain(&mut self) -> Upkeep {
        Vault::maintain(self)
    }
}

/// Runs the whole list.
///
/// # Errors
/// When a step fails; nothing is served then.
pub fn boot(options: Options, open_tpm: OpenTpm) -> Result<Booted, BootError> {
    run(BOOT, options, open_tpm)
}

const BOOT: &[Phase] = &[
    Phase { name: "handles", steps: &[harden, open_state, open_tpm, read_image, open_socket] },
    Phase { name: "trust", steps: &[unseal_and_load_history, tell_opened, keep_to_the_folder, forbid_syscalls] },
];

struct Phase {
    name: &'static str,
    steps: &'static [Step],
}

type Step = fn(&mut Bench) -> Result<(), BootError>;

/// What the steps have laid out so far.
struct Bench {
    options: Options,
    open_tpm: Option<OpenTpm>,
    state: Option<StateFolder>,
    tpm: Option<Box<dyn Tpm>>,
    image: Option<(Release, Machine)>,
    server: Option<Server>,
    vault: Option<Vault>,
}

fn run(phases: &[Phase], options: Options, open_tpm: OpenTpm) -> Result<Booted, BootError> {
    let mut bench =
        Bench { options, open_tpm: Some(open_tpm), state: None, tpm: None, image: None, server: None, vault: None };
    for phase in phases {
        tracing::debug!(phase = phase.name, "boot");
        phase.steps.iter().try_for_each(|step| step(&mut bench))?;
    }
    Ok(Booted { vault: bench.vault.expect(IN_ORDER), server: bench.server.expect(IN_ORDER) })
}

fn harden(_: &mut Bench) -> Result<(), BootError> {
    Ok(confine::harden()?)
}

fn open_state(bench: &mut Bench) -> Result<(), BootError> {
    bench.state = Some(StateFolder::open(&bench.options.state)?);
    Ok(())
}

fn open_tpm(bench: &mut Bench) -> Result<(), BootError> {
    let open = bench.open_tpm.take().expect(IN_ORDER);
    let tpm = open()?;
    if tpm.kind() == TpmKind::Emulated {
        tracing::warn!("the TPM is emulated: the seal means nothing, for tests and trials only");
    }
    bench.tpm = Some(tpm);
    Ok(())
}

/// What the image says of itself, and what the machine is worth.
fn read_image(bench: &mut Bench) -> Result<(), BootError> {
    let tpm = bench.tpm.as_mut().expect(IN_ORDER);
    let machine = Machine::look(Path::new("/"), tpm.as_mut())?;
    if machine.tier == Tier::C && !bench.options.tier_c {
        return Err(BootError::TierC { reason: machine.reason });
    }
    bench.image = Some((release(&bench.options)?, machine));
    Ok(())
}

fn open_socket(bench: &mut Bench) -> Result<(), BootError> {
    bench.server = Some(Server::listen(&bench.options.socket, bench.options.allowed_uid)?);
    Ok(())
}

fn unseal_and_load_history(bench: &mut Bench) -> Result<(), BootError> {
    let state = bench.state.take().expect(IN_ORDER);
    let tpm = bench.tpm.take().expect(IN_ORDER);
    let (release, machine) = bench.image.take().expect(IN_ORDER);
    let clock = Box::new(SystemClock::start());
    bench.vault = Some(Vault::open(Box::new(state), tpm, clock, release, machine)?);
    Ok(())
}

/// The boot waits for this before it closes the phase in which the keys open.
fn tell_opened(_: &mut Bench) -> Result<(), BootError> {
    let Some(to) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    notify(Path::new(&to)).map_err(BootError::Notify)
}

/// As `sd_notify(3)` does for a socket with a path, which is what systemd gives to services.
fn notify(to: &Path) -> io::Result<()> {
    let sent = UnixDatagram::unbound()?.send_to(READY, to)?;
    if sent == READY.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn keep_to_the_folder(bench: &mut Bench) -> Result<(), BootError> {
    let socket_folder = bench.options.socket.parent().filter(|parent| !parent.as_os_str().is_empty());
    let device = bench.options.tpm.strip_prefix("device:").map(Path::new);
    if !confine::keep_to(&bench.options.state, socket_folder.unwrap_or(Path::new(".")), device)? {
        tracing::warn!("the kernel has no Landlock: only the unit keeps the vault to its folder");
    }
    Ok(())
}

fn forbid_syscalls(bench: &mut Bench) -> Result<(), BootError> {
    let vault = bench.vault.as_ref().expect(IN_ORDER);
    Ok(confine::forbid_syscalls(vault.tpm_kind())?)
}

/// A lease on mainnet lasts 51 minutes: a power cut costs so much at most, and the TPM's memory outlives the box.
pub const LEASE_EPOCHS: u64 = 8;
const READY: &[u8] = b"READY=1";
const IN_ORDER: &str = "an earlier step of the list has laid it out";

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use holdfast_evidence::HistoryClaim;
    use holdfast_hal_sim::SimTpm;
    use holdfast_test_operator::{Operator, ReleaseFiles};
    use holdfast_vault_client::{AttestationToSign, Client, ClosedId, SigningRefused};

    use super::*;
    use crate::clock::Clock;
    use crate::server::Ended;
    use crate::testing::{VALIDATOR, attestation, chain, network, shares};

    /// The list without what would confine the other tests of this process too.
    const UNCONFINED: &[Phase] = &[
        Phase { name: "handles", steps: &[open_state, open_tpm, read_image, open_socket] },
        Phase { name: "trust", steps: &[unseal_and_load_history] },
    ];

    #[test]
    fn the_list_leaves_nothing_out() {
        let steps: Vec<usize> = BOOT.iter().map(|phase| phase.steps.len()).collect();
        assert_eq!(steps, [5, 4], "a step was added: does the test's own list need it too?");
    }

    fn options(place: &Path) -> Options {
        let files = ReleaseFiles::write(place, "test", 1..=1, [0; 32]).unwrap();
        Options {
            state: place.join("state"),
            socket: place.join("vault.sock"),
            tpm: "device:/dev/tpmrm0".into(),
            allowed_uid: nix::unistd::geteuid().as_raw(),
            release_key: files.key,
            release_approvals: files.approvals,
            board: "test".into(),
            tier_c: true,
            lease_epochs: LEASE_EPOCHS,
        }
    }

    /// Boots a vault in a thread, with a test as its client.
    fn booted(test: impl FnOnce(&mut Client)) {
        let place = tempfile::tempdir().unwrap();
        let options = options(place.path());
        let socket = options.socket.clone();
        let (stopped, stop) = io::pipe().unwrap();
        let (ready, booted) = std::sync::mpsc::sync_channel(1);
        let serving = std::thread::spawn(move || {
            let tpm: OpenTpm = Box::new(|| Ok(Box::new(SimTpm::new(1))));
            let Booted { mut vault, server } = run(UNCONFINED, options, tpm).unwrap();
            ready.send(()).unwrap();
            assert_eq!(server.serve(stopped.as_fd(), &mut vault).unwrap(), Ended::Asked);
            drop(server);
            vault.stop().unwrap();
        });
        booted.recv().unwrap();
        test(&mut Client::connect(&socket).unwrap());
        drop(stop);
        serving.join().unwrap();
        assert!(!socket.exists());
    }

    #[test]
    fn a_booted_vault_serves_until_it_is_stopped() {
        booted(|client| {
            let status = client.status().unwrap();
            assert_eq!(status.closed.map(|closed| closed.id), Some(ClosedId::NotOwned));
            assert_eq!(status.tier, Tier::C);
        });
    }

    #[test]
    fn shares_come_in_by_orders_and_signatures_go_out() {
        let now = SystemClock::start().now();
        let slot = chain().slot_at(now).unwrap();
        let epoch = chain().epoch_of(slot);
        booted(|client| {
            let mut operator = Operator::from_seed(1);
            operator.own(client).unwrap();
            operator.set_network(client, network(), epoch).unwrap();
            operator.import(client, &shares(epoch, HistoryClaim::NeverSigned)).unwrap();
            let status = client.status().unwrap();
            assert_eq!((status.validators, status.closed), (vec![VALIDATOR], None));
            let early = AttestationToSign { validator: VALIDATOR, data: attestation(slot.0, epoch.0 - 1) };
            let mut late = early;
            late.data.slot.0 = u64::MAX;
            let answers = client.sign_attestations(vec![early, late]).unwrap();
            assert!(answers[0].is_ok(), "{:?}", answers[0]);
            assert!(matches!(answers[1], Err(SigningRefused::OutOfRange { .. })));
        });
    }

    #[test]
    fn a_machine_of_tier_c_needs_the_flag() {
        let place = tempfile::tempdir().unwrap();
        let options = Options { tier_c: false, ..options(place.path()) };
        let tpm: OpenTpm = Box::new(|| Ok(Box::new(SimTpm::new(1))));
        let error = run(UNCONFINED, options, tpm).err().unwrap();
        assert!(error.to_string().contains("--danger-tier-c"), "{error}");
    }

    #[test]
    fn an_emulated_tpm_is_accepted_by_the_vaults_own_feature_only() {
        let accepted = accepted(Box::new(SimTpm::new(1)), "swtpm:host=127.0.0.1,port=1".into());
        assert_eq!(accepted.is_ok(), cfg!(feature = "danger_emulated_tpm"));
    }

    #[test]
    fn the_service_manager_is_told_once_the_keys_were_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        assert!(notify(&path).is_err());
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(&path).unwrap();
        let mut heard = [0; 64];
        let len = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..len], b"READY=1");
    }

    fn fail(bench: &mut Bench) -> Result<(), BootError> {
        assert!(bench.options.socket.exists());
        Err(BootError::TierC { reason: "the test ends the start here".into() })
    }

    #[test]
    fn a_start_that_fails_late_leaves_no_socket() {
        let place = tempfile::tempdir().unwrap();
        let options = options(place.path());
        let socket = options.socket.clone();
        let phases = [Phase { name: "handles", steps: &[open_state, open_tpm, read_image, open_socket, fail] }];
        assert!(run(&phases, options, Box::new(|| Ok(Box::new(SimTpm::new(1))))).is_err());
        assert!(!socket.exists());
    }

    #[test]
    fn a_tpm_that_is_not_there_is_named() {
        let place = tempfile::tempdir().unwrap();
        let options = options(place.path());
        let tpm: OpenTpm = Box::new(|| {
            Err(TpmError::Unreachable { address: "device:/dev/tpmrm0".into(), err: "no such file".into() })
        });
        let error = run(UNCONFINED, options, tpm).err().unwrap();
        assert_eq!(
            crate::vault::in_full(&error),
            "cannot use the TPM: check --tpm, and that the vault's user may open it: \
             cannot reach the TPM at device:/dev/tpmrm0: no such file"
        );
    }
}
