//! The network ports, and what lies right behind them.

use super::{ALL, Row, TIMELY, critical, info, warning};
use crate::condition::Part::Link;
use crate::measure::Measure as M;

pub(super) const ROWS: &[Row] = &[
    critical(Link, "link.down", M::LinkDown)
        .set()
        .for_s(10, 10)
        .text("nothing answers at the other end of {of}'s cable")
        .remedy("check the cable and the switch or router at its other end")
        .costs(ALL)
        .from("Linux ABI documentation, net carrier; 10 s leave out a router's restart of its port"),
    warning(Link, "link.slow", M::LinkSpeed)
        .below(100.0, 100.0)
        .for_s(60, 60)
        .text("{of} runs at {value}")
        .remedy("replace the cable, or use another port of the switch")
        .may_cost(TIMELY)
        .from("own choice; the reference calls 15 Mb/s of download poor and 50 Mb/s fair"),
    warning(Link, "link.below-best", M::LinkBest)
        .below(11.0, 20.0)
        .for_s(300, 60)
        .text("{of} runs at {value} of its best ({beside})")
        .remedy("replace the cable: a broken pair makes a gigabit port fall back to a tenth")
        .beside(&[M::LinkSpeed])
        .from("IEEE 802.3: 100BASE-TX needs two pairs, 1000BASE-T four; a slower switch is not counted"),
    warning(Link, "link.half-duplex", M::LinkHalf)
        .set()
        .for_s(60, 60)
        .text("only one end of {of} may talk at once")
        .remedy("let both ends agree by themselves: a speed that is fixed at one end only leads to this")
        .costs(TIMELY)
        .from("IEEE 802.3: no link of today needs half duplex"),
    warning(Link, "link.errors", M::LinkErrors)
        .above(100.0, 10.0)
        .for_s(60, 600)
        .text("packets at {of} were damaged: {value}")
        .remedy("replace the cable; if it stays, use another port of the switch")
        .costs(TIMELY)
        .from("own choice: a good cable has none"),
    warning(Link, "link.drops", M::LinkDrops)
        .above(1000.0, 100.0)
        .for_s(60, 600)
        .text("packets at {of} were thrown away: {value}")
        .remedy("find what fills the line; a switch of one's own keeps other traffic away from the box")
        .costs(TIMELY)
        .from("own choice: one in a thousand"),
    warning(Link, "link.flapping", M::LinkFlaps)
        .above(4.0, 1.0)
        .for_s(0, 600)
        .text("{of}'s carrier came or went: {value}")
        .remedy("replace the cable, and switch energy saving off at the switch's port")
        .costs(TIMELY)
        .from("Linux ABI documentation, carrier_changes; two losses an hour are own choice"),
    warning(Link, "link.mtu-low", M::LinkMtu)
        .below(1280.0, 1280.0)
        .for_s(60, 60)
        .text("{of} carries at most {value} bytes in a packet")
        .remedy("set the MTU of the port back to 1500, or to what your provider says")
        .costs(TIMELY)
        .from("RFC 8200: IPv6 needs 1280"),
    critical(Link, "link.no-address", M::LinkAddress)
        .set()
        .for_s(30, 10)
        .text("the box has no address")
        .remedy("check that your router gives out addresses, or configure one")
        .costs(ALL)
        .from("own rule; 30 s leave out the renewal of an address"),
    critical(Link, "link.no-route", M::LinkRoute)
        .set()
        .for_s(30, 10)
        .text("packets for the rest of the world have no way")
        .remedy("check that your router names itself as gateway, or configure one")
        .costs(ALL)
        .from("own rule; 30 s leave out the renewal of an address"),
    warning(Link, "link.dns-fails", M::LinkDns)
        .set()
        .for_s(120, 30)
        .text("names are not answered")
        .remedy("check the router, or configure another name server")
        .may_cost(ALL)
        .from("own rule; two minutes leave out a router's restart"),
    info(Link, "link.dns-slow", M::LinkDnsTime)
        .above(500.0, 200.0)
        .for_s(300, 300)
        .text("a name takes {value} to be answered")
        .remedy("configure a name server that is nearer")
        .from("own choice: names are asked for when a connection is made, not in a duty"),
];
