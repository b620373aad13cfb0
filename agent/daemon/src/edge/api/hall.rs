//! Places for connections. Who comes when a stage is full takes the place of the oldest of whoever has the most there,
//! so that a flood pushes out its own and not the others'. A flood from many addresses has no such share; there, the places
//! of addresses from which somebody has shown a certificate are taken last.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::limits::{FOLLOWERS_MAX, Limits};

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
    /// A client that follows events.
    Follower,
}

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Hall(Arc<Mutex<Guests>>, Limits);

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    here: BTreeMap<u64, Guest>,
    /// Addresses from which a certificate was shown, the last one at the end.
    known: VecDeque<Party>,
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
            Stage::Follower => FOLLOWERS_MAX,
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
            let address = std::mem::replace(&mut guest.party, Party::Client(serial.to_vec()));
            guests.note(address);
        }
        guests.here.insert(self.number, guest);
    }

    /// Goes on to be a follower of events, unless there are as many as there may be and nobody has more than him.
    pub(super) fn follow(&self) -> bool {
        let mut guests = self.hall.guests();
        let Some(mut guest) = guests.here.remove(&self.number) else { return false };
        let room = self.hall.room(Stage::Follower);
        let parties = guests.parties(Stage::Follower);
        let all: usize = parties.values().map(|(many, _)| many).sum();
        let own = parties.get(&guest.party).map_or(0, |(many, _)| *many);
        let may = all < room || parties.values().any(|(many, _)| *many > own + 1);
        if may {
            guests.make_room(Stage::Follower, room);
            guest.stage = Stage::Follower;
        }
        guests.here.insert(self.number, guest);
        may
    }

    /// Follows no more.
    pub(super) fn follows_no_more(&self) {
        if let Some(guest) = self.hall.guests().here.get_mut(&self.number) {
            guest.stage = Stage::Client;
        }
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
        let parties = self.parties(stage);
        if parties.values().map(|(many, _)| many).sum::<usize>() < room {
            return;
        }
        // Known addresses are spared up to a share: who shares an operator's address has not all of the places by it.
        let share = (room / KNOWN_SHARE).max(1);
        let spared = |party: &Party, many: usize| many <= share && self.known.contains(party);
        let most = parties.iter().max_by_key(|&(party, &(many, oldest))| {
            // Of two with as many, the one that came first goes.
            (!spared(party, many), many, std::cmp::Reverse(oldest))
        });
        let oldest = most.map(|(_, (_, oldest))| *oldest);
        if let Some(guest) = oldest.and_then(|oldest| self.here.remove(&oldest)) {
            guest.leave.notify_one();
        }
    }

    /// Who is in this stage, with how many connections, and which of them came first.
    fn parties(&self, stage: Stage) -> BTreeMap<&Party, (usize, u64)> {
        let mut parties: BTreeMap<&Party, (usize, u64)> = BTreeMap::new();
        for (number, guest) in self.here.iter().filter(|(_, guest)| guest.stage == stage) {
            parties.entry(&guest.party).or_insert((0, *number)).0 += 1;
        }
        parties
    }

    /// Remembers an address from which a certificate was shown.
    fn note(&mut self, address: Party) {
        self.known.retain(|known| *known != address);
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(address);
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

/// Addresses of operators and monitors that are remembered.
const KNOWN_MAX: usize = 64;
/// A known address is spared up to this part of a stage's places.
const KNOWN_SHARE: usize = 4;

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
    #[test]
    fn a_flood_from_many_addresses_spares_those_that_are_known() {
        let hall = Hall::new(Limits { handshaking: 8, ..Limits::default() });
        let before = hall.enter(from(1));
        before.advance(Stage::Client, Some(b"admin"));
        let handshake = |host| {
            let ticket = hall.enter(from(host));
            ticket.advance(Stage::Handshaking, None);
            ticket
        };
        let admin = handshake(1);
        let flood: Vec<Ticket> = (2..200).map(handshake).collect();
        assert!(!is_out(&admin));
        assert_eq!(hall.count(Stage::Handshaking), 8);
        // A neighbour at the same address has no more than a share by it.
        let neighbours: Vec<Ticket> = (0..50).map(|_| handshake(1)).collect();
        let spared = neighbours.iter().filter(|ticket| !is_out(ticket)).count();
        assert!((1..8).contains(&spared), "{spared} of the neighbour's are spared");
        drop(flood);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may() {
        let hall = hall();
        for host in 0..200 {
            hall.enter(from(host)).advance(Stage::Client, Some(b"admin"));
        }
        hall.enter(from(199)).advance(Stage::Client, Some(b"admin"));
        let known = hall.guests().known.clone();
        assert_eq!((known.len(), known.back()), (KNOWN_MAX, Some(&Party::of(from(199).ip()))));
    }

    #[test]
    fn one_certificate_does_not_keep_the_others_from_events() {
        let hall = Hall::new(Limits::default());
        let follow = |serial: &[u8]| {
            let ticket = hall.enter(from(1));
            ticket.advance(Stage::Client, Some(serial));
            let follows = ticket.follow();
            (ticket, follows)
        };
        let reader: Vec<Ticket> = (0..FOLLOWERS_MAX)
            .map(|_| {
                let (ticket, follows) = follow(b"reader");
                assert!(follows);
                ticket
            })
            .collect();
        assert!(!follow(b"reader").1, "one more of the same");
        let (admin, follows) = follow(b"admin");
        assert!(follows && !is_out(&admin) && is_out(&reader[0]) && !is_out(&reader[1]));
        reader[1].follows_no_more();
        assert_eq!((hall.count(Stage::Follower), hall.count(Stage::Client)), (FOLLOWERS_MAX - 1, 1));
    }
}
