//! The clock.

use super::{ALL, Row, TIMELY, critical, info, warning};
use crate::condition::{Part::Clock, StopReason};
use crate::measure::Measure as M;

const UDP: &str = "check that UDP 123 and TCP 4460 leave your network, then it goes on by itself";

pub(super) const ROWS: &[Row] = &[
    critical(Clock, "clock.off-quorum", M::ClockQuorum)
        .above(0.5, 0.1)
        .for_s(0, 30)
        .text("signing stopped: a quorum of peers say that the clock is off by at least {beside}")
        .remedy(UDP)
        .costs(ALL)
        .beside(&[M::ClockQuorumMs])
        .from("own rule: more than half a slot off a quorum, the box would sign for another slot than its cluster")
        .stops(StopReason::ClockOffQuorum),
    warning(Clock, "clock.unsynchronised", M::ClockUnsynchronised)
        .set()
        .for_s(300, 30)
        .text("nothing keeps the clock right")
        .remedy(UDP)
        .may_cost(TIMELY)
        .beside(&[M::ClockOffset])
        .from("adjtimex(2), RFC 5905; five minutes leave out the start and a change of network"),
    warning(Clock, "clock.offset", M::ClockOffset)
        .above(100.0, 50.0)
        .for_s(30, 60)
        .text("the clock is off by {value}")
        .remedy(UDP)
        .costs(TIMELY)
        .from("own choice: a fifth of what the consensus specification lets clocks differ by"),
    critical(Clock, "clock.offset", M::ClockOffset)
        .above(500.0, 250.0)
        .for_s(30, 60)
        .text("the clock is off by {value}: others drop what the box sends")
        .remedy(UDP)
        .costs(TIMELY)
        .from("consensus specification, MAXIMUM_GOSSIP_CLOCK_DISPARITY: 500 ms"),
    warning(Clock, "clock.inaccurate", M::ClockRoot)
        .above(250.0, 150.0)
        .for_s(600, 300)
        .text("the clock's source may itself be wrong by {value}")
        .remedy("configure a time server that is nearer")
        .may_cost(TIMELY)
        .from("RFC 5905, synchronisation distance; 250 ms is half of MAXIMUM_GOSSIP_CLOCK_DISPARITY"),
    info(Clock, "clock.far", M::ClockStratum)
        .above(5.0, 4.0)
        .for_s(600, 300)
        .text("the clock is {value} steps from a clock of reference")
        .remedy("configure time servers of a lower stratum")
        .from("own choice: public servers are of stratum 1 to 3, so 5 is a chain of home routers"),
    info(Clock, "clock.unauthenticated", M::ClockBare)
        .set()
        .for_s(600, 30)
        .text("the clock follows a source that does not prove itself")
        .remedy("configure a time server with NTS, and check that TCP 4460 leaves your network")
        .from("RFC 8915: without NTS whoever is on the way can set the clock"),
    warning(Clock, "clock.jumped", M::ClockJump)
        .above(500.0, 500.0)
        .for_s(0, 0)
        .text("the clock was set by {value} at once within the last day")
        .remedy("check the clock's battery if this follows a restart, else the time servers that are configured")
        .may_cost(TIMELY)
        .from("consensus specification, MAXIMUM_GOSSIP_CLOCK_DISPARITY: 500 ms"),
];
