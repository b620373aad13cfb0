//! The tools tree: Debian trixie with mkosi, systemd's tools, QEMU and swtpm in a folder. No package of it touches the machine,
//! so an image is built alike on every machine that has `mmdebstrap` and `bwrap`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::unistd::geteuid;

use crate::place::Place;
use crate::run::run;

/// The folder with the tools.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    checkout: PathBuf,
}

impl Tree {
    /// Makes the tree if it is not there, or not the one that this version wants.
    pub(crate) fn ready(place: &Place) -> anyhow::Result<Self> {
        let tree = Self { root: place.made("tools"), checkout: place.checkout.clone() };
        let stamp = place.made("tools.stamp");
        if fs::read_to_string(&stamp).is_ok_and(|made| made == recipe()) {
            return Ok(tree);
        }
        // Owners and device nodes of another system are root's to make.
        ensure!(geteuid().is_root(), "the tools are set up as root: run this once with sudo");
        eprintln!("fetching the tools that build images into {}", tree.root.display());
        if tree.root.exists() {
            fs::remove_dir_all(&tree.root).context("cannot remove the older tools")?;
        }
        run(Command::new("mmdebstrap")
            .args(["--variant=minbase", "--quiet", "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg"])
            .arg(format!("--include={}", PACKAGES.join(",")))
            .arg("trixie")
            .arg(&tree.root)
            .arg(SOURCE))?;
        for (name, text) in WRAPPERS {
            tree.wrap(name, text)?;
        }
        fs::write(&stamp, recipe()).context("cannot note that the tools are there")?;
        Ok(tree)
    }

    /// A command that runs among the tools. It sees the checkout at its own path, the machine's devices and its network.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("bwrap");
        command.arg("--bind").arg(&self.root).arg("/");
        command.args(["--dev-bind", "/dev", "/dev", "--proc", "/proc", "--bind", "/sys", "/sys"]);
        command.args(["--tmpfs", "/tmp", "--tmpfs", "/run", "--ro-bind", "/etc/resolv.conf", "/etc/resolv.conf"]);
        command.arg("--bind").arg(&self.checkout).arg(&self.checkout);
        command.args(["--die-with-parent", "--clearenv", "--setenv", "HOME", "/root", "--setenv", "PATH", PATH]);
        command.arg("--chdir").arg(&self.checkout).arg(program);
        command
    }

    /// A file of the tree, as seen from outside.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Puts a program of ours in the place of one of Debian's, which stays beside it as `NAME.distrib`.
    fn wrap(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(&format!("/usr/bin/{name}"));
        fs::rename(&path, path.with_extension("distrib")).with_context(|| format!("the tools have no {name}"))?;
        write_program(&path, text)
    }
}

fn write_program(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("cannot make it a program")
}

/// What the tree is made from: another recipe is another tree.
fn recipe() -> String {
    let wrappers: Vec<_> = WRAPPERS.iter().flat_map(|(name, text)| [*name, *text]).collect();
    format!("{SOURCE}\n{}\n{}", PACKAGES.join("\n"), wrappers.join("\n"))
}

const SOURCE: &str =
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main";

const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

/// mkosi is not on PyPI, and Debian 12's is too old: all come from trixie.
const PACKAGES: &[&str] = &[
    "apt-utils",
    "bubblewrap",
    "ca-certificates",
    "cpio",
    "cryptsetup-bin",
    "debian-archive-keyring",
    "dosfstools",
    "e2fsprogs",
    "erofs-utils",
    "faketime",
    "fdisk",
    "kmod",
    "mkosi",
    "mmdebstrap",
    "mtools",
    "openssl",
    "ovmf",
    "procps",
    "python3-cryptography",
    "python3-pefile",
    "qemu-system-x86",
    "sbsigntool",
    "swtpm",
    "swtpm-tools",
    "systemd",
    "systemd-boot",
    "systemd-boot-efi",
    "systemd-boot-tools",
    "systemd-container",
    "systemd-cryptsetup",
    "systemd-repart",
    "systemd-ukify",
    "udev",
    "uidmap",
    "zstd",
];

const WRAPPERS: &[(&str, &str)] = &[
    // mkosi 25.3 has no setting for the boot phases that are signed, and signs all four. `/var` opens in the first one only.
    // mkosi starts this with `python3`, so it has to be Python.
    (
        "ukify",
        "#!/usr/bin/python3\n\
         import os, sys\n\
         arguments = sys.argv[1:]\n\
         if '--pcr-private-key' in arguments:\n    arguments.append('--phases=enter-initrd')\n\
         os.execv('/usr/bin/python3', ['python3', '/usr/bin/ukify.distrib', *arguments])\n",
    ),
    // The time of signing is part of the signature, and what is signed is measured: with the wall clock no two builds
    // would be equal.
    ("sbsign", "#!/bin/sh\nexec faketime -f \"2026-01-01 00:00:00\" /usr/bin/sbsign.distrib \"$@\"\n"),
];
