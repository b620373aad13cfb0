use holdfast_hal_linux::Machine;
use holdfast_types::{BoxName, DutyId, Slot, ValidatorIndex};
use holdfast_vault_client::Tier;

use super::*;

/// A board of a machine that has no clock.
pub(crate) fn board() -> Board {
    Board::new(Arc::new(Events::new(1)), Arc::new(Synchronised::by(Machine::at("/nowhere"))))
}

pub(crate) fn vault_status() -> VaultStatus {
    VaultStatus {
        version: "0".to_owned(),
        box_name: BoxName([0x7f; 32]),
        authority: None,
        lock_hash: None,
        validators: Vec::new(),
        share_index: None,
        tier: Tier::C,
        tier_reason: "an emulated TPM".to_owned(),
        memory: "mlock".to_owned(),
        generation: None,
        level: None,
        lease: None,
        orders_logged: 0,
        orders_head: [0; 32],
        closed: None,
    }
}

fn event(slot: u64, step: DutyStep) -> DutyEvent {
    DutyEvent { duty: DutyId::attester(Slot(slot)), after_ms: 40, step }
}

fn after(board: &Board, after: u64) -> DutyList {
    board.duties(&DutyQuery { after, ..DutyQuery::default() }, usize::MAX)
}

/// The events that this board ever had, up to a page.
fn told(board: &Board) -> Vec<EventKind> {
    board.events.since(1 << 32).into_iter().map(|event| event.what).collect()
}

#[test]
fn a_reader_gets_each_change_once() {
    let board = board();
    board.record(&event(1, DutyStep::Started { validators: 2 }));
    board.record(&event(2, DutyStep::Started { validators: 3 }));
    let first = after(&board, 0);
    assert_eq!(first.duties.iter().map(|duty| duty.slot.0).collect::<Vec<_>>(), [1, 2]);
    board.record(&event(1, DutyStep::Decided { round: 1 }));
    let second = after(&board, first.next);
    assert_eq!(second.duties.len(), 1);
    assert_eq!((second.duties[0].decided_round, second.duties[0].validators), (Some(1), 2));
    assert_eq!(after(&board, second.next).duties, []);
    assert_eq!(told(&board).len(), 3);
}

#[test]
fn what_is_held_back_is_shown_until_it_is_signed() {
    let board = board();
    board.record(&event(1, DutyStep::Withheld { why: "the vault is closed".to_owned() }));
    assert_eq!(after(&board, 0).duties[0].withheld.as_deref(), Some("the vault is closed"));
    board.record(&event(1, DutyStep::Signed { signed: 2, refused: Vec::new() }));
    let duty = &after(&board, 0).duties[0];
    assert_eq!((duty.withheld.as_ref(), duty.signed), (None, 2));
}

#[test]
fn only_the_newest_duties_are_kept() {
    let board = board();
    let all = 2 * DUTIES_MAX as u64;
    for slot in 0..all {
        board.record(&event(slot, DutyStep::DataFetched));
    }
    let kept = after(&board, 0).duties;
    assert_eq!((kept.len(), kept[0].slot), (DUTIES_MAX, Slot(all / 2)));
}

#[test]
fn a_limit_cuts_the_list_where_the_next_one_begins() {
    let board = board();
    for slot in 0..5 {
        board.record(&event(slot, DutyStep::DataFetched));
    }
    let query = DutyQuery::default();
    let first = board.duties(&query, 3);
    let rest = board.duties(&DutyQuery { after: first.next, ..query }, 3);
    assert_eq!((first.duties.len(), rest.duties.len(), rest.duties[0].slot), (3, 2, Slot(3)));
}

#[test]
fn the_missed_can_be_asked_for_alone() {
    let board = board();
    board.record(&event(1, DutyStep::DataFetched));
    board.record(&event(2, DutyStep::Missed { validators: 1, why: "late".to_owned() }));
    let missed = board.duties(&DutyQuery { missed: true, ..DutyQuery::default() }, 10).duties;
    assert_eq!(missed.iter().map(|duty| duty.slot).collect::<Vec<_>>(), [Slot(2)]);
}

#[test]
fn conditions_are_shown_worst_first_and_told_once_until_they_are_over() {
    let board = board();
    board.set_condition("a.warning", Severity::Warning, "it is so", "do this");
    board.set_condition("b.critical", Severity::Critical, "it is worse", "do that");
    board.set_condition("a.warning", Severity::Warning, "it is so", "do this");
    let ids = |board: &Board| board.status().conditions.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(ids(&board), ["b.critical", "a.warning"]);
    board.clear_condition("b.critical");
    board.clear_condition("never there");
    assert_eq!(ids(&board), ["a.warning"]);
    let told = told(&board);
    assert_eq!(told.len(), 3);
    assert!(matches!(&told[2], EventKind::Condition(change) if change.over && change.condition.id == "b.critical"));
}

#[test]
fn a_mode_is_told_when_it_or_its_reason_changes() {
    let board = board();
    board.set_mode(Mode::Paired, "one");
    board.set_mode(Mode::Paired, "one");
    board.set_mode(Mode::Paired, "two");
    assert_eq!(told(&board).len(), 2);
}

#[test]
fn a_box_is_named_by_its_vault_while_that_answers() {
    let board = board();
    assert_eq!(board.status().name, "");
    board.set_vault(Some(&vault_status()));
    assert_eq!((board.status().name.as_str(), board.vault().unwrap().tier.as_str()), ("box-7f7f", "C"));
    assert_eq!(board.vault_status(), Some(vault_status()));
    board.set_vault(None);
    assert_eq!((board.status().name.as_str(), board.vault_status()), ("", None));
    assert!(!board.status().clock_synchronised);
}

#[test]
fn validators_come_in_pages_with_what_chain_and_vault_say() {
    let board = board();
    let lock = crate::run::tests::verified_lock();
    let keys: Vec<_> = lock.validators().map(|validator| validator.public).collect();
    board.set_cluster(ShownCluster::of(&lock, &[], holdfast_types::OperatorIndex(0)));
    board.set_vault(Some(&VaultStatus { validators: vec![keys[0]], ..vault_status() }));
    board.set_validators(|cluster| cluster.seen(&keys[0], ValidatorIndex(41_207), "active_ongoing"));
    let first = board.validators(0, 1);
    assert_eq!(first.cursor.as_deref(), (keys.len() > 1).then_some("1"));
    let shown = &first.validators[0];
    assert_eq!((shown.index.as_deref(), shown.status.as_deref()), (Some("41207"), Some("active_ongoing")));
    assert!(shown.share_held && shown.fee_recipient.len() == 42 && shown.pubkey == keys[0].to_string());
    let rest = board.validators(1, 500);
    assert_eq!((rest.validators.len(), rest.cursor), (keys.len() - 1, None));
    assert!(rest.validators.iter().all(|one| one.index.is_none() && !one.share_held));
}
