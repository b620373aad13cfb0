//! Somebody in the network guesses, and the daemon dies between the tries.

use std::path::Path;

use anyhow::ensure;
use holdfast_api::{ApiSettings, Configuration, MetricsSettings};
use holdfast_provisioning::code::{CodeKind, PairingCode};
use holdfast_tests::kit::{Desk, NodeBox, Place, code_on_screen, screen};
use rand::rngs::OsRng;

/// Five wrong codes, with `kill -9` after each: the sixth try finds another code. Then the right one pairs, and the box
/// cannot be paired again.
pub(crate) fn five_tries(dir: &Path) -> anyhow::Result<()> {
    let mut node = lone_box(dir)?;
    let desk = Desk::new(&dir.join("desk"), Place::here())?;
    let address = node.api_address()?;
    let pair =
        |code: &str| desk.ask(&["pair", &address, "--code-file", "-", "--name", "one", "--yes", EMULATED, PLAIN], code);
    for tried in 1..=TRIES {
        let code = code_on_screen(&node.screen_socket())?;
        let wrong = PairingCode::random(CodeKind::Screen, &mut OsRng).to_string();
        let said = pair(&wrong)?;
        ensure!(said.code == FAILED, "a wrong code ended with {}: {}", said.code, said.err);
        ensure!(!said.err.contains(&code) && !said.out.contains(&code), "the code was said: {}", said.err);
        let left = screen(&node.screen_socket())?.pairing.map(|pairing| pairing.tries_left);
        ensure!(left.is_none_or(|left| left <= TRIES - tried), "{left:?} tries are left after {tried}");
        node.kill_daemon();
        node.start_daemon()?;
        let left = screen_again(&node)?;
        let expected = if tried == TRIES { TRIES } else { TRIES - tried };
        ensure!(left == expected, "{left} tries are left after {tried} and a restart, not {expected}");
    }
    let code = code_on_screen(&node.screen_socket())?;
    let said = pair(&code)?;
    ensure!(said.code == 0, "the right code ended with {}: {}{}", said.code, said.out, said.err);
    let said = pair(&code)?;
    ensure!(said.code != 0, "an owned box was paired again: {}", said.out);
    let stranger = Desk::new(&dir.join("stranger"), Place::here())?;
    let said =
        stranger.ask(&["pair", &address, "--code-file", "-", "--name", "mine", "--yes", EMULATED, PLAIN], &code)?;
    ensure!(said.code == NOT_PAIRED && said.err.contains("owner"), "a stranger got {}: {}", said.code, said.err);
    desk.run(&["status"])?;
    node.stop()
}

/// A box alone, on, that nobody owns, and that only records when it was to be restarted.
pub(crate) fn lone_box(dir: &Path) -> anyhow::Result<NodeBox> {
    let here = Place::here();
    let mut node = NodeBox::new(0, here.clone(), &dir.join("box"), here.free_port(3620)?)?;
    node.records_reboots = true;
    node.start_vault()?;
    node.write_configuration(&Configuration {
        api: ApiSettings { listen: format!("127.0.0.1:{}", here.free_port(4443)?), announce: false },
        metrics: MetricsSettings { listen: format!("127.0.0.1:{}", node.http_port()), certificates: false },
        ..Configuration::default()
    })?;
    node.start_daemon()?;
    Ok(node)
}

/// How many tries a restarted daemon shows.
fn screen_again(node: &NodeBox) -> anyhow::Result<u8> {
    code_on_screen(&node.screen_socket())?;
    let pairing = screen(&node.screen_socket())?.pairing;
    Ok(pairing.map_or(0, |pairing| pairing.tries_left))
}

const TRIES: u8 = 5;
const FAILED: i32 = 1;
const NOT_PAIRED: i32 = 5;
pub(crate) const EMULATED: &str = "--danger-accept-emulated-tpm";
pub(crate) const PLAIN: &str = "--danger-no-passphrase";
