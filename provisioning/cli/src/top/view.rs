//! What the live view knows of each box, and what an update or a key does to it. No clock, no terminal, no network.

use std::collections::BTreeMap;

use holdfast_api::{Condition, DutyRecord, Event, EventKind, Outcome, Status};
use holdfast_types::{Millis, Slot};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What is heard of one box.
#[derive(Clone, Debug)]
pub(crate) enum Update {
    /// Duties that changed.
    Duties(Vec<DutyRecord>),
    /// Something happened. After a gap, or when a connection was lost, whoever feeds the view sends status and duties anew.
    Event(Box<Event>),
    /// The box is not reached, and why.
    Lost(String),
    /// All about it.
    Status(Box<Status>),
}

/// Whether the view goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It does.
    Go,
    /// The operator has seen enough.
    Quit,
}

/// A duty by its slot and kind.
pub(crate) type DutyKey = (Slot, String);

/// All that the view holds.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) boxes: Vec<BoxView>,
    /// Which of them is looked at.
    pub(super) selected: usize,
    /// The duty that is looked at; the newest when absent.
    picked: Option<DutyKey>,
    pub(super) help: bool,
    pub(super) now: Millis,
}

/// One box.
#[derive(Debug)]
pub(crate) struct BoxView {
    pub(super) name: String,
    pub(super) status: Option<Status>,
    /// Since when it is not reached, and why.
    pub(super) lost: Option<(Millis, String)>,
    pub(super) duties: BTreeMap<DutyKey, DutyRecord>,
}

impl View {
    /// Before anything was heard.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let boxes = names.into_iter().map(BoxView::new).collect();
        Self { boxes, selected: 0, picked: None, help: false, now: Millis(0) }
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, now: Millis) {
        self.now = now;
    }

    /// Something is heard of the box with this name; of others nothing is wanted.
    pub(crate) fn apply(&mut self, name: &str, update: Update) {
        let now = self.now;
        if let Some(seen) = self.boxes.iter_mut().find(|seen| seen.name == name) {
            seen.apply(now, update);
        }
    }

    /// A key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Flow {
        if key.kind == KeyEventKind::Release {
            return Flow::Go;
        }
        match (key.code, key.modifiers) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL) | (KeyCode::Char('q'), KeyModifiers::NONE) => {
                return Flow::Quit;
            }
            _ if self.help => self.help = false,
            (KeyCode::Char('?'), _) => self.help = true,
            (KeyCode::Down, _) => self.select(self.selected.saturating_add(1)),
            (KeyCode::Up, _) => self.select(self.selected.saturating_sub(1)),
            (KeyCode::Left, _) => self.pick(|at, _| at.saturating_sub(1)),
            (KeyCode::Right, _) => self.pick(|at, _| at.saturating_add(1)),
            (KeyCode::Home, _) => self.pick(|_, _| 0),
            (KeyCode::End, _) => self.pick(|_, last| last),
            _ => {}
        }
        Flow::Go
    }

    /// The box that is looked at.
    pub(super) fn current(&self) -> Option<&BoxView> {
        self.boxes.get(self.selected)
    }

    /// The duty that is looked at.
    pub(super) fn duty(&self) -> Option<&DutyRecord> {
        let duties = &self.current()?.duties;
        let picked = self.picked.as_ref().and_then(|key| duties.get(key));
        picked.or_else(|| duties.values().next_back())
    }

    fn select(&mut self, index: usize) {
        let index = index.min(self.boxes.len().saturating_sub(1));
        if index != self.selected {
            self.selected = index;
            self.picked = None;
        }
    }

    /// Moves to the duty at the place that `to` makes of the present place and the last. At the last the view follows.
    fn pick(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let Some(seen) = self.boxes.get(self.selected) else { return };
        let Some(last) = seen.duties.len().checked_sub(1) else { return };
        let at = self.picked.as_ref().and_then(|picked| seen.duties.keys().position(|key| key == picked));
        let index = to(at.unwrap_or(last), last);
        self.picked = if index >= last { None } else { seen.duties.keys().nth(index).cloned() };
    }
}

impl BoxView {
    fn new(name: String) -> Self {
        Self { name, status: None, lost: None, duties: BTreeMap::new() }
    }

    fn apply(&mut self, now: Millis, update: Update) {
        match update {
            Update::Lost(why) => {
                let since = self.lost.take().map_or(now, |(since, _)| since);
                self.lost = Some((since, why));
                return;
            }
            Update::Duties(duties) => duties.into_iter().for_each(|duty| self.duty(duty)),
            Update::Event(event) => self.happened(event.what),
            Update::Status(mut status) => {
                sort(&mut status.conditions);
                self.status = Some(*status);
            }
        }
        self.lost = None;
    }

    fn happened(&mut self, what: EventKind) {
        let what = match what {
            EventKind::Duty(duty) => return self.duty(duty),
            other => other,
        };
        // What changes a status that was never heard is in the status that comes.
        let Some(status) = &mut self.status else { return };
        match what {
            EventKind::Condition(change) => {
                status.conditions.retain(|condition| condition.id != change.condition.id);
                if !change.over {
                    status.conditions.push(change.condition);
                }
                sort(&mut status.conditions);
                status.conditions.truncate(CONDITIONS_MAX);
            }
            EventKind::Mode(change) => {
                status.mode = change.mode;
                status.reason = change.reason;
            }
            EventKind::Peer(peer) => {
                if let Some(known) = status.peers.iter_mut().find(|known| known.operator == peer.operator) {
                    *known = peer;
                }
            }
            EventKind::Audit(_) | EventKind::Duty(_) | EventKind::Gap(_) | EventKind::Operation(_) => {}
        }
    }

    fn duty(&mut self, duty: DutyRecord) {
        self.duties.insert((duty.slot, duty.kind.clone()), duty);
        while self.duties.len() > DUTIES_MAX {
            self.duties.pop_first();
        }
    }

    /// The newest slot with a duty.
    pub(super) fn newest(&self) -> Option<Slot> {
        self.duties.keys().next_back().map(|(slot, _)| *slot)
    }

    /// The oldest of them; what came before it is not known.
    pub(super) fn oldest(&self) -> Option<Slot> {
        self.duties.keys().next().map(|(slot, _)| *slot)
    }

    /// What became of a slot: the worst of its duties.
    pub(super) fn outcome(&self, slot: Slot) -> Option<Outcome> {
        let duties = self.duties.range((slot, String::new())..).take_while(|((at, _), _)| *at == slot);
        duties.map(|(_, duty)| duty.outcome()).max_by_key(|outcome| badness(*outcome))
    }

    /// How many of the duties that are over were done, and how many are over.
    pub(super) fn done(&self) -> (usize, usize) {
        let over = self.duties.values().map(DutyRecord::outcome).filter(|outcome| *outcome != Outcome::Waiting);
        over.fold((0, 0), |(done, all), outcome| (done + usize::from(outcome != Outcome::Missed), all + 1))
    }
}

fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Attested => 0,
        Outcome::Waiting => 1,
        Outcome::Late => 2,
        Outcome::Missed => 3,
    }
}

/// Worst first, and of the equally bad the oldest.
fn sort(conditions: &mut [Condition]) {
    conditions.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)).then_with(|| a.id.cmp(&b.id)));
}

/// More than the widest terminal shows, so that the strip is always full.
const DUTIES_MAX: usize = 600;
/// Each is a kind of trouble; a box that names more of them is itself the trouble.
const CONDITIONS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use holdfast_api::{ConditionChange, Gap, ModeChange, PeerStatus, Severity, Timestamp};
    use holdfast_types::Mode;

    use super::super::tests::{NOW, attested, condition, status};
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> Flow {
        view.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn two_boxes() -> View {
        let mut view = View::new(vec!["a".to_owned(), "b".to_owned()]);
        view.tick(NOW);
        view
    }

    fn event(what: EventKind) -> Update {
        Update::Event(Box::new(Event { id: 1, at: Timestamp(NOW), what }))
    }

    fn slot_shown(view: &View) -> Option<u64> {
        view.duty().map(|duty| duty.slot.0)
    }

    #[test]
    fn keys_move_within_what_there_is() {
        let mut view = two_boxes();
        for code in [KeyCode::Left, KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::Up] {
            assert_eq!(press(&mut view, code), Flow::Go);
        }
        assert_eq!((view.selected, slot_shown(&view)), (0, None));
        view.apply("a", Update::Duties([10, 11, 13].map(attested).to_vec()));
        for (code, slot) in [
            (KeyCode::Right, 13),
            (KeyCode::Left, 11),
            (KeyCode::Left, 10),
            (KeyCode::Left, 10),
            (KeyCode::Right, 11),
            (KeyCode::End, 13),
            (KeyCode::Home, 10),
        ] {
            press(&mut view, code);
            assert_eq!(slot_shown(&view), Some(slot), "{code:?}");
        }
        press(&mut view, KeyCode::Down);
        press(&mut view, KeyCode::Down);
        assert_eq!((view.selected, slot_shown(&view)), (1, None));
        press(&mut view, KeyCode::Up);
        assert_eq!((view.selected, slot_shown(&view)), (0, Some(13)), "a box is first seen at its newest duty");
        assert_eq!(press(&mut View::new(Vec::new()), KeyCode::Down), Flow::Go);
    }

    #[test]
    fn the_view_follows_the_newest_duty_until_another_is_picked() {
        let mut view = two_boxes();
        view.apply("a", Update::Duties([1, 2].map(attested).to_vec()));
        view.apply("a", event(EventKind::Duty(attested(3))));
        assert_eq!(slot_shown(&view), Some(3));
        press(&mut view, KeyCode::Left);
        view.apply("a", event(EventKind::Duty(attested(4))));
        assert_eq!(slot_shown(&view), Some(2));
        press(&mut view, KeyCode::End);
        view.apply("a", event(EventKind::Duty(attested(5))));
        assert_eq!(slot_shown(&view), Some(5));
        press(&mut view, KeyCode::Home);
        view.apply("a", Update::Duties((6..900).map(attested).collect()));
        assert_eq!(slot_shown(&view), Some(899), "what was picked is forgotten by now");
        assert_eq!(view.boxes[0].duties.len(), DUTIES_MAX);
    }

    #[test]
    fn only_q_and_an_interrupt_quit_and_any_key_closes_the_help() {
        let mut view = two_boxes();
        press(&mut view, KeyCode::Char('?'));
        assert!(view.help);
        press(&mut view, KeyCode::Down);
        assert_eq!((view.help, view.selected), (false, 0));
        press(&mut view, KeyCode::Char('?'));
        assert_eq!(press(&mut view, KeyCode::Char('q')), Flow::Quit);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Flow::Quit);
        for code in [KeyCode::Char('c'), KeyCode::Enter, KeyCode::F(10)] {
            assert_eq!(press(&mut view, code), Flow::Go);
        }
    }

    #[test]
    fn events_change_the_status() {
        let mut view = two_boxes();
        view.apply("a", event(EventKind::Mode(ModeChange { mode: Mode::Halted, reason: "x".to_owned() })));
        assert!(view.boxes[0].status.is_none(), "a change of what is not known is nothing to show");
        view.apply("a", Update::Status(Box::new(status("a"))));
        view.apply("a", event(EventKind::Mode(ModeChange { mode: Mode::Halted, reason: "x".to_owned() })));
        let peer = PeerStatus { operator: 1, peer_id: "p".to_owned(), own: false, connected: false, version: None };
        view.apply("a", event(EventKind::Peer(peer.clone())));
        view.apply("a", event(EventKind::Peer(PeerStatus { operator: 77, ..peer })));
        view.apply("a", event(EventKind::Gap(Gap { from: 1, to: 2 })));
        let seen = view.boxes[0].status.as_ref().unwrap();
        assert_eq!((seen.mode, seen.reason.as_str(), seen.peers.len()), (Mode::Halted, "x", 4));
        assert!(!seen.peers[1].connected && seen.peers[2].connected);
        assert!(view.boxes[1].status.is_none(), "the other box is not touched");
        view.apply("nobody", Update::Status(Box::new(status("nobody"))));
        assert_eq!(view.boxes.len(), 2);
    }

    #[test]
    fn conditions_come_change_and_go_worst_first() {
        let mut view = two_boxes();
        view.apply("a", Update::Status(Box::new(status("a"))));
        let ids = |view: &View| -> Vec<String> {
            view.boxes[0].status.as_ref().unwrap().conditions.iter().map(|condition| condition.id.clone()).collect()
        };
        let mut change = |severity, id: &str, over| {
            let condition = condition(severity, id, 5_000);
            view.apply("a", event(EventKind::Condition(ConditionChange { condition, over })));
            ids(&view)
        };
        change(Severity::Info, "i", false);
        change(Severity::Critical, "c", false);
        assert_eq!(change(Severity::Warning, "w", false), ["c", "w", "i"]);
        assert_eq!(change(Severity::Critical, "i", false), ["c", "i", "w"], "it became worse, and is there once");
        assert_eq!(change(Severity::Critical, "c", true), ["i", "w"]);
        for n in 0..500 {
            change(Severity::Info, &format!("n{n}"), false);
        }
        assert_eq!(ids(&view).len(), CONDITIONS_MAX);
    }

    #[test]
    fn a_lost_box_is_lost_since_the_first_failure_until_it_is_heard_again() {
        let mut view = two_boxes();
        view.apply("a", Update::Lost("refused".to_owned()));
        view.tick(NOW.plus(9_000));
        view.apply("a", Update::Lost("timed out".to_owned()));
        assert_eq!(view.boxes[0].lost, Some((NOW, "timed out".to_owned())));
        view.apply("a", Update::Status(Box::new(status("a"))));
        assert_eq!(view.boxes[0].lost, None);
    }

    #[test]
    fn a_slot_is_as_bad_as_its_worst_duty() {
        let mut view = two_boxes();
        let missed = DutyRecord { missed: Some("x".to_owned()), kind: "aggregator".to_owned(), ..attested(7) };
        view.apply("a", Update::Duties(vec![attested(6), attested(7), missed, attested(9)]));
        let seen = &view.boxes[0];
        let outcomes = [6, 7, 8, 9].map(|slot| seen.outcome(Slot(slot)));
        assert_eq!(outcomes, [Some(Outcome::Attested), Some(Outcome::Missed), None, Some(Outcome::Attested)]);
        assert_eq!(seen.done(), (3, 4));
    }
}
