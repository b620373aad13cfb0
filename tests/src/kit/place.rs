//! Where a process lives: on this machine as it is, or in a network namespace of a lab with links that delay.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A host of the run.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: Option<String>,
    address: IpAddr,
}

impl Place {
    /// This machine's loopback, shared with everything else.
    #[must_use]
    pub const fn here() -> Self {
        Self { namespace: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }

    /// The address that other places reach this one at.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// A command that runs here and ends with the thread that starts it, even when that is killed.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        // Ctrl-C on a terminal is for us alone: we stop them in order.
        command.process_group(0);
        command.args(["--pdeathsig", "KILL"]);
        if let Some(namespace) = &self.namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        command.arg(program.as_ref());
        command
    }

    /// A TCP port that nothing uses at present; in a namespace of its own any port is.
    ///
    /// # Errors
    /// When the machine has none left.
    pub fn free_port(&self, in_namespace: u16) -> anyhow::Result<u16> {
        if self.namespace.is_some() {
            return Ok(in_namespace);
        }
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
    }

    /// Fetches `url` from here; gives the HTTP status and the body.
    ///
    /// # Errors
    /// When nothing answers within two seconds.
    pub fn get(&self, url: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut command = self.command("curl");
        let output =
            command.args(["-s", "-m", "10", "-w", "\n%{http_code}", url]).output().context("cannot run curl")?;
        if !output.status.success() {
            bail!("{url} does not answer ({})", output.status);
        }
        let mut body = output.stdout;
        let end = body.iter().rposition(|&byte| byte == b'\n').context("curl printed no status")?;
        let status = std::str::from_utf8(&body[end + 1..])?.parse()?;
        body.truncate(end);
        Ok((status, body))
    }
}

/// A process of the run, killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command`; its output goes to `log`, which is continued when it is there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// The process id: every wrapper before the program replaces itself by it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says that it still runs.
    ///
    /// # Errors
    /// When it has ended; the error has the end of its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                bail!("{} ended with {status}; its log {} ends:\n{}", self.name, self.log.display(), tail.join("\n"))
            }
        }
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop and waits for at most `limit`; then kills it.
    ///
    /// # Errors
    /// When it did not stop by itself, or not cleanly.
    pub fn stop(&mut self, limit: Duration) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} ended with {status}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        bail!("{} did not stop within {} s", self.name, limit.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A lab of network namespaces, carried by `netlab`. It goes away when it is dropped.
#[derive(Debug)]
pub struct Lab {
    places: Vec<Place>,
    netlab: Process,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Not killed: it takes its namespaces away with it. When that fails, the next lab of the name removes them.
        if let Err(error) = self.netlab.stop(Duration::from_secs(10)) {
            eprintln!("the network lab did not end well: {error:#}");
        }
    }
}

impl Lab {
    /// Makes `places` namespaces whose links delay by `delay` (one way, as `25ms`); the links of the last one do not.
    ///
    /// # Errors
    /// When this is not root, or netlab cannot make the lab.
    pub fn start(places: u8, delay: &str, log: &Path) -> anyhow::Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("--link-delay needs root: it makes network namespaces");
        }
        let run = std::process::id() % 250;
        let letters: String = run.to_string().chars().map(|digit| char::from(b'a' + digit as u8 - b'0')).collect();
        let prefix = format!("holdfast{letters}");
        // Without the death signal of other processes: it watches its parent itself, and must get the time to clean up.
        let mut command = Command::new(crate::program("netlab")?);
        command.process_group(0);
        command.args(["up", "--nodes", &places.to_string(), "--prefix", &prefix, "--delay", delay]);
        command.args(["--subnet", &format!("10.77.{run}.0/24")]);
        command.args(["--link", &format!("{}:delay=0ms", places - 1)]);
        let ready = log.with_extension("ready");
        let output = File::create(&ready)?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(File::create(log)?).spawn()?;
        let mut netlab = Process { name: "netlab".to_owned(), log: log.to_owned(), child };
        let started = Instant::now();
        while !BufReader::new(File::open(&ready)?).lines().any(|line| line.is_ok_and(|line| line.trim() == "ready")) {
            netlab.check()?;
            if started.elapsed() > Duration::from_secs(20) {
                bail!("netlab did not get ready: see {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let place = |number: u8| Place {
            namespace: Some(format!("{prefix}{number}")),
            address: IpAddr::V4(Ipv4Addr::new(10, 77, run as u8, number + 1)),
        };
        Ok(Self { places: (0..places).map(place).collect(), netlab })
    }

    /// The places, in order.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}
