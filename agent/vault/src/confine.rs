//! What the vault gives up: first core dumps and new privileges, then all files but its folder, and once its handles are
//! open, most system calls.
//!
//! The filter is a list of what stays, not of what goes: a call that is not named here fails with `EPERM`. Whatever a
//! library needs beyond the list so becomes an error with a name, which closes the vault, and not a dead box.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_hal::tpm::TpmKind;
use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    make_bitflags,
};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// Why the process could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A setting of the process was refused.
    #[error("cannot {setting}")]
    Setting {
        /// What was to be set.
        setting: &'static str,
        /// What the system said.
        #[source]
        err: nix::errno::Errno,
    },
    /// The kernel does not confine the process to its folder.
    #[error("cannot keep the process to {}: the kernel needs CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list", path.display())]
    Files {
        /// The state folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        err: landlock::RulesetError,
    },
    /// The state folder cannot be opened.
    #[error("cannot open {}", path.display())]
    Folder {
        /// The state folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: landlock::PathFdError,
    },
    /// The filter does not compile for this machine.
    #[error("cannot build the system call filter for {}", std::env::consts::ARCH)]
    Build(#[source] seccompiler::BackendError),
    /// The kernel does not take the filter.
    #[error("cannot apply the system call filter: the kernel needs CONFIG_SECCOMP_FILTER")]
    Apply(#[source] seccompiler::Error),
}

/// No core file, no debugger of the same user, no setuid: from the start, before there is a secret.
pub(crate) fn harden() -> Result<(), ConfineError> {
    let failed = |setting| move |err| ConfineError::Setting { setting, err };
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("forbid core dumps"))?;
    prctl::set_dumpable(false).map_err(failed("forbid tracing by the same user"))?;
    prctl::set_no_new_privs().map_err(failed("give up new privileges"))
}

/// From here on the process opens, makes, renames and removes files below `folder` only, and runs none. What is open stays
/// open. Says whether the kernel did that, as far as it knows these rights; one without Landlock does nothing of it, and
/// the unit's own confinement is then the only one.
///
/// Below `socket_folder` it may still remove files: its socket, in the end. And it may open the TPM's `device` again, when
/// the connection was lost.
pub(crate) fn keep_to(folder: &Path, socket_folder: &Path, device: Option<&Path>) -> Result<bool, ConfineError> {
    let failed = |err| ConfineError::Files { path: folder.to_owned(), err };
    let open = |path: &Path| PathFd::new(path).map_err(|err| ConfineError::Folder { path: path.to_owned(), err });
    let (state, socket) = (open(folder)?, open(socket_folder)?);
    let device = device.map(open).transpose()?.map(|device| PathBeneath::new(device, DEVICE_USED));
    let all = AccessFs::from_all(LANDLOCK);
    let kept = Ruleset::default()
        .handle_access(all)
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rule(PathBeneath::new(state, all & !AccessFs::Execute)))
        .and_then(|rules| rules.add_rule(PathBeneath::new(socket, AccessFs::RemoveFile)))
        .and_then(|rules| rules.add_rules(device.map(Ok::<_, landlock::RulesetError>)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(failed)?;
    Ok(kept.ruleset != RulesetStatus::NotEnforced)
}

/// From here on no socket is made, connected or bound, no program started, no process traced, no thread made, no memory
/// mapped executable. Connections on the listening socket are still accepted.
///
/// An emulated TPM, in the builds that have it at all, is connected to anew for every command, so it costs that promise:
/// TCP sockets may then be made and connected, though not bound.
pub(crate) fn forbid_syscalls(tpm: TpmKind) -> Result<(), ConfineError> {
    apply_filter_all_threads(&filter(tpm).map_err(ConfineError::Build)?).map_err(ConfineError::Apply)
}

fn filter(tpm: TpmKind) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let not_executable = argument(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
    rules.insert(libc::SYS_mmap, vec![not_executable.clone()]);
    rules.insert(libc::SYS_mprotect, vec![not_executable]);
    rules.insert(libc::SYS_ioctl, vec![argument(1, SeccompCmpOp::Eq, libc::FIONBIO)?]);
    // On a connected socket only: no address is given.
    rules.insert(libc::SYS_sendto, vec![argument(4, SeccompCmpOp::Eq, 0)?]);
    if cfg!(feature = "danger_emulated_tpm") && tpm == TpmKind::Emulated {
        rules.insert(libc::SYS_socket, vec![argument(0, SeccompCmpOp::Eq, libc::AF_INET as u64)?]);
        rules.insert(libc::SYS_connect, Vec::new());
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value)?])
}

/// The rights that Linux 6.2 knows; older kernels take those that they know.
const LANDLOCK: ABI = ABI::V3;
const DEVICE_USED: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile});

/// Without conditions. `openat` stays because an import writes files and SQLite opens its own; it reaches what
/// [`keep_to`] leaves: the state folder.
const ALLOWED: &[i64] = &[
    // The socket, the TPM, the signal pipe.
    libc::SYS_accept4,
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Files of the state folder, by us and by SQLite.
    libc::SYS_faccessat,
    libc::SYS_fchmod,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    // Memory, time, randomness, signals, the end.
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;
    use std::thread;

    use holdfast_types::{Epoch, SigningRoot, Slot, ValidatorPublic};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    use super::*;
    use crate::bounds::Reach;
    use crate::history::{Candidate, History};
    use crate::state::Database;
    use crate::testing::{TestBox, attestation, sign};

    /// Runs `act` in a thread of its own under the filter: it holds for one thread as for a process of one.
    fn confined<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
        let filter = filter(TpmKind::Device).unwrap();
        let confined = move || {
            seccompiler::apply_filter(&filter).unwrap();
            act()
        };
        thread::spawn(confined).join().unwrap()
    }

    fn refused<T>(done: io::Result<T>) -> bool {
        done.is_err_and(|err| err.raw_os_error() == Some(libc::EPERM))
    }

    #[test]
    fn no_socket_is_made_connected_or_bound() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let _listener = UnixListener::bind(&old).unwrap();
        let made = confined(move || {
            [
                refused(UnixStream::connect(&old)),
                refused(UnixListener::bind(&new)),
                refused(UnixStream::pair()),
                refused(TcpStream::connect("127.0.0.1:9")),
            ]
        });
        assert_eq!(made, [true; 4]);
        for family in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Netlink, AddressFamily::Unix] {
            let made = confined(move || socket(family, SockType::Stream, SockFlag::empty(), None).map(drop));
            assert_eq!(made, Err(nix::errno::Errno::EPERM), "{family:?}");
        }
    }

    #[test]
    fn a_socket_from_before_is_not_bound_or_connected() {
        let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        let done = confined(move || {
            use nix::sys::socket::{Backlog, SockaddrIn, bind, connect, listen};
            use std::os::fd::AsRawFd;
            let address = SockaddrIn::new(127, 0, 0, 1, 0);
            [
                bind(made.as_raw_fd(), &address),
                connect(made.as_raw_fd(), &address),
                listen(&made, Backlog::new(1).unwrap()),
            ]
        });
        assert_eq!(done, [Err(nix::errno::Errno::EPERM); 3]);
    }

    #[test]
    fn an_emulated_tpm_is_reached_only_in_builds_that_have_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let filter = filter(TpmKind::Emulated).unwrap();
        let confined = move || {
            seccompiler::apply_filter(&filter).unwrap();
            let bound = std::net::TcpListener::bind("127.0.0.1:0");
            (refused(TcpStream::connect(address)), refused(bound), refused(UnixStream::pair()))
        };
        let connected = !cfg!(feature = "danger_emulated_tpm");
        assert_eq!(thread::spawn(confined).join().unwrap(), (connected, true, true));
    }

    /// In a process of its own: what it gives up the other tests still need.
    #[test]
    fn a_hardened_process_cannot_be_dumped_traced_or_raised() {
        const NAME: &str = "confine::tests::a_hardened_process_cannot_be_dumped_traced_or_raised";
        const CHILD: &str = "HOLDFAST_TEST_HARDENED";
        let given_up = || {
            let cores = nix::sys::resource::getrlimit(Resource::RLIMIT_CORE).unwrap();
            (cores, prctl::get_dumpable().unwrap(), prctl::get_no_new_privs().unwrap())
        };
        if std::env::var_os(CHILD).is_some() {
            harden().unwrap();
            assert_eq!(given_up(), ((0, 0), false, true));
            return;
        }
        assert!(given_up().1, "a process is dumpable at first, or this shows nothing");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--test-threads", "1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Everything after the boot: an import, a signature, and a history whose log is moved into the database.
    #[test]
    fn a_vault_imports_signs_and_keeps_its_history() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("history.sqlite");
        let work = move || {
            let mut place = TestBox::new();
            let mut vault = place.start();
            let mut history = History::open_or_create(&Database { path: file.clone(), vfs: None }).unwrap();
            seccompiler::apply_filter(&filter(TpmKind::Device).unwrap()).unwrap();
            place.import(&mut vault);
            sign(&mut vault, attestation(100, 2)).unwrap();
            let reach = Reach { target: Epoch(100), source: Epoch(100), slot: Slot(10_000) };
            for target in 1..50 {
                let batch: Vec<_> = (0..1_000).map(|number| vote(number, target)).collect();
                assert!(history.check_and_record(&reach, &batch).unwrap().iter().all(Result::is_ok));
            }
            std::fs::metadata(&file).unwrap().len()
        };
        let len = thread::spawn(work).join().unwrap();
        assert!(len > 100_000, "the log was never moved into the database of {len} bytes");
    }

    fn vote(number: u16, target: u64) -> Candidate {
        let mut validator = ValidatorPublic::default();
        validator.0[..2].copy_from_slice(&number.to_be_bytes());
        let root = SigningRoot([1; 32]);
        Candidate::Attestation { validator, source: Epoch(0), target: Epoch(target), slot: Slot(target * 32), root }
    }

    /// What the issue of a compromised vault comes down to: it tries everything once, as the process that it is.
    #[test]
    fn under_both_filters_nothing_of_others_is_reached() {
        let place = tempfile::tempdir().unwrap();
        let (own, others) = (place.path().join("own"), place.path().join("others"));
        for folder in [&own, &others] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("file"), b"held").unwrap();
        }
        let filter = filter(TpmKind::Device).unwrap();
        let tried = move || {
            let kept = keep_to(&own, &own, Some(Path::new("/dev/null"))).unwrap();
            seccompiler::apply_filter(&filter).unwrap();
            let denied = |done: io::Result<()>| done.is_err_and(|err| err.kind() == io::ErrorKind::PermissionDenied);
            #[expect(unsafe_code, reason = "there is no safe way to ask for what must be refused")]
            // SAFETY: the call is refused; were it not, it would attach to no process of ours.
            let traced = nix::errno::Errno::result(unsafe { libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0) });
            assert_eq!(std::fs::read(own.join("file")).unwrap(), b"held");
            std::fs::write(own.join("new"), b"ours").unwrap();
            std::fs::write("/dev/null", b"to the device").unwrap();
            let outcomes = [
                denied(std::fs::read(others.join("file")).map(drop)),
                denied(std::fs::write(others.join("new"), b"ours")),
                denied(std::fs::rename(own.join("new"), others.join("new"))),
                denied(std::fs::remove_file(others.join("file"))),
                denied(std::fs::read("/etc/passwd").map(drop)),
                denied(std::fs::read("/proc/1/environ").map(drop)),
                refused(UnixStream::pair()),
                refused(Command::new("/bin/true").spawn()),
                traced == Err(nix::errno::Errno::EPERM),
            ];
            (kept, outcomes)
        };
        let (kept, outcomes) = thread::spawn(tried).join().unwrap();
        assert!(
            kept,
            "this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, lsm=landlock): the test would prove nothing"
        );
        assert_eq!(outcomes, [true; 9]);
    }

    #[test]
    fn no_program_is_started_and_no_thread_made() {
        assert!(confined(|| refused(Command::new("/bin/true").spawn())));
        assert!(confined(|| refused(thread::Builder::new().spawn(|| ()))));
    }

    #[test]
    fn memory_does_not_become_executable() {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
        let mapped = confined(|| {
            let (len, prot) = (std::num::NonZeroUsize::MIN, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC);
            #[expect(unsafe_code, reason = "there is no safe way to ask for the mapping that must be refused")]
            // SAFETY: the kernel picks the address, and the mapping, if there were one, is never used.
            unsafe { mmap_anonymous(None, len, prot, MapFlags::MAP_PRIVATE) }.map(drop)
        });
        assert_eq!(mapped, Err(nix::errno::Errno::EPERM));
    }

    #[test]
    fn open_connections_and_files_still_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"ask").unwrap();
        let file = folder.path().join("file");
        let heard = confined(move || {
            let (mut served, _) = listener.accept().unwrap();
            served.set_nonblocking(true).unwrap();
            let mut heard = [0; 3];
            served.read_exact(&mut heard).unwrap();
            served.write_all(b"yes").unwrap();
            std::fs::write(&file, heard).unwrap();
            std::fs::read(&file).unwrap()
        });
        assert_eq!(heard, b"ask");
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"yes");
    }
}
