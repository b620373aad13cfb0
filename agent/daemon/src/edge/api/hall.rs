//! Places for connections. Who comes when a stage is full takes the place of the oldest of whoever has the most there,
//! so that a flood pushes out its own and not the others'.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::limits::Limits;

/// How far a connection is; each stage has a bound of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing came yet.
    Silent,
    /// In the handshake.
    Handshaking,
    /// Encrypted, without a certificate.
    Stranger,
    /// With a certificate that was good at the handshake, or paired.
    Client,
}

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Hall(Arc<Mutex<Guests>>, Limits);

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    here: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    stage: Stage,
    party: Party,
    leave: Arc<Notify>,
}

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// An address; of IPv6 the network, since whoever has one has all of its addresses.
    Address([u8; 8]),
    /// The serial number of a certificate.
    Client(Vec<u8>),
}

/// A place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    hall: Hall,
    leave: Arc<Notify>,
}

impl Hall {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::default(), limits)
    }

    /// Lets one in who has said nothing yet.
    pub(super) fn enter(&self, address: SocketAddr) -> Ticket {
        let mut guests = self.guests();
        let party = Party::of(address.ip());
        guests.make_room(Stage::Silent, self.room(Stage::Silent));
        let (number, leave) = (guests.next, Arc::new(Notify::new()));
        guests.next += 1;
        guests.here.insert(number, Guest { stage: Stage::Silent, party, leave: Arc::clone(&leave) });
        Ticket { number, hall: self.clone(), leave }
    }

    fn room(&self, stage: Stage) -> usize {
        let limits = &self.1;
        match stage {
            Stage::Silent => limits.silent,
            Stage::Handshaking => limits.handshaking,
            Stage::Stranger => limits.strangers.min(limits.connections),
            Stage::Client => limits.connections.saturating_sub(limits.strangers).max(1),
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn count(&self, stage: Stage) -> usize {
        self.guests().here.values().filter(|guest| guest.stage == stage).count()
    }
}

impl Ticket {
    /// Goes on to this stage.
    pub(super) fn advance(&self, stage: Stage, client: Option<&[u8]>) {
        let mut guests = self.hall.guests();
        // Someone took the place meanwhile: the connection is about to be closed.
        let Some(mut guest) = guests.here.remove(&self.number) else { return };
        guests.make_room(stage, self.hall.room(stage));
        guest.stage = stage;
        if let Some(serial) = client {
            guest.party = Party::Client(serial.to_vec());
        }
        guests.here.insert(self.number, guest);
    }

    /// Ends when someone else takes the place.
    pub(super) async fn taken(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.hall.guests().here.remove(&self.number);
    }
}

impl Guests {
    /// Sends the oldest of whoever has the most in this stage away, when there is no room for one more.
    fn make_room(&mut self, stage: Stage, room: usize) {
        let mut parties: BTreeMap<&Party, (usize, u64)> = BTreeMap::new();
        let mut all = 0;
        for (number, guest) in self.here.iter().filter(|(_, guest)| guest.stage == stage) {
            all += 1;
            parties.entry(&guest.party).or_insert((0, *number)).0 += 1;
        }
        if all < room {
            return;
        }
        // Of two with as many, the one that came first goes.
        let most = parties.into_values().max_by_key(|&(many, oldest)| (many, std::cmp::Reverse(oldest)));
        if let Some(guest) = most.and_then(|(_, oldest)| self.here.remove(&oldest)) {
            guest.leave.notify_one();
        }
    }
}

impl Party {
    pub(super) fn of(address: IpAddr) -> Self {
        let mut of = [0; 8];
        match address.to_canonical() {
            IpAddr::V4(address) => of[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => of.copy_from_slice(&address.octets()[..8]),
        }
        Self::Address(of)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn hall() -> Hall {
        Hall::new(Limits { silent: 4, handshaking: 2, strangers: 2, connections: 4, ..Limits::default() })
    }

    fn from(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 1).into()
    }

    fn is_out(ticket: &Ticket) -> bool {
        ticket.taken().now_or_never().is_some()
    }

    #[test]
    fn a_flood_pushes_out_its_own() {
        let hall = hall();
        let other = hall.enter(from(2));
        let flood: Vec<Ticket> = (0..100).map(|_| hall.enter(from(1))).collect();
        assert_eq!(hall.count(Stage::Silent), 4);
        assert!(!is_out(&other));
        assert_eq!(flood.iter().filter(|ticket| !is_out(ticket)).count(), 3);
        assert!(!is_out(&flood[99]), "the newest stays");
    }

    #[test]
    fn each_stage_has_its_own_room() {
        let hall = hall();
        let client = hall.enter(from(1));
        client.advance(Stage::Handshaking, None);
        client.advance(Stage::Client, Some(b"admin"));
        let strangers: Vec<Ticket> = (0..20)
            .map(|_| {
                let ticket = hall.enter(from(1));
                ticket.advance(Stage::Handshaking, None);
                ticket.advance(Stage::Stranger, None);
                ticket
            })
            .collect();
        assert!(!is_out(&client));
        assert_eq!((hall.count(Stage::Stranger), hall.count(Stage::Client)), (2, 1));
        drop(strangers);
        assert_eq!((hall.count(Stage::Stranger), hall.count(Stage::Silent)), (0, 0));
    }

    #[test]
    fn one_certificate_does_not_keep_the_others_out() {
        let hall = hall();
        let enter = |serial: &[u8]| {
            let ticket = hall.enter(from(1));
            ticket.advance(Stage::Client, Some(serial));
            ticket
        };
        let reader = [enter(b"reader"), enter(b"reader")];
        let admin = enter(b"admin");
        assert!(is_out(&reader[0]) && !is_out(&reader[1]) && !is_out(&admin));
    }
}
