//! The log of orders, as whoever reads it page by page sees it: whole, in a chain that ends in the head of the status.

use std::time::Duration;

use holdfast_evidence::log::check_log;
use holdfast_vault_client::LoggedOrder;
use holdfast_vault_client::codec::ORDER_LOG_PAGE_LEN;
use rusqlite::Connection;

use super::*;

/// Every entry, fetched page by page.
fn log(vault: &mut Vault) -> (Vec<LoggedOrder>, usize) {
    let (mut entries, mut pages): (Vec<LoggedOrder>, _) = (Vec::new(), 0);
    loop {
        let after = entries.last().map_or(0, |entry| entry.number);
        let page = match vault.answer(Request::OrderLog { after }) {
            Response::OrderLog(page) => page,
            other => panic!("{other:?}"),
        };
        if page.is_empty() {
            return (entries, pages);
        }
        assert!(page.len() <= ORDER_LOG_PAGE_LEN);
        entries.extend(page);
        pages += 1;
    }
}

/// Whether entries are a whole log that ends where a status says.
fn is_whole(entries: &[LoggedOrder], status: &VaultStatus) -> bool {
    let begins = entries.first().is_none_or(|first| first.number == 1);
    begins && check_log(entries, status.orders_logged, &status.orders_head).is_ok()
}

/// A vault with a log of some pages: orders that were carried out and such that were not.
fn with_pages() -> (TestBox, Vault) {
    let (place, mut vault) = Situation::Open.set_up();
    for number in 0..2 * ORDER_LOG_PAGE_LEN + 20 {
        let given = match number % 3 {
            0 => Order::VouchDisk,
            1 => Order::Downgrade { version: number.to_string() },
            _ => Order::Retire(vec![SECOND]),
        };
        assert_eq!(order(&place, &mut vault, given).is_ok(), number % 3 == 1);
    }
    (place, vault)
}

#[test]
fn the_log_is_whole_over_its_pages_and_over_a_restart() {
    let (place, mut vault) = with_pages();
    let (entries, pages) = log(&mut vault);
    // With those that set the box up: Own, SetNetwork, Import.
    assert_eq!((entries.len(), pages), (2 * ORDER_LOG_PAGE_LEN + 23, 3));
    assert!(is_whole(&entries, &status(&mut vault)));
    let kinds: Vec<&str> = entries.iter().take(5).map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["Own", "SetNetwork", "Import", "VouchDisk", "Downgrade"]);
    assert!(entries.iter().all(|entry| entry.at_ms == place.now().0));
    assert_eq!(entries[5].refused.as_deref(), Some(format!("no share of validator {SECOND} in this vault").as_str()));
    vault.stop().unwrap();
    let mut vault = place.start();
    assert_eq!(log(&mut vault).0, entries);
    assert!(is_whole(&entries, &status(&mut vault)));
}

#[test]
fn whoever_reads_the_log_notices_what_was_changed_in_it() {
    let (_place, mut vault) = with_pages();
    let (entries, status) = (log(&mut vault).0, status(&mut vault));
    let changes: [fn(&mut LoggedOrder); 6] = [
        |entry| entry.number += 1,
        |entry| entry.at_ms += 1,
        |entry| entry.kind.push('x'),
        |entry| entry.order[31] ^= 1,
        |entry| entry.refused = entry.refused.is_none().then(String::new),
        |entry| entry.hash[0] ^= 1,
    ];
    for at in 0..entries.len() {
        for (number, change) in changes.iter().enumerate() {
            let mut changed = entries.clone();
            change(&mut changed[at]);
            assert!(!is_whole(&changed, &status), "change {number} of entry {at}");
        }
        let mut trimmed = entries.clone();
        trimmed.remove(at);
        assert!(!is_whole(&trimmed, &status), "without entry {at}");
        assert!(!is_whole(&entries[..at], &status), "up to entry {at}");
        let mut chained_anew = entries.clone();
        chained_anew[at].at_ms += 1;
        let mut head = at.checked_sub(1).map_or([0; 32], |before| entries[before].hash);
        for entry in &mut chained_anew[at..] {
            entry.hash = entry.hash_after(&head);
            head = entry.hash;
        }
        assert!(!is_whole(&chained_anew, &status), "chained anew from entry {at} on");
    }
    assert!(is_whole(&entries, &status));
}

#[test]
fn a_log_that_was_changed_on_the_disk_closes_the_vault() {
    for change in [
        "DELETE FROM log WHERE number = 1",
        "DELETE FROM log WHERE number = (SELECT max(number) FROM log)",
        "UPDATE log SET kind = 'Reset' WHERE number = 2",
        "UPDATE log SET refused = 'no' WHERE number = 3",
    ] {
        let (place, vault) = Situation::Open.set_up();
        vault.stop().unwrap();
        let database = Connection::open(place.state().join(crate::vault::HISTORY_FILE)).unwrap();
        assert_eq!(database.execute(change, []).unwrap(), 1, "{change}");
        drop(database);
        let mut vault = place.start();
        assert_eq!(closed(&mut vault), Some(holdfast_vault_client::ClosedId::HistoryLost), "{change}");
        let asked = vault.answer(Request::SignAttestations(Vec::new()));
        assert!(matches!(asked, Response::Rejected(Rejection::Closed(_))), "{change}");
    }
}

#[test]
fn a_flood_of_refusals_is_logged_a_hundred_times_an_hour_and_orders_of_the_authority_always() {
    let (place, mut vault) = Situation::Open.set_up();
    let first = status(&mut vault).orders_logged;
    let strangers = Operator::from_seed(99).sign(name(&mut vault), Challenge::default(), Order::Reset);
    let flood = |vault: &mut Vault| (0..150).for_each(|_| assert!(give(vault, &strangers).is_err()));
    flood(&mut vault);
    assert_eq!(status(&mut vault).orders_logged, first + 100);
    assert!(order(&place, &mut vault, Order::Downgrade { version: "1".into() }).is_ok());
    assert!(order(&place, &mut vault, Order::VouchDisk).is_err());
    assert_eq!(status(&mut vault).orders_logged, first + 102);
    place.clock.pass(Duration::from_secs(60 * 60));
    flood(&mut vault);
    assert_eq!(status(&mut vault).orders_logged, first + 202);
    assert!(is_whole(&log(&mut vault).0, &status(&mut vault)));
}
