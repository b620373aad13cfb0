//! A box that `holdfast-image boot` runs: its screen is its serial line, its API a port of loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_tests::kit::{Place, Process};
use holdfast_tests::program;
use sha2::{Digest as _, Sha256};

/// Emulation on two busy cores: a first boot takes 60 to 130 s, a later one 50 to 100 s.
pub(crate) const FIRST_BOOT_MAX: Duration = Duration::from_secs(400);
/// A command in the box.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// The box.
pub(crate) struct VirtualBox {
    process: Process,
    folder: PathBuf,
    serial: PathBuf,
    fault: PathBuf,
    port: u16,
    /// Where in the serial line's file the present boot begins.
    since: usize,
}

/// What a command in the box did when it failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: i32,
    pub(crate) said: String,
}

/// Builds the variant `test` from the programs that are built.
pub(crate) fn build() {
    let programs = program("holdfastd").unwrap();
    let mut command = Command::new(program("holdfast-image").unwrap());
    command.arg("--checkout").arg(root()).args(["build", "--variant", "test", "--programs"]);
    let output = command.arg(programs.parent().unwrap()).output().unwrap();
    assert!(output.status.success(), "the image is not built:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The pairing code on a screen.
pub(crate) fn code(screen: &str) -> Option<String> {
    let lines: Vec<&str> = screen.lines().map(str::trim).collect();
    let is_code = |line: &str| line.len() == 11 && line.matches('-').count() == 2;
    lines.windows(2).find(|two| two[0] == "code" && is_code(two[1])).map(|two| two[1].to_owned())
}

/// `TPM2_PCR_Extend` with the digest of some bytes.
pub(crate) fn extended(register: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(register).chain_update(Sha256::digest(bytes)).finalize().into()
}

impl VirtualBox {
    /// What the built image's register 11 was predicted as.
    pub(crate) fn image_register_11() -> [u8; 32] {
        let path = made().join("out/x86-64-uefi-test/register-11");
        hex::decode(fs::read_to_string(path).unwrap().trim()).unwrap().try_into().unwrap()
    }

    /// A new box of this name.
    pub(crate) fn start(name: &str, logs: &Path) -> Self {
        let folder = made().join("boxes").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        Self::boot(name, folder, logs)
    }

    /// The disk and the firmware's variables of this box, which is off, with a TPM that never saw them.
    pub(crate) fn with_another_tpm(&self, name: &str, logs: &Path) -> Self {
        let folder = made().join("boxes").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        for file in ["disk.raw", "variables.fd"] {
            let status =
                Command::new("cp").arg("--sparse=always").arg(self.folder.join(file)).arg(&folder).status().unwrap();
            assert!(status.success(), "{file} is not copied");
        }
        Self::boot(name, folder, logs)
    }

    fn boot(name: &str, folder: PathBuf, logs: &Path) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        // Below the checkout, which is all that QEMU sees of this machine.
        let (serial, fault) = (made().join(format!("{name}.serial")), made().join(format!("{name}.fault")));
        let _ = fs::remove_file(&serial);
        let mut command = Place::here().command(program("holdfast-image").unwrap());
        command.arg("--checkout").arg(root()).args(["boot", "--variant", "test", "--box", name]);
        command.args(["--api-port", &port.to_string()]).arg("--serial").arg(&serial).arg("--fault").arg(&fault);
        let process = Process::start(name, command, &logs.join(format!("{name}.log"))).unwrap();
        Self { process, folder, serial, fault, port, since: 0 }
    }

    /// Where its API answers.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What stands on the screen now.
    pub(crate) fn screen(&self) -> String {
        let mut terminal = vt100::Parser::new(24, 80, 0);
        let printed = fs::read(&self.serial).unwrap_or_default();
        terminal.process(printed.get(self.since..).unwrap_or_default());
        terminal.screen().contents()
    }

    /// Waits for something on the screen.
    pub(crate) fn see<T>(&mut self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            self.process.check().unwrap();
            let screen = self.screen();
            if let Some(found) = find(&screen) {
                return found;
            }
            assert!(began.elapsed() < limit, "it does not come within {limit:?}; the screen shows:\n{screen}");
            sleep(Duration::from_secs(1));
        }
    }

    /// Runs a command as root in the box, for what it prints.
    pub(crate) fn run(&mut self, command: &str) -> Result<String, Failed> {
        let mut stream = UnixStream::connect(&self.fault).unwrap();
        stream.set_read_timeout(Some(COMMAND_MAX)).unwrap();
        writeln!(stream, "{}", STANDARD.encode(command)).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap_or_else(|error| panic!("{command}: no answer: {error}"));
        let (code, output) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let said = String::from_utf8_lossy(&STANDARD.decode(output).unwrap()).into_owned();
        match code.parse().unwrap() {
            0 => Ok(said),
            code => Err(Failed { code, said }),
        }
    }

    /// Waits until it was restarted by what `ask` does; what its screen showed until then counts no longer.
    pub(crate) fn restarted(&mut self, ask: impl FnOnce()) {
        self.since = fs::read(&self.serial).unwrap().len();
        ask();
        self.see(FIRST_BOOT_MAX, |screen| screen.contains("EFI stub: UEFI Secure Boot is enabled").then_some(()));
        self.since = fs::read(&self.serial).unwrap().len();
    }

    /// As the plug is pulled.
    pub(crate) fn power_off(&mut self) {
        self.process.kill();
        // QEMU ends with its parent, and swtpm with QEMU.
        let began = Instant::now();
        while UnixStream::connect(&self.fault).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(20), "QEMU goes on");
            sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for VirtualBox {
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn made() -> PathBuf {
    root().join(".dev/image")
}
