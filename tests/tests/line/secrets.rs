//! Where the shares are while a cluster signs: in the vaults, and in nothing else that a node has or leaves behind.
//!
//! `holdfast_tests::scan` has the tests that show that each form is found when it is planted.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use holdfast_tests::scan::{Needles, ScanReport};

use super::bench::Bench;

/// What a daemon's memory has at least; less would mean that it was not read.
const DAEMON_MIN_BYTES: u64 = 4 * 1024 * 1024;

pub(crate) fn only_the_vault_holds_shares(bench: &mut Bench) -> anyhow::Result<()> {
    let dir = bench.new_dir("secrets")?;
    let running = bench.cluster()?;
    // They have signed by now, so a share that passes through would have done so.
    let first = running.now() + 1;
    running.expect_all_included("before the scan", first, first)?;
    let nodes = &running.cluster.keys.nodes;
    let secrets: Vec<[u8; 32]> = nodes.iter().flat_map(|node| &node.shares).map(|share| *share.expose()).collect();
    let shares = Needles::of(&secrets);
    println!("  {} shares in {} forms", secrets.len(), shares.forms().len());

    for (node, keys) in running.cluster.boxes.iter().zip(nodes) {
        // The daemon holds the node's identity key by design, so that a scan that sees anything sees that.
        let known = Needles::of(&[*keys.key.expose()]);
        let pid = node.daemon_pid().context("the daemon does not run")?;
        let what = format!("the memory of the daemon of node {}", node.operator);
        expect_known(&what, &known.scan_process(pid)?)?;
        let report = shares.scan_process(pid)?;
        ensure!(
            report.bytes_read >= DAEMON_MIN_BYTES,
            "expected {DAEMON_MIN_BYTES} bytes or more of {what}, saw {}",
            report.bytes_read
        );
        expect_none(&what, &report)?;
        let tpm = node.tpm_pid().context("the TPM does not run")?;
        expect_none(&format!("the memory of the TPM of node {}", node.operator), &shares.scan_process(tpm)?)?;
        let report = shares.scan_dir(node.dir())?;
        ensure!(
            report.unread.is_empty(),
            "expected every file of node {} read, saw {:?}",
            node.operator,
            report.unread
        );
        expect_none(&format!("the files of node {}", node.operator), &report)?;
    }

    let node = &running.cluster.boxes[0];
    let pid = node.daemon_pid().context("the daemon does not run")?;
    let core = write_core(pid, &dir)?;
    expect_known("the core file", &Needles::of(&[*nodes[0].key.expose()]).scan_file(&core)?)?;
    expect_none("the core file", &shares.scan_file(&core)?)?;
    fs::remove_file(&core)?;
    // It was stopped for the core, and goes on.
    let first = running.now() + 1;
    running.expect_all_included("after the scan", first, first)?;
    expect_vault_holds_them(bench)
}

/// The same scan finds the shares in the vault, where its memory can be read at all.
fn expect_vault_holds_them(bench: &mut Bench) -> anyhow::Result<()> {
    let running = bench.cluster()?;
    let node = &running.cluster.boxes[0];
    let memory = node.vault()?.status()?.memory;
    let secrets: Vec<[u8; 32]> = running.cluster.keys.nodes[0].shares.iter().map(|share| *share.expose()).collect();
    let pid = node.vault_pid().context("the vault does not run")?;
    let report = Needles::of(&secrets).scan_process(pid);
    if !nix::unistd::geteuid().is_root() {
        ensure!(report.is_err(), "expected the vault's memory out of reach of its own user, saw {report:?}");
        println!("  the vault: out of reach of its own user");
        return Ok(());
    }
    let report = report?;
    if memory == "memfd_secret" {
        // Neither root nor a debugger reads it: the scan says so, and finds no copy outside of it.
        ensure!(report.findings.is_empty(), "expected no share outside of secret memory, saw {:?}", report.findings);
        let secret = report.unread.iter().find(|unread| unread.what.contains("secretmem"));
        let unread = secret.with_context(|| format!("expected unreadable secret memory, saw {:?}", report.unread))?;
        println!("  the vault: {} bytes read, no share in them; {}: {}", report.bytes_read, unread.what, unread.why);
        return Ok(());
    }
    let mut found: Vec<usize> = report.findings.iter().map(|finding| finding.secret).collect();
    found.sort_unstable();
    found.dedup();
    let all = secrets.len();
    ensure!(found.len() == all, "expected all {all} shares in the memory ({memory}) of the vault, saw {}", found.len());
    println!("  the vault ({memory}): all {all} shares found, by root");
    Ok(())
}

fn expect_none(what: &str, report: &ScanReport) -> anyhow::Result<()> {
    ensure!(report.bytes_read > 0, "expected something to read in {what}, saw nothing");
    let findings = &report.findings;
    ensure!(findings.is_empty(), "expected no share in {what}, saw {}: {:?}", findings.len(), findings.first());
    println!("  {what}: {} KiB, {} gaps, no share", report.bytes_read / 1024, report.unread.len());
    Ok(())
}

fn expect_known(what: &str, report: &ScanReport) -> anyhow::Result<()> {
    ensure!(!report.whole_forms().is_empty(), "expected to find the node's identity key in {what}, saw nothing");
    Ok(())
}

/// A core file of a running process: by `gcore` where gdb is installed, otherwise what that would write, without its frame.
fn write_core(pid: u32, dir: &Path) -> anyhow::Result<std::path::PathBuf> {
    let prefix = dir.join("core");
    let gcore = Command::new("gcore")
        .arg("-o")
        .arg(&prefix)
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .stdout(File::create(dir.join("gcore.log"))?)
        .stderr(Stdio::null())
        .status();
    let path = dir.join(format!("core.{pid}"));
    match gcore {
        Ok(status) => ensure!(status.success() && path.exists(), "gcore ended with {status} and no core"),
        Err(_) => write_mappings(pid, &path)?,
    }
    println!("  a core file of {} KiB", fs::metadata(&path)?.len() / 1024);
    Ok(path)
}

fn write_mappings(pid: u32, path: &Path) -> anyhow::Result<()> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut core = File::create(path)?;
    for mapping in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut fields = mapping.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let (start, end) = range.split_once('-').context("a mapping without end")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let mut bytes = vec![0; usize::try_from(end - start)?];
        // The kernel's own pages cannot be read.
        if rights.starts_with("rw") && memory.read_exact_at(&mut bytes, start).is_ok() {
            core.write_all(&bytes)?;
        }
    }
    Ok(())
}
