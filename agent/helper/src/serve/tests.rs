//! A helper on a real socket, in a thread, with a machine that only counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use holdfast_helper_client::{Client, ClientError};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::*;

/// Counts restarts, and fails when it is told to.
#[derive(Clone, Default)]
struct Machine {
    restarts: Arc<AtomicUsize>,
    fails: Option<i32>,
    has_nobody: bool,
}

impl Restart for Machine {
    fn can_restart(&self) -> Result<(), RestartError> {
        if self.has_nobody { Err(RestartError::Nobody) } else { Ok(()) }
    }

    fn restart(&self) -> Result<(), RestartError> {
        self.can_restart()?;
        if let Some(errno) = self.fails {
            return Err(io::Error::from_raw_os_error(errno).into());
        }
        self.restarts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Bench {
    path: PathBuf,
    machine: Machine,
    stop: Option<io::PipeWriter>,
    served: Option<JoinHandle<Ended>>,
    _dir: TempDir,
}

impl Bench {
    fn start(machine: Machine, allowed_uid: u32, idle: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut helper = Helper::new(listener.into(), allowed_uid, machine.clone()).unwrap().ending_after(idle);
        let (stopped, stop) = io::pipe().unwrap();
        let served = thread::spawn(move || helper.serve(stopped.as_fd()).unwrap());
        Self { path, machine, stop: Some(stop), served: Some(served), _dir: dir }
    }

    fn with(machine: Machine) -> Self {
        Self::start(machine, geteuid().as_raw(), IDLE)
    }

    fn ask(&self, request: Request) -> Result<(), Refusal> {
        match Client::new(&self.path).call(request) {
            Ok(()) => Ok(()),
            Err(ClientError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    fn restarts(&self) -> usize {
        self.machine.restarts.load(Ordering::Relaxed)
    }

    fn ends(&mut self) -> Ended {
        self.served.take().unwrap().join().unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(served) = self.served.take() {
            served.join().unwrap();
        }
    }
}

/// What is answered to these bytes, whatever they are; nothing when it hangs up.
fn answer_to(path: &Path, bytes: &[u8]) -> Option<Response> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // What it did not read is told as an error behind its answer.
    let _ = stream.read_to_end(&mut answer);
    let message = answer.get(HEADER_LEN..)?;
    Some(codec::decode(message).unwrap())
}

#[test]
fn each_request_does_what_it_says_once() {
    let mut bench = Bench::with(Machine::default());
    assert_eq!((bench.ask(Request::CanReboot), bench.restarts()), (Ok(()), 0));
    assert_eq!((bench.ask(Request::Reboot), bench.restarts()), (Ok(()), 1));
    drop(bench.stop.take());
    assert_eq!(bench.ends(), Ended::Asked);
}

#[test]
fn what_the_machine_refuses_is_told() {
    let bench = Bench::with(Machine { has_nobody: true, ..Machine::default() });
    for request in Request::ALL {
        assert_eq!(bench.ask(request), Err(Refusal::NoServiceManager), "{request:?}");
    }
    let bench = Bench::with(Machine { fails: Some(1), ..Machine::default() });
    assert_eq!(bench.ask(Request::Reboot), Err(Refusal::Failed { errno: 1 }));
}

#[test]
fn a_process_of_another_user_is_not_listened_to() {
    let bench = Bench::start(Machine::default(), geteuid().as_raw() + 1, IDLE);
    for _ in 0..3 {
        let refused = Client::new(&bench.path).call(Request::Reboot).unwrap_err();
        assert!(matches!(refused, ClientError::HungUp { .. }), "{refused:?}");
    }
    assert_eq!(bench.restarts(), 0);
}

#[test]
fn unknown_oversized_and_cut_requests_do_nothing() {
    let bench = Bench::with(Machine::default());
    let unknown = Some(Response::Refused(Refusal::Unknown));
    assert_eq!(answer_to(&bench.path, &[0, 1, 2]), unknown, "a kind that is not listed");
    assert_eq!(answer_to(&bench.path, &[0, 2, 1, 0]), unknown, "a byte too many");
    assert_eq!(answer_to(&bench.path, &[0, 0]), unknown, "nothing");
    let flood = [&[0xff, 0xff][..], &[1; 4096]].concat();
    assert_eq!(answer_to(&bench.path, &flood), unknown, "longer than any message");
    assert_eq!(answer_to(&bench.path, &[0, 1]), None, "cut short");
    assert_eq!(answer_to(&bench.path, b""), None);
    assert_eq!((bench.restarts(), bench.ask(Request::Reboot), bench.restarts()), (0, Ok(()), 1));
}

#[test]
fn who_asks_too_often_is_told_how_long_to_wait() {
    let bench = Bench::with(Machine::default());
    let outcomes: Vec<_> = (0..100).map(|_| bench.ask(Request::Reboot)).collect();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(done, bench.restarts());
    assert!(done >= RATE_BURST as usize && done < 50, "{done} of 100 were done");
    let Err(Refusal::TooMany { wait_ms }) = outcomes[outcomes.len() - 1] else { panic!("{outcomes:?}") };
    assert!(u128::from(wait_ms) <= RATE_PERIOD.as_millis(), "{wait_ms}");
}

#[test]
fn the_bucket_refills_evenly_and_not_over_its_brim() {
    let start = Instant::now();
    let mut rate = Rate { left: RATE_BURST, since: start, refused: Tally::default() };
    let later = start + Duration::from_secs(3600);
    assert_eq!((0..100).filter(|_| rate.take(later).is_ok()).count(), RATE_BURST as usize);
    assert_eq!(rate.take(later), Err(RATE_PERIOD));
    assert_eq!(rate.take(later + RATE_PERIOD / 4), Err(RATE_PERIOD * 3 / 4));
    assert_eq!(rate.take(later + RATE_PERIOD * 5 / 4), Ok(()));
    assert_eq!(rate.take(later + RATE_PERIOD * 5 / 4), Err(RATE_PERIOD * 3 / 4), "what began is not lost");
}

#[test]
fn it_ends_when_nobody_asks_and_strangers_do_not_keep_it() {
    let mut bench = Bench::start(Machine::default(), geteuid().as_raw() + 1, Duration::from_millis(100));
    let began = Instant::now();
    while bench.served.as_ref().is_some_and(|served| !served.is_finished()) && began.elapsed() < REQUEST_MAX * 5 {
        let _ = UnixStream::connect(&bench.path);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.ends(), Ended::Idle);
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let (one, _other) = UnixStream::pair().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for fd in [OwnedFd::from(one), tcp.into(), std::fs::File::open("/dev/null").unwrap().into()] {
        assert!(matches!(Helper::new(fd, 0, Machine::default()), Err(ServeError::NoListener)));
    }
}
