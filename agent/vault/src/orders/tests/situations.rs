//! Every kind of order in every situation: carried out, or refused in the words of the table beside this file.

use std::fmt::Write as _;

use super::*;

/// For each situation, with what the status calls it: each answer, and the orders that get it.
const TABLE: &str = include_str!("situations.txt");

#[test]
fn every_order_in_every_situation_is_answered_as_the_table_says() {
    let found: String = Situation::ALL.into_iter().map(answers).collect();
    let differs = found.lines().zip(TABLE.lines()).find(|(found, table)| found != table);
    assert!(found == TABLE, "the table says otherwise, first here: {differs:#?}\nit would be:\n{found}");
}

/// One paragraph of the table. What is refused leaves the box as it was, so only what is carried out needs another box.
fn answers(situation: Situation) -> String {
    let (mut place, mut vault) = situation.set_up();
    let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in Kind::ALL {
        let given = kind.order(&mut place, &mut vault);
        let before = seen(&place, &mut vault);
        let answer = match order_before_upkeep(&place, &mut vault, given) {
            Ok(_) => "done".to_owned(),
            Err(reason) => {
                assert_eq!(
                    seen(&place, &mut vault),
                    before,
                    "{situation:?}: {kind:?} is refused and changed something"
                );
                reason.replace(place.state().to_str().unwrap(), "STATE")
            }
        };
        if answer == "done" {
            (place, vault) = situation.set_up();
        }
        answers.entry(answer).or_default().push(format!("{kind:?}"));
    }
    let closed = situation.closed().map_or("signs", |closed| closed.name());
    let mut paragraph = format!("{situation:?} ({closed})\n");
    for (answer, kinds) in answers {
        writeln!(paragraph, "  {}\n    {answer}", kinds.join(" ")).unwrap();
    }
    paragraph
}

/// As [`order`], without what would be due then: it could end the situation.
fn order_before_upkeep(place: &TestBox, vault: &mut Vault, order: Order) -> Result<OrderOutcome, String> {
    let signed = signed(place, vault, order);
    give(vault, &signed)
}
