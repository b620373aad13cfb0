//! The build of one image: the disk that is flashed, the UKI in it, and the approval of what the TPM will measure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, ensure};

use crate::approve;
use crate::board::Board;
use crate::keys::Keys;
use crate::place::Place;
use crate::run::{output, run};
use crate::stage;
use crate::tree::Tree;
use crate::{Variant, Which};

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    which: Which,
    /// The folder with the built programs; `release` takes programs that were built without features only
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    programs: PathBuf,
    /// The level of the image: a box that was raised to a level opens for no lower one
    #[arg(long, value_name = "N", default_value_t = 1)]
    level: u64,
}

/// The disk of a built image.
pub(crate) fn disk(place: &Place, which: &Which) -> anyhow::Result<PathBuf> {
    let path = place.output(which).join("holdfast.raw");
    ensure!(path.exists(), "there is no such image yet: holdfast-image build --board {}", which.board);
    Ok(path)
}

/// Builds.
pub(crate) fn build(place: &Place, wanted: &Wanted) -> anyhow::Result<()> {
    let which = &wanted.which;
    let board = Board::read(place, &which.board)?;
    refuse_features(&wanted.programs, which.variant)?;
    let tree = Tree::ready(place)?;
    let keys = Keys::ready(place, &tree)?;
    let stage = stage::lay_out(place, which, &board, &keys, &wanted.programs)?;
    let out = place.output(which);
    if out.exists() {
        fs::remove_dir_all(&out).context("cannot remove the image that was there")?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    mkosi(place, &tree, &board, &keys, &stage, &out)?;
    let made = |end: &str| -> anyhow::Result<PathBuf> {
        let name = format!("holdfast_{}_{}{end}", env!("CARGO_PKG_VERSION"), board.architecture);
        let path = out.join(&name);
        ensure!(path.exists(), "mkosi made no {name}");
        Ok(path)
    };
    let (raw, uki) = (out.join("holdfast.raw"), out.join("holdfast.efi"));
    fs::rename(made(".raw")?, &raw).context("cannot name the disk")?;
    fs::rename(made(".efi")?, &uki).context("cannot name the UKI")?;
    approve::approve(&tree, &keys, &board.name, wanted.level, &uki, &raw)?;
    println!("image   {}", raw.display());
    Ok(())
}

fn mkosi(place: &Place, tree: &Tree, board: &Board, keys: &Keys, stage: &Path, out: &Path) -> anyhow::Result<()> {
    let folder = place.made("mkosi");
    let cache = place.made("cache");
    fs::create_dir_all(&cache).context("cannot make the cache")?;
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove an older configuration")?;
    }
    // A copy, because mkosi writes beside its configuration.
    run(Command::new("cp").args(["--recursive", "--no-dereference"]).arg(place.ours("mkosi")).arg(&folder))?;
    let mut command = tree.command("env");
    command.arg(format!("SOURCE_DATE_EPOCH={}", commit_time(place)?)).arg("mkosi").arg("--directory").arg(&folder);
    command.arg(format!("--image-version={}", env!("CARGO_PKG_VERSION")));
    command.arg(format!("--architecture={}", board.architecture));
    for (flag, path) in [
        ("output-dir", out),
        ("cache-dir", &cache),
        ("extra-tree", stage),
        ("secure-boot-key", &keys.secure_boot.key),
        ("secure-boot-certificate", &keys.secure_boot.certificate),
        ("sign-expected-pcr-key", &keys.registers.key),
        ("sign-expected-pcr-certificate", &keys.registers.certificate),
    ] {
        command.arg(format!("--{flag}={}", path.display()));
    }
    run(command.args(["--force", "build"])).context("mkosi could not build the image")
}

/// The time in every file of the image: of the commit, so that the same commit gives the same bytes.
fn commit_time(place: &Place) -> anyhow::Result<u64> {
    let text = output(Command::new("git").arg("-C").arg(&place.checkout).args(["log", "-1", "--format=%ct"]))?;
    text.trim().parse().map_err(|_| anyhow!("git names no time of the last commit"))
}

/// A program that would accept an emulated TPM never goes into a release.
fn refuse_features(programs: &Path, variant: Variant) -> anyhow::Result<()> {
    if variant != Variant::Release {
        return Ok(());
    }
    let help = output(Command::new(programs.join("holdfast-vault")).arg("--help"))?;
    ensure!(
        !help.contains("--danger"),
        "{} has a holdfast-vault that accepts an emulated TPM: build the programs without features",
        programs.display()
    );
    Ok(())
}
