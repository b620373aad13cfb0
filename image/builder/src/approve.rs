//! The approval of an image: the release key signs what the TPM will measure. It lies beside the UKI on the ESP, since it
//! cannot be inside what it signs; the TPM judges it, so its place need not be trusted.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use holdfast_evidence::Approval;

use crate::keys::Keys;
use crate::measure::{PHASES, register_11};
use crate::run::{output, run};
use crate::tree::Tree;

/// Where the ESP begins on our disks, as mtools wants it.
const ESP_AT: &str = "1M";

/// Approves the UKI for every level up to its own, and puts the approvals on the disk.
pub(crate) fn approve(
    tree: &Tree,
    keys: &Keys,
    board: &str,
    level: u64,
    uki: &Path,
    disk: &Path,
) -> anyhow::Result<()> {
    let bytes = fs::read(uki).with_context(|| format!("cannot read {}", uki.display()))?;
    let predicted = register_11(&bytes, PHASES)?;
    as_systemd_says(tree, uki, &predicted)?;
    let approvals: Vec<_> =
        (1..=level).map(|level| Approval::of_image(&keys.release, board, level, predicted)).collect();
    let path = disk.with_file_name("approvals");
    fs::write(&path, postcard::to_allocvec(&approvals).context("cannot write the approvals")?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    fs::write(disk.with_file_name("register-11"), format!("{}\n", hex::encode(predicted)))
        .context("cannot note the register")?;
    let esp = format!("{}@@{ESP_AT}", disk.display());
    run(tree.command("mmd").args(["-i", &esp, "::/holdfast"]))?;
    run(tree.command("mcopy").args(["-i", &esp]).arg(&path).arg("::/holdfast/approvals"))
}

/// systemd's own tool must come to the same value: a wrong one would keep every share shut.
fn as_systemd_says(tree: &Tree, uki: &Path, predicted: &[u8; 32]) -> anyhow::Result<()> {
    let sections = tempfile::tempdir_in(uki.parent().context("the UKI is in no folder")?)?;
    let said = output(
        tree.command("/usr/bin/python3")
            .args(["-c", SPLIT_AND_MEASURE])
            .arg(uki)
            .arg(sections.path())
            .arg(PHASES.join(":")),
    )?;
    ensure!(
        said.contains(&hex::encode(predicted)),
        "register 11 is predicted as {}, systemd says {said}",
        hex::encode(predicted)
    );
    Ok(())
}

/// Takes the UKI apart and has `systemd-measure` calculate the register.
const SPLIT_AND_MEASURE: &str = r#"
import pefile, subprocess, sys
uki, folder, phases = sys.argv[1:]
arguments = []
for section in pefile.PE(uki, fast_load=True).sections:
    name = section.Name.rstrip(b"\0").decode()[1:]
    if name in {"linux", "osrel", "cmdline", "initrd", "ucode", "splash", "dtb", "uname", "sbat", "pcrpkey", "profile", "hwids"}:
        with open(f"{folder}/{name}", "wb") as file:
            file.write(section.get_data(length=section.Misc_VirtualSize))
        arguments.append(f"--{name}={folder}/{name}")
subprocess.run(["/usr/lib/systemd/systemd-measure", "calculate", "--bank=sha256", f"--phase={phases}", "--json=short", *arguments], check=True)
"#;
