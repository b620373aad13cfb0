//! A built image in QEMU: UEFI with Secure Boot, a TPM that swtpm plays, a disk, a network card, and the box's serial line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::Which;
use crate::build::disk;
use crate::place::Place;
use crate::run::run;
use crate::tree::Tree;

/// How to start it.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    which: Which,
    /// The port of this machine that the box's API answers on, on loopback
    #[arg(long, value_name = "PORT", default_value_t = 4443)]
    api_port: u16,
    /// The box's folder below .dev/image/boxes: its disk and its TPM; a new name is a new box
    #[arg(long = "box", value_name = "NAME", default_value = "box")]
    name: String,
    /// Write the serial line to this file instead of showing it
    #[arg(long, value_name = "FILE")]
    serial: Option<PathBuf>,
    /// Serve QEMU's monitor (QMP) on this socket
    #[arg(long, value_name = "SOCKET")]
    qmp: Option<PathBuf>,
    /// Serve the hand in the box of the variant `test` on this socket
    #[arg(long, value_name = "SOCKET")]
    fault: Option<PathBuf>,
}

/// The size of a box's disk; what is not written takes no place.
const DISK: u64 = 4 << 30;

/// Starts the box, and ends when it does.
pub(crate) fn boot(place: &Place, wanted: &Wanted) -> anyhow::Result<()> {
    let tree = Tree::ready(place)?;
    let folder = place.made("boxes").join(&wanted.name);
    let tpm = folder.join("tpm");
    if !folder.join("disk.raw").exists() {
        make(&tree, &disk(place, &wanted.which)?, &folder)?;
    }
    if !tpm.join("tpm2-00.permall").exists() {
        fs::create_dir_all(&tpm).context("cannot make the TPM's folder")?;
        run(tree.command("swtpm_setup").args(["--tpm2", "--pcr-banks", "sha256", "--tpmstate"]).arg(&tpm))?;
    }
    let socket = folder.join("tpm.sock");
    run(tree
        .command("sh")
        .args([
            "-c",
            "exec swtpm socket --tpm2 --tpmstate dir=\"$0\" --ctrl type=unixio,path=\"$1\" --terminate --daemon",
        ])
        .arg(&tpm)
        .arg(&socket))?;
    let mut command = qemu(&tree, &folder, &socket, wanted);
    let status = command.status().context("cannot start QEMU")?;
    if !status.success() {
        bail!("QEMU ended with {status}");
    }
    Ok(())
}

/// A box as it comes: the image on a larger disk, firmware without keys.
fn make(tree: &Tree, image: &Path, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("disk.raw");
    run(Command::new("cp").args(["--sparse=always"]).arg(image).arg(&path))?;
    let file = fs::OpenOptions::new().write(true).open(&path).context("cannot open the disk")?;
    file.set_len(DISK).context("cannot make the disk larger")?;
    let variables = tree.file("/usr/share/OVMF/OVMF_VARS_4M.fd");
    fs::copy(variables, folder.join("variables.fd")).context("cannot copy the firmware's variables")?;
    Ok(())
}

fn qemu(tree: &Tree, folder: &Path, tpm: &Path, wanted: &Wanted) -> Command {
    let at = |path: &Path| io_path(path);
    let mut command = tree.command("qemu-system-x86_64");
    command.args(["-M", "q35,smm=on", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"]);
    command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
    command.args(["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"]);
    command.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={}", at(&folder.join("variables.fd"))));
    command.arg("-chardev").arg(format!("socket,id=tpm,path={}", at(tpm)));
    command.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]);
    command.arg("-drive").arg(format!(
        "if=none,id=disk,format=raw,discard=unmap,detect-zeroes=unmap,file={}",
        at(&folder.join("disk.raw"))
    ));
    command.args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"]);
    command.arg("-netdev").arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:4443", wanted.api_port));
    command.args(["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "i6300esb", "-action", "watchdog=reset"]);
    command.args(["-display", "none", "-vga", "std"]);
    match &wanted.serial {
        Some(path) => command.arg("-serial").arg(format!("file:{}", at(path))).stdin(Stdio::null()),
        None => command.args(["-serial", "mon:stdio"]),
    };
    if let Some(path) = &wanted.qmp {
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", at(path)));
    }
    if let Some(path) = &wanted.fault {
        command.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=fault,name=holdfast.fault"]);
        command.arg("-chardev").arg(format!("socket,id=fault,path={},server=on,wait=off", at(path)));
    }
    command
}

/// A path as QEMU's options take it: made whole, since QEMU runs elsewhere, and with commas doubled.
fn io_path(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_: io::Error| path.to_owned());
    whole.display().to_string().replace(',', ",,")
}
