//! Requests made from the API's document, to a box that nobody will miss: every answer is one that the document names,
//! and none is a fault of the box.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use holdfast_api::routes::ROUTES;
use holdfast_provisioning::certificate;
use holdfast_tests::kit::{Desk, Place, code_on_screen};
use holdfast_tests::repo_root;
use serde_json::Value;

use crate::guessing::{EMULATED, PLAIN, lone_box};

/// As an admin, as a reader, with a document that lacks an answer; and as a stranger, of a box that nobody owns.
pub(crate) fn is_documented(dir: &Path) -> anyhow::Result<()> {
    let mut node = lone_box(dir)?;
    let desk = Desk::new(&dir.join("desk"), Place::here())?;
    let code = code_on_screen(&node.screen_socket())?;
    let address = node.api_address()?;
    desk.run_with(&["pair", &address, "--code-file", "-", "--name", "one", "--yes", EMULATED, PLAIN], &code)?;

    let admin = Caller::issued(&desk, dir, "admin")?;
    let mut tester = Tester { address, dir: dir.to_owned(), etag: String::new() };
    let document = tester.get("/v1/openapi.json", &admin)?.1;
    tester.etag = tester.get("/v1/configuration", &admin)?.0;
    tester.validate(&document)?;
    let seen = tester.finds_nothing("admin", &document, Some(&admin), &[], CASES_MIN)?;
    for operation in REACHED {
        ensure!(seen.has(operation, 200), "no request got further in {operation} than to a refusal");
    }
    ensure!(node.reboot_record().is_file(), "no request had the box restarted");
    let reader = Caller::issued(&desk, dir, "reader")?;
    tester.finds_nothing("reader", &document, Some(&reader), BRIEF, ROUTES.len())?;
    tester.finds_what_is_missing(&document, &admin)?;

    desk.run(&["--yes", "reset"])?;
    ensure!(node.vault()?.status()?.authority.is_none(), "a box that was reset has an owner");
    node.check()?;
    node.stop()?;

    // A box of its own: one that was reset has the default configuration, whose port may be somebody else's here.
    let mut unowned = lone_box(&dir.join("other"))?;
    code_on_screen(&unowned.screen_socket())?;
    tester.address = unowned.api_address()?;
    let within_its_limits = [BRIEF, &["--rate-limit", "8/s"]].concat();
    tester.finds_nothing("stranger", &document, None, &within_its_limits, ROUTES.len())?;
    unowned.check()?;
    unowned.stop()
}

/// Who asks: a certificate and its key, as the tester reads them.
struct Caller {
    certificate: PathBuf,
    key: PathBuf,
}

impl Caller {
    fn issued(desk: &Desk, dir: &Path, role: &str) -> anyhow::Result<Self> {
        let out = dir.join(role);
        desk.run(&["authority", "issue", role, "--role", role, "--out", &out.display().to_string()])?;
        let der = fs::read(out.join("client.der"))?;
        let pem = out.join("client.pem");
        fs::write(&pem, certificate::to_pem(&der.into())?)?;
        Ok(Self { certificate: pem, key: out.join("client.key") })
    }
}

/// The programs of `.dev/schemathesis`, and the box that they ask.
struct Tester {
    address: String,
    dir: PathBuf,
    /// Of the configuration that the box has.
    etag: String,
}

impl Tester {
    /// What the box shows there, after its ETag.
    fn get(&self, path: &str, caller: &Caller) -> anyhow::Result<(String, Value)> {
        let mut curl = Command::new("curl");
        // The tests of TLS show whom the box's certificate convinces; these are about what is said.
        curl.args(["-s", "-m", "10", "--insecure", "--fail", "-w", "\n%header{etag}"]);
        curl.arg("--cert").arg(&caller.certificate).arg("--key").arg(&caller.key);
        let output = curl.arg(format!("https://{}{path}", self.address)).output().context("cannot run curl")?;
        ensure!(output.status.success(), "the box does not answer {path}: {}", output.status);
        let said = String::from_utf8(output.stdout)?;
        let (body, etag) = said.rsplit_once('\n').context("curl says what it was asked for")?;
        Ok((etag.to_owned(), serde_json::from_str(body).with_context(|| format!("{path} is not JSON"))?))
    }

    /// By a program that knows OpenAPI, and nothing of the box.
    fn validate(&self, document: &Value) -> anyhow::Result<()> {
        let path = self.write("valid", document)?;
        let output = program("openapi-spec-validator").arg(&path).output().context(NOT_SET_UP)?;
        ensure!(output.status.success(), "the document is not valid OpenAPI: {}", text(&output));
        let path = self.write("invalid", &without(document, "/info/title")?)?;
        let output = program("openapi-spec-validator").arg(&path).output().context(NOT_SET_UP)?;
        ensure!(!output.status.success(), "a document without a title is taken for valid");
        Ok(())
    }

    /// Whether every operation was asked, by at least so many requests in all, and nothing was found.
    fn finds_nothing(
        &self,
        name: &str,
        document: &Value,
        caller: Option<&Caller>,
        how: &[&str],
        cases_min: usize,
    ) -> anyhow::Result<Seen> {
        let (output, seen, seconds) = self.run(name, document, caller, how)?;
        ensure!(output.status.success(), "asking as {name} found:\n{}", text(&output));
        let operations = seen.operations.len();
        println!("  as {name}: {} requests to {operations} operations in {seconds:.1} s", seen.cases);
        ensure!(operations == ROUTES.len(), "{operations} of {} operations were asked", ROUTES.len());
        ensure!(seen.cases >= cases_min, "{} requests are too few to tell", seen.cases);
        Ok(seen)
    }

    /// The same box with a document that does not name an answer which it gives.
    fn finds_what_is_missing(&self, document: &Value, caller: &Caller) -> anyhow::Result<()> {
        let damaged = without(document, "/paths/~1v1~1operations~1{id}/get/responses/404")?;
        let how = [BRIEF, &["--include-path", "/v1/operations/{id}"]].concat();
        let (output, ..) = self.run("damaged", &damaged, Some(caller), &how)?;
        let said = text(&output);
        ensure!(!output.status.success(), "an answer that is not in the document was not found: {said}");
        ensure!(said.contains("Undocumented status code"), "something else was found: {said}");
        Ok(())
    }

    fn run(
        &self,
        name: &str,
        document: &Value,
        caller: Option<&Caller>,
        how: &[&str],
    ) -> anyhow::Result<(Output, Seen, f32)> {
        let report = self.dir.join(format!("{name}.ndjson"));
        let mut command = program("schemathesis");
        command.args(["--config-file", "tests/schemathesis/schemathesis.toml", "run"]);
        command.arg(self.write(name, document)?).args(["--url", &format!("https://{}", self.address)]);
        // The certificate of the box names the box, not where it happens to listen.
        command.args(["--tls-verify", "false", "--report-ndjson-path"]).arg(&report).args(how);
        command.env("HOLDFAST_ETAG", &self.etag);
        if let Some(caller) = caller {
            command.arg("--request-cert").arg(&caller.certificate).arg("--request-cert-key").arg(&caller.key);
        }
        let began = Instant::now();
        let output = command.output().context(NOT_SET_UP)?;
        fs::write(self.dir.join(format!("{name}.log")), text(&output))?;
        Ok((output, Seen::read(&report)?, began.elapsed().as_secs_f32()))
    }

    fn write(&self, name: &str, document: &Value) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(format!("{name}.json"));
        fs::write(&path, document.to_string())?;
        Ok(path)
    }
}

/// What a run did.
#[derive(Default)]
struct Seen {
    cases: usize,
    operations: BTreeSet<String>,
    /// Operation and status of every answer.
    answers: BTreeSet<(String, u64)>,
}

impl Seen {
    /// From a report: a line for each thing that happened, the requests in those of finished scenarios.
    fn read(report: &Path) -> anyhow::Result<Self> {
        let mut seen = Self::default();
        for line in fs::read_to_string(report)?.lines() {
            let happened: Value = serde_json::from_str(line).context("the report is not JSON")?;
            let Some(recorder) = happened.pointer("/ScenarioFinished/recorder") else { continue };
            let operation = recorder["label"].as_str().context("a scenario has a label")?;
            for asked in recorder["interactions"].as_object().into_iter().flat_map(serde_json::Map::values) {
                seen.cases += 1;
                seen.operations.insert(operation.to_owned());
                let status = asked.pointer("/response/status_code").and_then(Value::as_u64);
                seen.answers.insert((operation.to_owned(), status.context("a request has no answer")?));
            }
        }
        Ok(seen)
    }

    /// Whether an operation was answered so.
    fn has(&self, operation: &str, status: u64) -> bool {
        self.answers.contains(&(operation.to_owned(), status))
    }
}

/// The document without what is at this place.
fn without(document: &Value, pointer: &str) -> anyhow::Result<Value> {
    let mut damaged = document.clone();
    let (parent, name) = pointer.rsplit_once('/').context("a pointer has a slash")?;
    let parent = damaged.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.and_then(|parent| parent.remove(name)).with_context(|| format!("the document has nothing at {pointer}"))?;
    Ok(damaged)
}

fn program(name: &str) -> Command {
    let mut command = Command::new(repo_root().join(".dev/schemathesis/bin").join(name));
    command.current_dir(repo_root());
    command
}

fn text(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat()
}

const NOT_SET_UP: &str = "cannot run the property tester: ./dev setup sets it up";
const BRIEF: &[&str] = &["--phases", "fuzzing", "--max-examples", "1"];
/// Half of what there are at present.
const CASES_MIN: usize = 500;
/// What has to work for the answers behind its checks to be seen.
const REACHED: &[&str] =
    &["GET /v1/events", "POST /v1/vault/challenges", "POST /v1/vault/evidence", "PUT /v1/configuration"];
