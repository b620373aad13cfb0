//! Peers and beacon nodes.

use super::{Measure, SUBJECTS_MAX, Samples, Seen, bounded, float};
use crate::condition::Subject;
use crate::reading::{BeaconReading, BeaconsReading, PeerPath, PeerReading, PeersReading};

pub(super) fn peers(reading: &PeersReading, samples: &mut Samples<'_>) {
    let peers = bounded(&reading.peers, |peer| &peer.name);
    for (of, peer) in &peers {
        self::peer(of, peer, samples);
    }
    // By themselves and not by name: two operators of one name are two, and each has a vote.
    let all = reading.peers.iter().take(SUBJECTS_MAX);
    let connected: Vec<&PeerReading> = all.filter(|peer| peer.connected).collect();
    let spare = (reading.threshold > 0).then(|| float(connected.len() as u64 + 1) - f64::from(reading.threshold));
    samples.number(Measure::PeersSpare, &Subject::ONLY, spare);

    let offsets = connected.iter().filter_map(|peer| peer.clock_offset_ms).collect();
    let off_ms = off_quorum_ms(offsets, reading.quorum);
    let slots = off_ms.filter(|_| reading.slot_ms > 0).map(|off_ms| float(off_ms) / float(reading.slot_ms));
    samples.number(Measure::ClockQuorum, &Subject::ONLY, slots);
    samples.number(Measure::ClockQuorumMs, &Subject::ONLY, off_ms.map(float));
}

/// What a quorum of peers say at least: the largest distance by which as many say that our clock is off, all in the same
/// direction. Fewer liars than a quorum cannot make it larger than what an honest one says. `None` while fewer than a
/// quorum say anything.
fn off_quorum_ms(mut offsets: Vec<i64>, quorum: u32) -> Option<u64> {
    let at = usize::try_from(quorum).ok()?.checked_sub(1)?;
    if offsets.len() <= at {
        return None;
    }
    offsets.sort_unstable();
    let behind = offsets[at].min(0).unsigned_abs();
    let ahead = offsets[offsets.len() - 1 - at].max(0).unsigned_abs();
    Some(behind.max(ahead))
}

fn peer(of: &Subject, peer: &PeerReading, samples: &mut Samples<'_>) {
    samples.flag(Measure::PeerGone, of, Some(!peer.connected));
    samples.number(Measure::PeerSeen, of, peer.seen_ago_s.map(float));
    let relayed = peer.path.as_ref().map(|path| f64::from(matches!(path, PeerPath::Relayed { .. })));
    let late = peer.late_p99_ms.values().max().copied();
    for (measure, value) in [
        (Measure::PeerClock, peer.clock_offset_ms.map(|ms| float(ms.unsigned_abs()))),
        (Measure::PeerLate, late.map(float)),
        (Measure::PeerLoss, peer.loss_percent),
        (Measure::PeerRelayed, relayed),
        (Measure::PeerRtt, peer.rtt_p50_ms),
        (Measure::PeerRttTail, peer.rtt_p99_ms),
        (Measure::PeerVersion, peer.version_supported.map(|supported| f64::from(!supported))),
    ] {
        samples.number_while(peer.connected, measure, of, value);
    }
}

pub(super) fn beacon(reading: &BeaconsReading, samples: &mut Samples<'_>) {
    let nodes = bounded(&reading.nodes, |node| &node.name);
    let best = nodes.iter().filter(|(_, node)| node.answers).filter_map(|(_, node)| node.head).max();
    for (of, node) in &nodes {
        let behind = best.zip(node.head).map(|(best, head)| float(best.0.saturating_sub(head.0)));
        self::node(of, node, behind, samples);
    }
    let usable = nodes.iter().filter(|(_, node)| is_usable(node)).count();
    samples.number(Measure::BeaconUsable, &Subject::ONLY, Some(float(usable as u64)));
}

/// Whether duties can be had from it. A distance that it does not tell is not held against it.
fn is_usable(node: &BeaconReading) -> bool {
    node.answers && node.sync_distance.is_none_or(|slots| slots <= USABLE_DISTANCE_MAX)
}

fn node(of: &Subject, node: &BeaconReading, behind: Option<f64>, samples: &mut Samples<'_>) {
    samples.flag(Measure::BeaconGone, of, Some(!node.answers));
    for (measure, value) in [
        (Measure::BeaconClock, node.clock_offset_ms.map(|ms| float(ms.unsigned_abs()))),
        (Measure::BeaconErrors, node.error_percent),
        (Measure::BeaconEventLag, node.event_lag_ms),
        (Measure::BeaconHeadBehind, behind),
        (Measure::BeaconPeers, node.peers.map(float)),
        (Measure::BeaconRtt, node.rtt_p50_ms),
        (Measure::BeaconRttTail, node.rtt_p99_ms),
        (Measure::BeaconSyncDistance, node.sync_distance.map(float)),
        (Measure::BeaconVersion, node.version_supported.map(|supported| f64::from(!supported))),
    ] {
        samples.number_while(node.answers, measure, of, value);
    }
}

impl Samples<'_> {
    /// A number of somebody who is there. Of one who is not nothing can be said, and "gone" says it all.
    fn number_while(&mut self, there: bool, measure: Measure, of: &Subject, value: Option<f64>) {
        if there { self.number(measure, of, value) } else { self.seen(measure, of, Seen::Moot) }
    }
}

/// A distance of a slot or two is a late block, not a node that syncs.
const USABLE_DISTANCE_MAX: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_liars_than_a_quorum_say_nothing() {
        assert_eq!(off_quorum_ms(vec![], 3), None);
        assert_eq!(off_quorum_ms(vec![9000, 9000], 3), None, "two of three are no quorum");
        assert_eq!(off_quorum_ms(vec![i64::MAX, i64::MIN, 5], 3), Some(0), "no quorum in either direction");
        assert_eq!(off_quorum_ms(vec![7000, 7200, i64::MAX], 3), Some(7000));
        assert_eq!(off_quorum_ms(vec![-7000, -7200, i64::MIN], 3), Some(7000));
        assert_eq!(off_quorum_ms(vec![9000, 9000, 3, 2], 3), Some(3), "an honest one bounds it");
        assert_eq!(off_quorum_ms(vec![1, 2], 0), None, "no quorum is known");
    }
}
