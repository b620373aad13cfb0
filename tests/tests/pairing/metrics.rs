//! A monitor elsewhere in the network: it reads metrics with a reader's certificate, and nobody does without one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_api::{MetricsSettings, ProblemId, Role};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::{Call, Client, Target};
use holdfast_provisioning::tls::pairing_client_config;
use holdfast_tests::kit::{Desk, NodeBox};

use crate::secrets::client_of;

/// Moves the metrics of a box off loopback, with the command.
pub(crate) fn need_certificates_elsewhere(node: &NodeBox, desk: &Desk, authority: &Authority) -> anyhow::Result<()> {
    ensure!(node.get("/metrics")?.0 == 200, "metrics are not on loopback to begin with");
    let elsewhere = format!("127.0.0.2:{}", node.place.free_port(3621)?);
    let in_the_network = format!("192.0.2.1:{}", node.http_port());
    let refused = apply(node, desk, &in_the_network, false)?;
    ensure!(refused.code != 0, "metrics without certificates may leave loopback: {}", refused.out);
    ensure!(refused.err.contains("/metrics/certificates"), "the remedy is not named: {}", refused.err);
    let applied = apply(node, desk, &elsewhere, true)?;
    ensure!(applied.code == 0, "metrics do not move: {}", applied.err);

    let reader = client_of(&elsewhere, authority, Role::Reader)?;
    let target: Target = elsewhere.parse()?;
    let stranger = Client::new(target, pairing_client_config()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let metrics = loop {
            match reader.call(Call::get("/metrics")).await {
                Ok(answer) => break answer,
                Err(error) if began.elapsed() > MOVED_MAX => return Err(error).context("metrics are not served"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        let text = String::from_utf8_lossy(metrics.body()).into_owned();
        ensure!(text.contains("holdfast_mode{mode=\"ready\"} 1"), "these are no metrics: {text}");
        ensure!(reader.call(Call::get("/readyz")).await?.status() == 200, "a box that signs is not ready");
        let refused = stranger.call(Call::get("/metrics")).await.err().and_then(|error| error.problem()?.id());
        ensure!(refused == Some(ProblemId::Unauthenticated), "a stranger was answered with {refused:?}");
        Ok(())
    })?;
    ensure!(node.get("/metrics").is_err(), "metrics are on loopback still");
    Ok(())
}

fn apply(node: &NodeBox, desk: &Desk, listen: &str, certificates: bool) -> anyhow::Result<holdfast_tests::kit::Said> {
    let mut configuration = node.configuration()?;
    configuration.metrics = MetricsSettings { listen: listen.to_owned(), certificates };
    let context = format!("box{}", node.operator);
    desk.ask(&["--context", &context, "--yes", "config", "apply", "-"], &serde_json::to_string(&configuration)?)
}

const MOVED_MAX: Duration = Duration::from_secs(30);
