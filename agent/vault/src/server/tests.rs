//! The server over real sockets, with a handler that counts.

use std::io::{PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use holdfast_vault_client::codec::{self, FRAME_LEN_MAX};
use holdfast_vault_client::{Client, ClientError, IdentityKey, Rejection};

use super::*;

/// A server in a thread; dropping the pipe stops it.
struct Running {
    _folder: tempfile::TempDir,
    path: PathBuf,
    stop: Option<PipeWriter>,
    served: Arc<AtomicUsize>,
    upkeeps: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Result<Ended, ServerError>>>,
}

/// Knows one answer, counts what it is asked and how often it looks after itself.
struct Counting {
    served: Arc<AtomicUsize>,
    upkeeps: Arc<AtomicUsize>,
    pause: Duration,
}

impl Service for Counting {
    fn answer(&mut self, request: Request) -> Response {
        self.served.fetch_add(1, Ordering::Relaxed);
        match request {
            Request::IdentityKey => Response::IdentityKey(IdentityKey([7; 32])),
            _ => Response::Rejected(Rejection::NoIdentity),
        }
    }

    fn maintain(&mut self) -> Upkeep {
        self.upkeeps.fetch_add(1, Ordering::Relaxed);
        Upkeep::Again(self.pause)
    }
}

impl Running {
    fn start(allowed_uid: u32) -> Self {
        Self::start_with(allowed_uid, Duration::from_secs(60))
    }

    fn start_with(allowed_uid: u32, pause: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.sock");
        let server = Server::listen(&path, allowed_uid).unwrap();
        let (stopped, stop) = io::pipe().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let upkeeps = Arc::new(AtomicUsize::new(0));
        let mut service = Counting { served: served.clone(), upkeeps: upkeeps.clone(), pause };
        let thread = thread::spawn(move || server.serve(stopped.as_fd(), &mut service));
        Self { _folder: folder, path, stop: Some(stop), served, upkeeps, thread: Some(thread) }
    }

    fn own() -> Self {
        Self::start(geteuid().as_raw())
    }

    fn is_served(&self) {
        assert_eq!(Client::connect(&self.path).unwrap().identity_key().unwrap().0, [7; 32]);
    }

    fn stop(mut self) {
        drop(self.stop.take());
        assert_eq!(self.thread.take().unwrap().join().unwrap().unwrap(), Ended::Asked);
        assert!(!self.path.exists(), "the socket's file is left");
    }
}

#[test]
fn the_allowed_user_is_served_and_a_stop_removes_the_socket() {
    let running = Running::own();
    assert_eq!(fs::metadata(&running.path).unwrap().permissions().mode() & 0o777, 0o600);
    running.is_served();
    running.is_served();
    running.stop();
}

#[test]
fn another_user_is_hung_up_on_and_nothing_is_answered() {
    let running = Running::start(geteuid().as_raw() + 1);
    let refused = Client::connect(&running.path).unwrap().identity_key().unwrap_err();
    assert!(matches!(refused, ClientError::HungUp { .. }), "{refused:?}");
    assert_eq!(running.served.load(Ordering::Relaxed), 0);
    running.stop();
}

/// Whoever may open the socket's folder can be turned away as often as he likes, and must not fill the disk with it.
#[test]
fn a_crowd_of_strangers_does_not_flood_the_log() {
    let mut door = Door::default();
    let lines = (0..100_000).filter(|_| door.turned_away()).count();
    assert_eq!(lines, 17, "at the first, the second, the fourth and so on");
}

#[test]
fn half_a_request_blocks_nobody() {
    let running = Running::own();
    let mut slow = UnixStream::connect(&running.path).unwrap();
    slow.write_all(&[0, 0]).unwrap();
    let mut stuck = UnixStream::connect(&running.path).unwrap();
    stuck.write_all(&[0, 1, 0, 0, 9]).unwrap();
    running.is_served();
    running.stop();
}

#[test]
fn who_stops_in_the_middle_of_a_frame_loses_the_connection_and_who_is_idle_does_not() {
    let now = Instant::now();
    let (mut stuck, served) = UnixStream::pair().unwrap();
    let (_idle, also_served) = UnixStream::pair().unwrap();
    let mut connections = vec![Connection::new(served, now).unwrap(), Connection::new(also_served, now).unwrap()];
    stuck.write_all(&[0]).unwrap();
    for connection in &mut connections {
        assert!(matches!(connection.advance(now), Progress::Waiting));
    }
    hang_up_on_the_late(&mut connections, now + Duration::from_secs(1));
    assert_eq!(connections.len(), 2);
    hang_up_on_the_late(&mut connections, now + Duration::from_secs(10));
    assert_eq!(connections.len(), 1);
    assert_eq!(stuck.read(&mut [0]).unwrap(), 0);
}

#[test]
fn more_connections_than_places_push_out_the_silent_ones() {
    let running = Running::own();
    let idle: Vec<_> = (0..3 * CONNECTIONS_MAX).map(|_| UnixStream::connect(&running.path).unwrap()).collect();
    running.is_served();
    let mut first = &idle[0];
    assert_eq!(first.read(&mut [0]).unwrap(), 0, "the first of them should have made room");
    running.stop();
}

#[test]
fn garbage_is_answered_or_hung_up_on_and_the_next_client_is_served() {
    let running = Running::own();
    for first in 0..=u8::MAX {
        let mut client = UnixStream::connect(&running.path).unwrap();
        // A whole frame of one byte, then the same byte as a header.
        let sent = [&[0, 0, 0, 1, first][..], &[first; 64]].concat();
        // The vault may hang up before it has everything.
        let _ = client.write_all(&sent);
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.len() < 1024, "byte {first}: {} bytes of answer", answer.len());
    }
    running.is_served();
    running.stop();
}

#[test]
fn an_oversized_frame_is_refused_before_it_is_sent() {
    let running = Running::own();
    let mut client = UnixStream::connect(&running.path).unwrap();
    client.write_all(&u32::try_from(FRAME_LEN_MAX + 1).unwrap().to_be_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    let answered = codec::decode_response(&answer[codec::HEADER_LEN..]).unwrap();
    assert!(matches!(answered, Response::Rejected(Rejection::Malformed(_))));
    running.is_served();
    running.stop();
}

#[test]
fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sock");
    drop(UnixListener::bind(&path).unwrap());
    let uid = geteuid().as_raw();
    let live = Server::listen(&path, uid).unwrap();
    assert!(matches!(Server::listen(&path, uid), Err(ServerError::InUse { .. })));
    drop(live);
    fs::write(&path, b"a file").unwrap();
    assert!(matches!(Server::listen(&path, uid), Err(ServerError::NoSocket { .. })));
}

#[test]
fn the_rate_is_a_burst_and_then_one_each_period() {
    let start = Instant::now();
    let mut rate = Rate::full(start);
    for _ in 0..RATE_BURST {
        assert_eq!(rate.wait(start), None);
        rate.spend(start);
    }
    assert_eq!(rate.wait(start), Some(RATE_PERIOD));
    let later = start + RATE_PERIOD;
    assert_eq!(rate.wait(later), None);
    rate.spend(later);
    assert_eq!(rate.wait(later), Some(RATE_PERIOD));
    let rested = later + RATE_PERIOD * 10 * RATE_BURST;
    (0..RATE_BURST).for_each(|_| rate.spend(rested));
    assert!(rate.wait(rested).is_some());
}

#[test]
fn a_flood_is_served_in_the_end() {
    let running = Running::own();
    let mut client = Client::connect(&running.path).unwrap();
    for _ in 0..RATE_BURST + 2 {
        assert_eq!(client.identity_key().unwrap().0, [7; 32]);
    }
    running.stop();
}

#[test]
fn clients_that_ask_and_hang_up_do_not_pass_the_rate() {
    let running = Running::own();
    let request = codec::encode_request(&Request::Status).unwrap();
    for _ in 0..RATE_BURST + 8 {
        // Some are pushed out before they are read, which is as good.
        UnixStream::connect(&running.path).unwrap().write_all(&request).unwrap();
    }
    running.is_served();
    assert!(running.served.load(Ordering::Relaxed) <= usize::try_from(RATE_BURST).unwrap() + 9);
    running.stop();
}

/// Every place is always ready: upkeep that is due comes in between all the same.
#[test]
fn a_flood_does_not_keep_the_service_from_its_upkeep() {
    let running = Running::start_with(geteuid().as_raw(), Duration::ZERO);
    let request = codec::encode_request(&Request::IdentityKey).unwrap();
    let flood: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| {
            let mut client = UnixStream::connect(&running.path).unwrap();
            client.write_all(&request.repeat(8)).unwrap();
            client
        })
        .collect();
    for mut client in flood {
        let mut answers = vec![0; 8 * (codec::HEADER_LEN + 1 + 32)];
        client.read_exact(&mut answers).unwrap();
    }
    let (served, upkeeps) = (running.served.load(Ordering::Relaxed), running.upkeeps.load(Ordering::Relaxed));
    assert_eq!(served, 8 * CONNECTIONS_MAX);
    assert!(upkeeps >= 8, "more than one request of a place between two upkeeps: {upkeeps} for {served} requests");
    running.stop();
}

/// A lease that catches up is always due.
#[test]
fn upkeep_that_never_ends_does_not_keep_requests_waiting() {
    let running = Running::start_with(geteuid().as_raw(), Duration::ZERO);
    running.is_served();
    let before = running.upkeeps.load(Ordering::Relaxed);
    let mut client = Client::connect(&running.path).unwrap();
    for _ in 0..10 {
        assert_eq!(client.identity_key().unwrap().0, [7; 32]);
    }
    assert!(running.upkeeps.load(Ordering::Relaxed) >= before + 10, "upkeep waits for requests");
    running.stop();
}

#[test]
fn what_the_vault_did_meanwhile_is_no_delay_of_the_client() {
    let now = Instant::now();
    let (mut client, served) = UnixStream::pair().unwrap();
    let mut connections = vec![Connection::new(served, now).unwrap()];
    client.write_all(&[0]).unwrap();
    assert!(matches!(connections[0].advance(now), Progress::Waiting));
    put_off(&mut connections, Duration::from_secs(5));
    hang_up_on_the_late(&mut connections, now + Duration::from_secs(6));
    assert_eq!(connections.len(), 1);
    hang_up_on_the_late(&mut connections, now + Duration::from_secs(8));
    assert_eq!(connections.len(), 0);
}

/// The knock of a client that cannot be let in stays, and would wake the loop without end.
#[test]
fn the_door_stays_shut_for_a_while_when_the_system_lets_nobody_in() {
    let now = Instant::now();
    let mut door = Door::default();
    assert_eq!(door.wait(now), None);
    door.shut(now);
    assert_eq!(door.wait(now), Some(DOOR_SHUT));
    assert_eq!(door.wait(now + DOOR_SHUT), None);

    let folder = tempfile::tempdir().unwrap();
    let server = Server::listen(&folder.path().join("s"), geteuid().as_raw()).unwrap();
    let _knocks = UnixStream::connect(folder.path().join("s")).unwrap();
    let (stopped, _stop) = io::pipe().unwrap();
    let knocked = |is_open| {
        let ready = server.poll(stopped.as_fd(), is_open, &[], &[], Some(Duration::ZERO)).unwrap();
        ready.listener
    };
    assert!(knocked(true));
    assert!(!knocked(false), "a shut door wakes the loop");
}
