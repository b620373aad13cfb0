//! What the helper gives up before it listens, beside what its unit takes away: every system call but the few that answer a
//! request. Of signals it can send one, to process 1.

use std::collections::BTreeMap;

use holdfast_hal_linux::restart::{SERVICE_MANAGER, restart_signal};
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
    /// The kernel does not take the filter.
    #[error("cannot apply the system call filter: the kernel needs CONFIG_SECCOMP_FILTER")]
    Apply(#[source] seccompiler::Error),
    /// The filter does not compile for this machine.
    #[error("cannot build the system call filter for {}", std::env::consts::ARCH)]
    Build(#[source] seccompiler::BackendError),
    /// A setting of the process was refused.
    #[error("cannot {setting}")]
    Setting {
        /// What was to be set.
        setting: &'static str,
        /// What the system said.
        #[source]
        err: nix::errno::Errno,
    },
}

/// From here on no file is opened, no socket made, no program run, no core written; and only one signal is sent.
///
/// # Errors
/// When the kernel does not do one of these: then nothing may be served.
pub fn confine() -> Result<(), ConfineError> {
    let failed = |setting| move |err| ConfineError::Setting { setting, err };
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("forbid core dumps"))?;
    prctl::set_dumpable(false).map_err(failed("forbid tracing by the same user"))?;
    prctl::set_no_new_privs().map_err(failed("give up new privileges"))?;
    let filter = filter(SERVICE_MANAGER, restart_signal()).map_err(ConfineError::Build)?;
    apply_filter_all_threads(&filter).map_err(ConfineError::Apply)
}

/// A call that is not named fails with `EPERM`: what a library needs beyond the list so becomes an error with a name.
fn filter(process: i32, signal: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let equals = |index, number: i32| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(number.cast_unsigned()))
    };
    rules.insert(libc::SYS_kill, vec![SeccompRule::new(vec![equals(0, process)?, equals(1, signal)?])?]);
    let not_executable =
        SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![not_executable])?]);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Without conditions.
const ALLOWED: &[i64] = &[
    // The socket, the signal pipe, the log.
    libc::SYS_accept4,
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_ioctl,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Whether systemd is process 1.
    libc::SYS_newfstatat,
    libc::SYS_statx,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    // Memory, time, signals, the end.
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::{io, thread};

    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::{Pid, getppid};

    use super::*;

    /// Runs `act` in a thread of its own under the filter: it holds for one thread as for a process of one.
    fn confined<T: Send + 'static>(signal_to: Pid, act: impl FnOnce() -> T + Send + 'static) -> T {
        let filter = filter(signal_to.as_raw(), 0).unwrap();
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
    fn one_signal_goes_to_one_process() {
        let (this, parent) = (Pid::this(), getppid());
        // Signal 0 asks whether one could be sent, and does nothing.
        let sent = confined(this, move || [kill(this, None), kill(parent, None)]);
        assert_eq!(sent, [Ok(()), Err(Errno::EPERM)]);
        // Ignored by default, should it come through.
        let other = confined(this, move || kill(this, nix::sys::signal::Signal::SIGWINCH));
        assert_eq!(other, Err(Errno::EPERM));
    }

    #[test]
    fn no_file_is_opened_no_socket_made_and_no_program_run() {
        let done = confined(Pid::this(), || {
            [
                refused(File::open("/etc/hostname")),
                refused(File::create("/tmp/holdfast-helper-must-not-write")),
                refused(UnixStream::pair()),
                refused(std::net::TcpListener::bind("127.0.0.1:0")),
                refused(Command::new("/bin/true").spawn()),
            ]
        });
        assert_eq!(done, [true; 5]);
    }
}
