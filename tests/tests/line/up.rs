//! `holdfast-devkit up` as a user starts it: what it reports, and that nothing of it stays behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::bench::Bench;

/// Set-up, warm-up, two epochs of two-second slots and the last inclusions take 165 s on a free machine.
const TWO_EPOCHS_MAX: Duration = Duration::from_secs(300);

/// From Ctrl-C to the end: the daemons finish the duties under way, one after the other.
const CTRL_C_MAX: Duration = Duration::from_secs(60);

/// Orphans end at once, but not before their parent.
const LEFT_OVER_MAX: Duration = Duration::from_secs(5);

pub(crate) fn two_epochs(bench: &mut Bench) -> anyhow::Result<()> {
    let dir = bench.new_dir("up")?;
    let json = dir.join("report.json");
    let mut devkit = Devkit::start(&dir, &["--epochs", "2", "--json", json.to_str().context("an odd path")?])?;
    let status = devkit.wait(TWO_EPOCHS_MAX)?;
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).with_context(|| devkit.said())?)?;
    check_fields(&report)?;
    let count = |field: &str| report[field].as_u64().with_context(|| format!("{field} is no count"));
    let (expected, included) = (count("expected")?, count("included")?);
    let (decided, round_1) = (count("decided")?, count("decided_round_1")?);
    println!("  included {included} of {expected}; decided {decided}, {round_1} in round 1");
    // Two epochs hold one whole epoch, in which each of the 64 validators has one duty, and at most three.
    ensure!((64..=192).contains(&expected), "expected 64 to 192 duties of 64 validators in two epochs, saw {expected}");
    ensure!(included * 100 >= expected * 98, "expected 98 % of {expected} included, saw {included}: {report:#}");
    ensure!((1..=64).contains(&decided), "expected 1 to 64 decided slots, saw {decided}");
    ensure!(round_1 * 100 >= decided * 95, "expected 95 % of {decided} decided in round 1, saw {round_1}: {report:#}");
    let missed = report["missed"].as_array().map_or(0, Vec::len) as u64;
    ensure!(missed == expected - included, "expected {} missed votes listed, saw {missed}", expected - included);
    ensure!(
        status.success() == (missed == 0),
        "expected exit 0 exactly when nothing was lost, saw {status} with {missed} lost: {}",
        devkit.said()
    );
    devkit.expect_nothing_left()
}

pub(crate) fn ctrl_c(bench: &mut Bench) -> anyhow::Result<()> {
    let (devkit, status) = interrupted(bench, "two rows of the table", |devkit| devkit.rows() >= 2)?;
    let said = devkit.said();
    ensure!(status.code().is_some(), "expected it to end by itself after Ctrl-C, saw {status}: {said}");
    ensure!(said.contains("included   "), "expected a summary after Ctrl-C, saw: {said}");
    ensure!(status.success(), "expected exit 0 after Ctrl-C, saw {status}: {said}");
    devkit.expect_nothing_left()
}

pub(crate) fn ctrl_c_at_start(bench: &mut Bench) -> anyhow::Result<()> {
    let importing = |devkit: &Devkit| devkit.said().contains("importing the cluster into box 1");
    let (devkit, status) = interrupted(bench, "the second box being set up", importing)?;
    // As a shell says of what Ctrl-C ended. The folder stays: it has the logs of what was under way.
    ensure!(status.code() == Some(130), "expected exit 130, saw {status}: {}", devkit.said());
    devkit.expect_nothing_runs()?;
    fs::remove_dir_all(devkit.folder()).context("cannot remove the folder of the run")
}

/// A small run that got a Ctrl-C once it was as far as `far` says, and how it ended.
fn interrupted(bench: &mut Bench, what: &str, far: fn(&Devkit) -> bool) -> anyhow::Result<(Devkit, ExitStatus)> {
    let dir = bench.new_dir("ctrl-c")?;
    let mut arguments = vec!["--validators", "32"];
    // Namespaces need root; without it there are none to leave behind.
    if nix::unistd::geteuid().is_root() {
        arguments.extend(["--link-delay", "5ms"]);
    }
    let mut devkit = Devkit::start(&dir, &arguments)?;
    let began = Instant::now();
    while !far(&devkit) {
        ensure!(devkit.child.try_wait()?.is_none(), "expected {what}, but it ended: {}", devkit.said());
        ensure!(began.elapsed() < TWO_EPOCHS_MAX, "expected {what}, saw {}", devkit.said());
        std::thread::sleep(Duration::from_millis(100));
    }
    kill(Pid::from_raw(i32::try_from(devkit.child.id())?), Signal::SIGINT)?;
    let interrupted = Instant::now();
    let status = devkit.wait(CTRL_C_MAX)?;
    println!("  ended {:.1} s after Ctrl-C", interrupted.elapsed().as_secs_f32());
    Ok((devkit, status))
}

/// Every field that the report promises is there, of its kind.
fn check_fields(report: &Value) -> anyhow::Result<()> {
    let fields = report.as_object().context("the report is no object")?;
    let expected = ["decided", "decided_round_1", "expected", "included", "latency_ms", "missed", "nodes"];
    let found: Vec<&str> = fields.keys().map(String::as_str).collect();
    ensure!(found == expected, "expected the fields {expected:?} in the report, saw {found:?}");
    for missed in report["missed"].as_array().context("missed is no list")? {
        ensure!(
            missed["slot"].is_u64() && missed["validator"].is_string() && missed["why"].is_string(),
            "expected slot, validator and why of a missed vote, saw {missed}"
        );
    }
    for step in ["decided", "broadcast"] {
        let quantile = |name: &str| report["latency_ms"][step][name].as_i64();
        let found = (quantile("p10"), quantile("p50"), quantile("p90"));
        let (Some(p10), Some(p50), Some(p90)) = found else { bail!("expected p10, p50, p90 of {step}, saw {found:?}") };
        ensure!(p10 <= p50 && p50 <= p90, "expected the quantiles of {step} in order, saw {found:?}");
        // A slot has 2,000 ms, and a duty starts a third into it.
        ensure!((1..2000).contains(&p50), "expected a median of {step} within a slot, saw {p50} ms");
    }
    let nodes = report["nodes"].as_array().context("nodes is no list")?;
    ensure!(nodes.len() == 4, "expected figures of 4 nodes, saw {}", nodes.len());
    for node in nodes {
        for figure in ["private_kib", "rss_kib", "cpu_s_per_slot", "bytes_per_slot"] {
            let value = node[figure].as_f64();
            ensure!(value.is_some_and(|value| value > 0.0), "expected {figure} of a node above 0, saw {node}");
        }
    }
    Ok(())
}

/// A run of the devkit in a session of its own, so that whatever it starts can be told from everything else.
struct Devkit {
    child: Child,
    output: PathBuf,
    namespaces_before: BTreeSet<String>,
}

impl Devkit {
    fn start(dir: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let output = dir.join("output.log");
        let log = File::create(&output)?;
        let child = Command::new("setsid")
            .arg(holdfast_tests::program("holdfast-devkit")?)
            .arg("up")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start holdfast-devkit")?;
        Ok(Self { child, output, namespaces_before: namespaces() })
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Rows of the live table so far.
    fn rows(&self) -> usize {
        self.said().lines().filter(|line| line.contains("  attester  ")).count()
    }

    fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(began.elapsed() < limit, "expected the end within {limit:?}, saw {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The folder that the run makes for itself.
    fn folder(&self) -> PathBuf {
        holdfast_tests::repo_root().join(format!(".dev/runs/{}", self.child.id()))
    }

    fn expect_nothing_left(&self) -> anyhow::Result<()> {
        let folder = self.folder();
        ensure!(!folder.exists(), "expected the folder of the run to be gone, but {} is there", folder.display());
        self.expect_nothing_runs()
    }

    fn expect_nothing_runs(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let processes = processes_of_session(self.child.id())?;
            let namespaces: Vec<String> = namespaces().difference(&self.namespaces_before).cloned().collect();
            if processes.is_empty() && namespaces.is_empty() {
                return Ok(());
            }
            ensure!(
                began.elapsed() < LEFT_OVER_MAX,
                "expected nothing left, saw the processes {processes:?} and the network namespaces {namespaces:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Devkit {
    fn drop(&mut self) {
        // Fails only when it has ended already. What it started ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes of a session that still run, by name.
fn processes_of_session(session: u32) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        // State, parent, process group, session.
        let fields: Vec<&str> = rest.split_whitespace().take(4).collect();
        if fields.get(3).and_then(|field| field.parse().ok()) == Some(session) && fields[0] != "Z" {
            found.push(format!("{name})"));
        }
    }
    Ok(found)
}

/// The named network namespaces of this machine that are ours.
fn namespaces() -> BTreeSet<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("holdfast")).collect()
}
