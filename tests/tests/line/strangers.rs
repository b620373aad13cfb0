//! Whoever comes to a running node's doors without being its peer or its daemon: turned away, and nothing else changes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use libp2p::swarm::{SwarmEvent, dummy};
use libp2p::{Multiaddr, SwarmBuilder, identity, noise, tcp, tls, yamux};
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use super::bench::Bench;

/// How long the node may take to hang up on a stranger.
const CUT_OFF_MAX: Duration = Duration::from_secs(10);

/// How many slots the garbage lasts.
const GARBAGE_SLOTS: u64 = 10;

/// What a node may hold more of after the garbage than before, in KiB: buffers of ended connections that the allocator keeps.
const GROWTH_MAX_KIB: u64 = 16 * 1024;

/// Connections that are held open at once, without a word.
const IDLE_CONNECTIONS: usize = 64;

pub(crate) fn a_stranger_is_cut_off(bench: &mut Bench) -> anyhow::Result<()> {
    let running = bench.cluster()?;
    let address = running.cluster.boxes[0].p2p_address()?;
    let first = running.now() + 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut strangers = Vec::new();
    for security in ["noise", "tls"] {
        let peer = runtime.block_on(async {
            tokio::time::timeout(CUT_OFF_MAX, dial_until_cut_off(&address, security))
                .await
                .with_context(|| format!("expected to be cut off over {security} within {CUT_OFF_MAX:?}"))?
        })?;
        println!("  {peer} was cut off over {security}");
        strangers.push(peer.to_string());
    }
    // A flood of strangers must not flood the log, so that only the first for a while is sure to be told.
    let log = std::fs::read_to_string(running.cluster.boxes[0].daemon_log())?;
    let told =
        |line: &str| line.contains("turned a connection away") && strangers.iter().any(|peer| line.contains(peer));
    ensure!(log.lines().any(told), "expected the log of node 0 to name one of {strangers:?}, saw none");
    let status = running.cluster.boxes[0].status()?;
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    ensure!(connected == 4, "expected the four operators and nobody else, saw {:?}", status.peers);
    running.expect_all_included("with strangers at the door", first, first + 2)?;
    Ok(())
}

pub(crate) fn garbage_on_both_doors(bench: &mut Bench) -> anyhow::Result<()> {
    let running = bench.cluster()?;
    let node = &running.cluster.boxes[0];
    let address = socket_address(&node.p2p_address()?)?;
    let socket = node.socket();
    let before = node.figures()?;
    let (stop, at_port, at_socket) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let first = running.now() + 1;
    let included = std::thread::scope(|scope| {
        scope.spawn(|| while_running(&stop, &at_port, 1, |random| garbage_to_port(address, random)));
        scope.spawn(|| while_running(&stop, &at_socket, 2, |random| garbage_to_vault(&socket, random)));
        // Held open for as long as the node lets them; more than it admits.
        let idle: Vec<_> = (0..IDLE_CONNECTIONS).filter_map(|_| TcpStream::connect(address).ok()).collect();
        let included = running.expect_all_included("with garbage at the doors", first, first + GARBAGE_SLOTS - 1);
        stop.store(true, Ordering::Relaxed);
        drop(idle);
        included
    })?;
    let (at_port, at_socket) = (at_port.into_inner(), at_socket.into_inner());
    ensure!(at_port > 100 && at_socket > 100, "expected hundreds of tries, saw {at_port} and {at_socket}");
    let after = running.cluster.boxes[0].figures()?;
    println!(
        "  {at_port} connections of garbage to the port and {at_socket} to the vault: all {included} votes included, \
         {} KiB before, {} KiB after",
        before.private_kib, after.private_kib
    );
    ensure!(
        after.private_kib <= before.private_kib + GROWTH_MAX_KIB,
        "expected at most {GROWTH_MAX_KIB} KiB more than {} KiB, saw {} KiB",
        before.private_kib,
        after.private_kib
    );
    Ok(())
}

/// Connects with a key that no lock names, and waits until the connection is gone. Gives the stranger's peer ID.
async fn dial_until_cut_off(address: &str, security: &str) -> anyhow::Result<libp2p::PeerId> {
    let key = identity::Keypair::from(identity::secp256k1::Keypair::generate());
    let peer = key.public().to_peer_id();
    let builder = SwarmBuilder::with_existing_identity(key).with_tokio();
    let (transport, muxer) = (tcp::Config::default(), yamux::Config::default);
    let patient = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(2 * CUT_OFF_MAX);
    let mut swarm = match security {
        "noise" => builder
            .with_tcp(transport, noise::Config::new, muxer)?
            .with_behaviour(|_| dummy::Behaviour)?
            .with_swarm_config(patient)
            .build(),
        _ => builder
            .with_tcp(transport, tls::Config::new, muxer)?
            .with_behaviour(|_| dummy::Behaviour)?
            .with_swarm_config(patient)
            .build(),
    };
    swarm.dial(address.parse::<Multiaddr>()?)?;
    let mut established = false;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => established = true,
            // The node learns who dials at the end of the handshake, which the dialler may see as done by then.
            SwarmEvent::ConnectionClosed { .. } => return Ok(peer),
            SwarmEvent::OutgoingConnectionError { error, .. } if !established => {
                bail!("expected a handshake and a cut, saw no connection over {security}: {error}")
            }
            _ => {}
        }
    }
}

/// Repeats `act` until the end, from one seed, and counts.
fn while_running(stop: &AtomicBool, count: &AtomicU64, seed: u64, mut act: impl FnMut(&mut StdRng)) {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        act(&mut random);
        count.fetch_add(1, Ordering::Relaxed);
        // Two hundred a second are many, and leave the machine to the nodes.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One connection to the port for peers: noise, half a negotiation, or a negotiation that turns into noise. That the node
/// hangs up in the middle is what we want.
fn garbage_to_port(address: SocketAddr, random: &mut StdRng) {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return };
    let mut noise = vec![0; random.gen_range(1..16_384)];
    random.fill_bytes(&mut noise);
    let negotiation = b"\x13/multistream/1.0.0\n\x07/noise\n";
    let bytes = match random.gen_range(0..4) {
        0 => noise,
        1 => negotiation[..random.gen_range(1..negotiation.len())].to_vec(),
        2 => [&negotiation[..], &noise].concat(),
        _ => [&negotiation[..], &[0xff, 0xff], &noise].concat(),
    };
    let _ = stream.write_all(&bytes);
}

/// One connection to the vault: noise as a frame, a frame that is too long, or half of one.
fn garbage_to_vault(socket: &Path, random: &mut StdRng) {
    let Ok(mut stream) = UnixStream::connect(socket) else { return };
    let mut noise = vec![0; random.gen_range(1..4_096)];
    random.fill_bytes(&mut noise);
    let len = u32::try_from(noise.len()).expect("a short frame").to_be_bytes();
    let bytes = match random.gen_range(0..4) {
        0 => [&len[..], &noise].concat(),
        1 => [&[0xff; 4][..], &noise].concat(),
        2 => [&len[..], &noise[..noise.len() / 2]].concat(),
        _ => noise,
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
    let _ = stream.read(&mut [0; 256]);
}

fn socket_address(multiaddr: &str) -> anyhow::Result<SocketAddr> {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    let ["", "ip4", ip, "tcp", port] = parts.as_slice() else { bail!("{multiaddr} is no IPv4 address with a port") };
    Ok(format!("{ip}:{port}").parse()?)
}
