//! The bus between us and the TPM, in the hands of somebody else: it records, injects commands and changes answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use holdfast_tests::swtpm::listen_on_neighbours;

/// Sits between one client and one swtpm.
pub(crate) struct Bus {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

type Tamper = Box<dyn FnMut(&mut Wire<'_>, &[u8], Vec<u8>) -> Vec<u8> + Send>;
type BeforeCommand = Box<dyn FnMut(&mut Wire<'_>, &[u8]) + Send>;

struct Shared {
    tpm: TcpStream,
    recorded: Vec<u8>,
    commands: Vec<u32>,
    before: Option<BeforeCommand>,
    tamper: Option<Tamper>,
}

/// The TPM's end of the bus.
pub(crate) struct Wire<'a>(&'a mut TcpStream);

impl Wire<'_> {
    /// Sends a command and returns the answer.
    pub(crate) fn send(&mut self, command: &[u8]) -> Vec<u8> {
        self.0.write_all(command).expect("the TPM takes a command");
        read_message(self.0).expect("the TPM answers")
    }
}

impl Bus {
    /// A bus to the swtpm at `tpm_port`.
    pub(crate) fn new(tpm_port: u16) -> Self {
        let (data, control) = listen_on_neighbours().unwrap();
        let port = data.local_addr().unwrap().port();
        let tpm = TcpStream::connect(("127.0.0.1", tpm_port)).unwrap();
        let shared = Shared { tpm, recorded: Vec::new(), commands: Vec::new(), before: None, tamper: None };
        let shared = Arc::new(Mutex::new(shared));
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in data.incoming().flatten() {
                serve(client, &serving);
            }
        });
        thread::spawn(move || {
            for client in control.incoming().flatten() {
                let tpm = TcpStream::connect(("127.0.0.1", tpm_port + 1)).unwrap();
                let (to_tpm, from_tpm) = (tpm.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || carry(client, to_tpm));
                thread::spawn(move || carry(tpm, from_tpm));
            }
        });
        Self { port, shared }
    }

    /// Where a client connects.
    pub(crate) fn address(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Sends a command of our own while the client is idle.
    pub(crate) fn send(&self, command: &[u8]) -> Vec<u8> {
        Wire(&mut self.shared.lock().unwrap().tpm).send(command)
    }

    /// Whether these bytes went over the bus, in one piece, in either direction.
    pub(crate) fn saw(&self, bytes: &[u8]) -> bool {
        self.shared.lock().unwrap().recorded.windows(bytes.len()).any(|window| window == bytes)
    }

    /// How often the client sent this command.
    pub(crate) fn count(&self, command: u32) -> usize {
        self.shared.lock().unwrap().commands.iter().filter(|sent| **sent == command).count()
    }

    /// From now on `act` runs before each of the client's commands.
    pub(crate) fn before_command(&self, act: impl FnMut(&mut Wire<'_>, &[u8]) + Send + 'static) {
        self.shared.lock().unwrap().before = Some(Box::new(act));
    }

    /// From now on `act` gets each command of the client with its answer, and says what the client gets to see.
    pub(crate) fn tamper(&self, act: impl FnMut(&mut Wire<'_>, &[u8], Vec<u8>) -> Vec<u8> + Send + 'static) {
        self.shared.lock().unwrap().tamper = Some(Box::new(act));
    }
}

/// The code of a command.
pub(crate) fn code(command: &[u8]) -> u32 {
    u32::from_be_bytes(command[6..10].try_into().unwrap())
}

fn serve(mut client: TcpStream, shared: &Mutex<Shared>) {
    while let Some(command) = read_message(&mut client) {
        let mut shared = shared.lock().unwrap();
        let Shared { tpm, recorded, commands, before, tamper } = &mut *shared;
        if let Some(before) = before {
            before(&mut Wire(tpm), &command);
        }
        let mut answer = Wire(tpm).send(&command);
        recorded.extend_from_slice(&command);
        recorded.extend_from_slice(&answer);
        commands.push(code(&command));
        if let Some(tamper) = tamper {
            answer = tamper(&mut Wire(tpm), &command, answer);
        }
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Carries one direction. Its end ends the other end too: swtpm waits for that before it takes the next connection.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    // A connection that was cut ends like one that was closed.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// One command or answer: a tag of 2 bytes, the whole length in 4, the rest.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 6];
    stream.read_exact(&mut message).ok()?;
    let len = u32::from_be_bytes(message[2..6].try_into().unwrap());
    message.resize(usize::try_from(len).unwrap(), 0);
    stream.read_exact(&mut message[6..]).ok()?;
    Some(message)
}
