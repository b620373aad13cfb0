//! Secrets are planted wherever a box is given some, and looked for in everything that it tells, keeps or leaves behind.
//!
//! A scan that finds nothing proves nothing, so that each kind of scan must also find what is there by design: the node's
//! identity key and the tokens of beacon nodes in the daemon's memory, the tokens in the configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_api::routes::ROUTES;
use holdfast_api::{BeaconNode, Role};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::{Call, Client, ClientError, Target};
use holdfast_provisioning::tls::{BoxJudge, Expected, TlsKey, client_config};
use holdfast_tests::kit::{Cluster, Desk, NodeBox};
use holdfast_tests::now;
use holdfast_tests::scan::{Needles, Part, Place, ScanReport};
use holdfast_types::Mode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use p256::SecretKey;
use p256::pkcs8::DecodePrivateKey as _;
use rand::RngCore as _;
use rand::rngs::OsRng;

/// What was planted.
struct Secrets {
    /// By what a finding is named, with what to look for. They are nowhere.
    never: Vec<(&'static str, Needles)>,
    /// The pairing codes, which the daemon has made itself. What is left of them in its memory are used up.
    codes: Needles,
    /// Tokens of beacon nodes, which the daemon needs and admins may see.
    tokens: Needles,
    /// The node's key, which the daemon has by design.
    identity: Needles,
}

/// Plants tokens in the configuration of box 0, and looks for them and for everything else that is secret.
pub(crate) fn stay_where_they_belong(
    cluster: &mut Cluster,
    desk: &Desk,
    home: &Path,
    dir: &Path,
) -> anyhow::Result<()> {
    let authority = authority(home)?;
    let tokens: Vec<String> = (0..8).map(|_| random_text()).collect();
    let secrets = Secrets::of(cluster, home, &authority, &tokens)?;
    plant(cluster, desk, &tokens)?;
    let node = &mut cluster.boxes[0];
    node.wait_for("ready with the tokens", READY_MAX, |status| status.mode == Mode::Ready)?;
    until_it_failed(node)?;

    let address = node.api_address()?;
    for role in [Role::Reader, Role::Operator, Role::Admin] {
        let answers = dir.join(role.to_string());
        fs::create_dir_all(&answers)?;
        let asked = ask_everything(&address, &authority, role, &answers)?;
        ensure!(asked >= 15, "only {asked} answers were looked at");
        secrets.look_into_files(&format!("{asked} answers to the role {role}"), &answers, CONFIGURATION_ANSWERS)?;
        let seen = secrets.tokens.scan_dir(&answers)?;
        ensure!((role == Role::Admin) != whole(&seen).is_empty(), "the scan of answers to {role} finds nothing");
    }
    let pid = node.daemon_pid().context("the daemon does not run")?;
    secrets.look_into_memory(pid)?;
    crash(node, pid)?;
    secrets.look_into_files("the disk and the logs of the box", node.dir(), CONFIGURATION_FILES)?;
    let kept = secrets.tokens.scan_dir(&node.state_dir())?;
    ensure!(!whole(&kept).is_empty(), "the scan of files does not find the tokens in the configuration");
    Ok(())
}

pub(crate) fn authority(home: &Path) -> anyhow::Result<Authority> {
    let kept = |file: &str| fs::read_to_string(home.join(file)).with_context(|| format!("the desk keeps no {file}"));
    // The boxes were paired without a passphrase of the operator's own, so that one lies beside the key.
    Ok(Authority::import_pem(&kept("authority.pem")?, kept("authority.passphrase")?.trim())?)
}

impl Secrets {
    fn of(cluster: &Cluster, home: &Path, authority: &Authority, tokens: &[String]) -> anyhow::Result<Self> {
        let nodes = &cluster.keys.nodes;
        let shares: Vec<[u8; 32]> = nodes.iter().flat_map(|node| &node.shares).map(|share| *share.expose()).collect();
        let passphrase = fs::read_to_string(home.join("authority.passphrase"))?.trim().to_owned();
        let passwords = cluster.keystore_passwords()?;
        ensure!(!passwords.is_empty() && !cluster.codes.is_empty(), "nothing was planted");
        let key = SecretKey::from_pkcs8_pem(&authority.danger_plain_pem()?)?.to_bytes().into();
        // A code is typed with its dashes or without.
        let codes = cluster.codes.iter().flat_map(|code| [code.clone(), code.replace('-', "")]).collect::<Vec<_>>();
        Ok(Self {
            never: vec![
                ("a share", Needles::of(&shares)),
                ("the authority's key", Needles::of(&[key])),
                ("the operator's passphrase", Needles::of_texts(&[passphrase])),
                ("the password of a keystore", Needles::of_texts(&passwords)),
            ],
            codes: Needles::of_texts(&codes),
            tokens: Needles::of_texts(tokens),
            identity: Needles::of(&[*nodes[0].key.expose()]),
        })
    }

    /// Tokens may be in files of these names; nothing else that is secret may be in any.
    fn look_into_files(&self, what: &str, dir: &Path, with_tokens: &[&str]) -> anyhow::Result<()> {
        for (secret, needles) in &self.never {
            let report = needles.scan_dir(dir)?;
            ensure!(report.unread.is_empty() && report.bytes_read > 0, "not all of {what} was read: {report:?}");
            ensure!(report.findings.is_empty(), "{secret} is in {what}: {:?}", report.findings);
        }
        // Half of a code is so short that it turns up by chance.
        let codes = whole(&self.codes.scan_dir(dir)?);
        ensure!(codes.is_empty(), "a pairing code is in {what}: {codes:?}");
        for found in self.tokens.scan_dir(dir)?.findings {
            let name = file(&found.place).file_name().unwrap_or_default().to_string_lossy().into_owned();
            ensure!(with_tokens.contains(&name.as_str()), "the token of a beacon node is in {what}: {found:?}");
        }
        println!("  {what}: nothing that is secret");
        Ok(())
    }

    fn look_into_memory(&self, pid: u32) -> anyhow::Result<()> {
        for (what, known) in [("identity key", &self.identity), ("token", &self.tokens)] {
            ensure!(!known.scan_process(pid)?.whole_forms().is_empty(), "the scan of memory finds no {what}");
        }
        for (secret, needles) in &self.never {
            let found = needles.scan_process(pid)?.findings;
            ensure!(found.is_empty(), "{secret} is in the daemon's memory: {found:?}");
        }
        println!("  the daemon's memory: nothing that is secret but tokens and its own keys");
        Ok(())
    }
}

/// The files in which a whole secret was found.
fn whole(report: &ScanReport) -> BTreeSet<PathBuf> {
    report
        .findings
        .iter()
        .filter(|found| found.part == Part::Whole)
        .map(|found| file(&found.place).to_owned())
        .collect()
}

fn file(place: &Place) -> &Path {
    match place {
        Place::File { path, .. } => path,
        Place::Memory { mapping, .. } => Path::new(mapping),
    }
}

/// Adds two beacon nodes that do not work: one that answers with errors, and one that nobody reaches. Their URLs have a
/// token in each part that may carry one. A third is refused when it is added.
fn plant(cluster: &Cluster, desk: &Desk, tokens: &[String]) -> anyhow::Result<()> {
    let [user, password, path, query, other @ ..] = tokens else { anyhow::bail!("too few tokens") };
    let node = &cluster.boxes[0];
    let mut configuration = node.configuration()?;
    let answering = configuration.beacon_nodes[0].url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let nobody = format!("127.0.0.1:{}", node.place.free_port(1)?);
    let urls = [
        format!("http://{user}:{password}@{answering}/{path}?key={query}"),
        format!("http://{}:{}@{nobody}/{}?key={}", other[0], other[1], other[2], other[3]),
    ];
    let context = ["--context", "box0", "--yes"];
    let refused = desk.ask(&[&context, ["beacon", "add", &urls[0], "--name", "refused"].as_slice()].concat(), "")?;
    ensure!(refused.code != 0, "a beacon node that answers with errors was added: {}", refused.out);
    for (place, url) in urls.into_iter().enumerate() {
        configuration.beacon_nodes.push(BeaconNode { name: format!("token{place}"), url });
    }
    let document = serde_json::to_string(&configuration)?;
    desk.run_with(&[&context, ["config", "apply", "-"].as_slice()].concat(), &document)?;
    Ok(())
}

/// Waits until the log tells of trouble with the node that nobody reaches: only then it could have told too much.
fn until_it_failed(node: &NodeBox) -> anyhow::Result<()> {
    let began = Instant::now();
    let nobody = node.configuration()?.beacon_nodes.last().map(|node| node.url.clone()).unwrap_or_default();
    let host =
        nobody.rsplit('@').next().and_then(|rest| rest.split('/').next()).context("a URL has a host")?.to_owned();
    while !fs::read_to_string(node.daemon_log())?.contains(&host) {
        ensure!(began.elapsed() < FAILED_MAX, "the log does not tell of the beacon node at {host}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Asks for everything that this role may read, and keeps each answer in a file.
fn ask_everything(address: &str, authority: &Authority, role: Role, dir: &Path) -> anyhow::Result<usize> {
    let client = client_of(address, authority, role)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asked = 0;
        for route in
            ROUTES.iter().filter(|route| route.method == "GET" && route.role.is_some_and(|needs| needs <= role))
        {
            let name = route.path.trim_start_matches("/v1/").replace('/', "-");
            let body = match route.path {
                "/v1/events" => events(&client).await?,
                path => match client.call(Call::get(path.replace("{id}", "1"))).await {
                    Ok(answer) => answer.body().to_vec(),
                    Err(ClientError::Problem(problem)) => serde_json::to_vec(&problem)?,
                    Err(error) => return Err(error).context(route.path),
                },
            };
            fs::write(dir.join(name), body)?;
            asked += 1;
        }
        Ok(asked)
    })
}

/// Whoever has a certificate of this role.
pub(crate) fn client_of(address: &str, authority: &Authority, role: Role) -> anyhow::Result<Client> {
    let key = TlsKey::random(&mut OsRng);
    let certificate = authority.issue_client("scan", role, &key.public(), now(), &mut OsRng)?;
    let judge = BoxJudge::new(authority.certificate().clone(), Expected::default(), now)?;
    let target: Target = address.parse()?;
    Ok(Client::new(target, client_config(Arc::new(judge), Some((&key, certificate)))?))
}

/// All events that are kept, up to the present.
async fn events(client: &Client) -> anyhow::Result<Vec<u8>> {
    let mut stream = client.events(Some(0)).await?;
    let mut all = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(2), stream.next()).await {
        all.extend(serde_json::to_vec(&event?)?);
        if all.len() > EVENTS_LEN_MAX {
            break;
        }
    }
    Ok(all)
}

/// Ends the daemon as a bug would.
fn crash(node: &mut NodeBox, pid: u32) -> anyhow::Result<()> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("no bound on core files")?;
    ensure!(core.split_whitespace().nth(4) == Some("0"), "a crash would leave a core file: {core}");
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGABRT)?;
    let began = Instant::now();
    while node.check().is_ok() {
        ensure!(began.elapsed() < Duration::from_secs(20), "the daemon survives SIGABRT");
        std::thread::sleep(Duration::from_millis(50));
    }
    node.kill_daemon();
    Ok(())
}

fn random_text() -> String {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    hex::encode(bytes)
}

const READY_MAX: Duration = Duration::from_secs(60);
const FAILED_MAX: Duration = Duration::from_secs(60);
const EVENTS_LEN_MAX: usize = 8 << 20;
/// What shows admins the configuration as it is.
const CONFIGURATION_ANSWERS: &[&str] = &["configuration", "configuration-history"];
/// And where it is kept.
const CONFIGURATION_FILES: &[&str] = &["configuration.json", "configuration-history.json"];
