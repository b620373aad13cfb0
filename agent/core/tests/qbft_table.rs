//! The state machine as a table: what an instance says to a message of each type, for an earlier, its own and a later
//! round. A change of the algorithm shows as a change of the table.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod qbft_support;

use holdfast_core::qbft::Output;
use holdfast_types::Millis;
use holdfast_wire::qbft::{MsgKind, SignedMsg};

use qbft_support::{Cluster, after_start, hash, name, said};

/// One of four operators is in round 2, with a value of its own (9), once as that round's leader and once not. With
/// `enough` support the message is the last that a rule needs, or is justified; with `-` it comes alone.
const TABLE: &str = "\
message       round  support  as leader                      else
PRE-PREPARE   1      -        nothing                        nothing
PRE-PREPARE   2      -        unjustified                    unjustified
PRE-PREPARE   2      enough   PREPARE r2 v7                  PREPARE r2 v7
PRE-PREPARE   3      enough   PREPARE r3 v7                  PREPARE r3 v7
PREPARE       1      enough   nothing                        nothing
PREPARE       2      -        nothing                        nothing
PREPARE       2      enough   COMMIT r2 v7                   COMMIT r2 v7
PREPARE       3      enough   nothing                        nothing
COMMIT        1      enough   nothing                        nothing
COMMIT        2      -        nothing                        nothing
COMMIT        2      enough   decided r2 v7 by 3             decided r2 v7 by 3
COMMIT        3      enough   nothing                        nothing
ROUND-CHANGE  1      enough   nothing                        nothing
ROUND-CHANGE  2      -        nothing                        nothing
ROUND-CHANGE  2      enough   PRE-PREPARE r2 v9 by 3         nothing
ROUND-CHANGE  3      -        nothing                        nothing
ROUND-CHANGE  3      enough   ROUND-CHANGE r3                ROUND-CHANGE r3
DECIDED       1      -        unjustified                    unjustified
DECIDED       1      enough   decided r1 v7 by 3             decided r1 v7 by 3
DECIDED       2      enough   decided r2 v7 by 3             decided r2 v7 by 3
DECIDED       3      enough   decided r3 v7 by 3             decided r3 v7 by 3
";

#[test]
fn the_table_is_what_the_algorithm_does() {
    let mut table = format!("{:<12}  {:<5}  {:<7}  {:<29}  {}\n", "message", "round", "support", "as leader", "else");
    for (kind, round, enough) in cases() {
        let support = if enough { "enough" } else { "-" };
        let (leading, following) = (reaction(1, kind, round, enough), reaction(3, kind, round, enough));
        table += &format!("{:<12}  {round:<5}  {support:<7}  {leading:<29}  {following}\n", name(kind));
    }
    assert_eq!(table, TABLE, "\n{table}");
}

fn cases() -> Vec<(MsgKind, u64, bool)> {
    use MsgKind::{Commit, Decided, PrePrepare, Prepare, RoundChange};
    let mut cases = vec![(PrePrepare, 1, false), (PrePrepare, 2, false), (PrePrepare, 2, true), (PrePrepare, 3, true)];
    for kind in [Prepare, Commit] {
        cases.extend([(kind, 1, true), (kind, 2, false), (kind, 2, true), (kind, 3, true)]);
    }
    cases.push((RoundChange, 1, true));
    cases.extend([2, 3].into_iter().flat_map(|round| [(RoundChange, round, false), (RoundChange, round, true)]));
    cases.push((Decided, 1, false));
    cases.extend([1, 2, 3].map(|round| (Decided, round, true)));
    cases
}

/// What operator `own` in round 2 does with a message; `enough` says whether others said the same before, or justify it.
fn reaction(own: u8, kind: MsgKind, round: u64, enough: bool) -> String {
    let cluster = Cluster::new(4);
    let mut instance = cluster.instance(own);
    let now = after_start(1000);
    let mut out = Vec::new();
    instance.set_input(hash(9), now, &mut out);
    instance.start(now, &mut out);
    assert_eq!((instance.round(), said(&out)), (2, vec!["ROUND-CHANGE r2".to_owned()]));
    let sender = if kind == MsgKind::PrePrepare { cluster.leader(round) } else { 0 };
    let one = |peer: u8| match kind {
        MsgKind::RoundChange => cluster.round_change(peer, round, None),
        _ => cluster.about(kind, peer, round, 7),
    };
    let (mut earlier, mut justification): (Vec<SignedMsg>, Vec<SignedMsg>) = Default::default();
    match kind {
        _ if !enough => {}
        MsgKind::PrePrepare => justification = [0, 1, 2].map(|peer| cluster.round_change(peer, round, None)).into(),
        MsgKind::Decided => justification = [0, 1, 2].map(|peer| cluster.commit(peer, round, 7)).into(),
        // Two more of a later round would pull the instance along before the third comes.
        MsgKind::RoundChange if round > 2 => earlier = vec![one(2)],
        MsgKind::Prepare | MsgKind::Commit | MsgKind::RoundChange => earlier = vec![one(1), one(2)],
    }
    out.clear();
    for msg in &earlier {
        instance.on_message(msg, &[], now, &mut out).unwrap();
    }
    assert_eq!(out, Vec::<Output>::new(), "a quorum needs its last vote");
    assert_eq!(instance.deadline(), Some(Millis(now.0 + 1000)));
    match instance.on_message(&one(sender), &justification, now, &mut out) {
        Err(_) => "unjustified".to_owned(),
        Ok(()) if out.is_empty() => "nothing".to_owned(),
        Ok(()) => said(&out).join(", "),
    }
}
