//! The bus between a vault and an emulated TPM, in the hands of somebody else: it records, and it may change, forge or
//! swallow whatever goes over it.
//!
//! It knows messages by their length only; what they say is in [`command`].

pub mod command;

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, ensure};

use crate::swtpm::listen_on_neighbours;

/// Sits between clients that come one after the other and one swtpm. Dropping it cuts the bus.
pub struct Bus {
    port: u16,
    shared: Arc<Shared>,
}

/// What somebody on the bus makes of a command: the answer that the client gets to see. `None` cuts the connection
/// instead.
pub type Meddle = Box<dyn FnMut(&mut Wire, &[u8]) -> Option<Vec<u8>> + Send>;

/// The TPM's end of the bus.
pub struct Wire(TcpStream);

struct Shared {
    cut: AtomicBool,
    traffic: Mutex<Traffic>,
}

struct Traffic {
    tpm: Wire,
    record: Option<Vec<u8>>,
    meddle: Option<Meddle>,
}

impl Wire {
    /// Sends a command and returns the answer.
    ///
    /// # Errors
    /// When the TPM is gone.
    pub fn send(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        read_message(&mut self.0)
    }
}

impl Bus {
    /// A bus to the swtpm at `tpm_port`.
    ///
    /// # Errors
    /// When nothing listens there, or there are no free ports.
    pub fn to(tpm_port: u16) -> anyhow::Result<Self> {
        let (data, control) = listen_on_neighbours()?;
        let port = data.local_addr()?.port();
        let tpm = TcpStream::connect(("127.0.0.1", tpm_port)).context("swtpm does not answer")?;
        let traffic = Traffic { tpm: Wire(tpm), record: None, meddle: None };
        let shared = Arc::new(Shared { cut: AtomicBool::new(false), traffic: Mutex::new(traffic) });
        let (serving, carrying) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || {
            for client in data.incoming().flatten().take_while(|_| !serving.cut.load(Ordering::SeqCst)) {
                // It ends when either side is gone, and then the next client comes.
                let _ = serve(client, &serving);
            }
        });
        thread::spawn(move || {
            for client in control.incoming().flatten().take_while(|_| !carrying.cut.load(Ordering::SeqCst)) {
                let _ = join(client, tpm_port.saturating_add(1));
            }
        });
        Ok(Self { port, shared })
    }

    /// Where a client connects.
    #[must_use]
    pub fn address(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Sends a command of our own between those of the client.
    ///
    /// # Errors
    /// When the TPM is gone, or refuses.
    pub fn send(&self, command: &[u8]) -> anyhow::Result<Vec<u8>> {
        let answer = self.traffic().tpm.send(command).context("the TPM does not answer")?;
        let code = command::result(&answer);
        ensure!(code == 0, "the TPM refused command {:#x} with {code:#x}", command::code(command));
        Ok(answer)
    }

    /// From now on everything in both directions is kept.
    pub fn record(&self) {
        self.traffic().record = Some(Vec::new());
    }

    /// What was recorded; nothing is from now on.
    #[must_use]
    pub fn recorded(&self) -> Vec<u8> {
        self.traffic().record.take().unwrap_or_default()
    }

    /// From now on `meddle` gets each command of the client, and says what the client gets to see.
    pub fn meddle(&self, meddle: Meddle) {
        self.traffic().meddle = Some(meddle);
    }

    /// From now on everything is passed on as it is.
    pub fn pass_on(&self) {
        self.traffic().meddle = None;
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.shared.traffic()
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bus({})", self.port)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        // Wakes both listeners, which then see that they are not needed any more.
        for port in [self.port, self.port.saturating_add(1)] {
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

impl Shared {
    /// A meddler that panicked has failed its test already; the traffic is as it was before its command.
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        let command = read_message(&mut client)?;
        let answer = {
            let mut traffic = shared.traffic();
            let Traffic { tpm, record, meddle } = &mut *traffic;
            let answer = match meddle {
                Some(meddle) => meddle(tpm, &command),
                None => Some(tpm.send(&command)?),
            };
            if let Some(record) = record {
                record.extend_from_slice(&command);
                record.extend_from_slice(answer.as_deref().unwrap_or_default());
            }
            answer
        };
        let Some(answer) = answer else { return client.shutdown(Shutdown::Both) };
        client.write_all(&answer)?;
    }
}

/// Joins a client to the control channel, both ways.
fn join(client: TcpStream, control_port: u16) -> io::Result<()> {
    let tpm = TcpStream::connect(("127.0.0.1", control_port))?;
    let (to_tpm, from_tpm) = (tpm.try_clone()?, client.try_clone()?);
    thread::spawn(move || carry(client, to_tpm));
    thread::spawn(move || carry(tpm, from_tpm));
    Ok(())
}

/// Carries one direction. Its end ends the other end too: swtpm waits for that before it takes the next connection.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    // A connection that was cut ends like one that was closed.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// One command or answer: a tag of 2 bytes, the whole length in 4, the rest.
fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let [_, _, len @ ..] = header;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if !(command::HEADER_LEN..=MESSAGE_LEN_MAX).contains(&len) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a TPM message of an impossible length"));
    }
    let mut message = header.to_vec();
    message.resize(len, 0);
    stream.read_exact(&mut message[header.len()..])?;
    Ok(message)
}

/// swtpm takes and gives 4,096 bytes at most.
const MESSAGE_LEN_MAX: usize = 4_096;
