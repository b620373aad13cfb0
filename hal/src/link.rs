//! What the network ports show.

/// The network as the box itself sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetReading {
    /// Every port that is a piece of hardware.
    pub links: Vec<LinkReading>,
    /// Whether some port has an address that is good beyond the cable.
    pub has_address: Option<bool>,
    /// Whether packets for the rest of the world have a way.
    pub has_default_route: Option<bool>,
    /// Whether the last name that was asked for was answered.
    pub dns_answers: Option<bool>,
    /// How long that took, in ms.
    pub dns_ms: Option<u64>,
}

/// One network port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkReading {
    /// The kernel's name: `enp1s0`.
    pub name: String,
    /// Whether the box uses it: it carries the default route or an address, now or since the boot.
    pub used: bool,
    /// Whether something answers at the other end of the cable.
    pub carrier: Option<bool>,
    /// What both ends agreed on, in Mb/s.
    pub speed_mbps: Option<u32>,
    /// The best that this port can do, in Mb/s.
    pub speed_best_mbps: Option<u32>,
    /// Whether both ends may talk at once.
    pub full_duplex: Option<bool>,
    /// Packets that were damaged, in both directions.
    pub errors: Option<u64>,
    /// Packets that were thrown away, in both directions.
    pub drops: Option<u64>,
    /// Packets in both directions.
    pub packets: Option<u64>,
    /// How often the carrier came or went.
    pub carrier_changes: Option<u64>,
    /// The largest packet, in bytes.
    pub mtu: Option<u32>,
}
