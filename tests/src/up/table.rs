//! The live table: what each node says of each duty, a row when the duty is over.

use std::collections::BTreeMap;

use holdfast_api::DutyRecord;
use holdfast_types::Slot;

use crate::kit::{Inclusion, NodeBox};

/// What the nodes said so far.
#[derive(Debug)]
pub(crate) struct Table {
    terminal: bool,
    cursors: Vec<u64>,
    /// By slot, then by node.
    records: BTreeMap<Slot, Vec<Option<DutyRecord>>>,
}

impl Table {
    pub(crate) fn new(nodes: u8, terminal: bool) -> Self {
        Self { terminal, cursors: vec![0; usize::from(nodes)], records: BTreeMap::new() }
    }

    /// Reads what changed. A node that does not answer has nothing new to say.
    pub(crate) fn read(&mut self, boxes: &[NodeBox]) {
        for (node, cursor) in boxes.iter().zip(&mut self.cursors) {
            let Ok(list) = node.duties_after(*cursor) else { continue };
            *cursor = list.next;
            for duty in list.duties {
                let row = self.records.entry(duty.slot).or_insert_with(|| vec![None; boxes.len()]);
                row[usize::from(node.operator)] = Some(duty);
            }
        }
    }

    /// The records of the slots from `first` to `end`, by node within each slot.
    pub(crate) fn records(&self, first: Slot, end: u64) -> Vec<Vec<DutyRecord>> {
        let slots = self.records.range(first..Slot(end));
        slots.map(|(_, row)| row.iter().flatten().cloned().collect()).collect()
    }

    /// What the nodes say about a missed vote, behind what the chain says.
    pub(crate) fn why(&self, slot: Slot, chain: &str) -> String {
        let Some(row) = self.records.get(&slot) else { return format!("{chain}; no node had a duty there") };
        let said = row.iter().enumerate().map(|(node, record)| match record {
            None => format!("node {node}: no duty"),
            Some(DutyRecord { missed: Some(why), .. }) => format!("node {node}: {why}"),
            Some(DutyRecord { decided_round: None, .. }) => format!("node {node}: not decided"),
            Some(DutyRecord { broadcast: 0, .. }) => format!("node {node}: decided, not broadcast"),
            Some(duty) => {
                format!("node {node}: broadcast {} ms after the duty's start", duty.broadcast_ms.unwrap_or(0))
            }
        });
        format!("{chain}; {}", said.collect::<Vec<_>>().join("; "))
    }

    pub(crate) fn print_head(&self) {
        let nodes: String = (0..self.cursors.len()).map(|node| format!("  {:<14}", format!("node {node}"))).collect();
        println!("{:>6}  {:<8}  {:<5}  {:<14}  {:<10}{nodes}", "SLOT", "DUTY", "ROUND", "SIGNED BY", "INCLUDED");
    }

    pub(crate) fn print_row(&self, slot: Slot, inclusion: &Inclusion) {
        if inclusion.expected == 0 {
            return;
        }
        let empty = vec![None; self.cursors.len()];
        let row = self.records.get(&slot).unwrap_or(&empty);
        let rounds: Vec<u64> = row.iter().flatten().filter_map(|duty| duty.decided_round).collect();
        let round = rounds.iter().max().map_or("–".to_owned(), u64::to_string);
        let mut signers: Vec<u8> = row.iter().flatten().flat_map(|duty| duty.partials_from.clone()).collect();
        signers.sort_unstable();
        signers.dedup();
        let signers = signers.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
        let mark = if inclusion.missed.is_empty() { "✓" } else { "…" };
        let included = format!("{}/{} {mark}", inclusion.included, inclusion.expected);
        let nodes: String = row.iter().map(|duty| format!("  {:<14}", cell(duty.as_ref()))).collect();
        let line = format!("{:>6}  {:<8}  {round:<5}  {signers:<14}  {included:<10}{nodes}", slot.0, "attester");
        if self.terminal && !inclusion.missed.is_empty() {
            // Colour repeats what the mark says.
            println!("\u{1b}[33m{line}\u{1b}[0m");
        } else {
            println!("{line}");
        }
    }
}

fn cell(duty: Option<&DutyRecord>) -> String {
    match duty {
        None => "no duty".to_owned(),
        Some(DutyRecord { missed: Some(_), .. }) => "missed".to_owned(),
        Some(DutyRecord { broadcast_ms: Some(after), .. }) => format!("sent {after} ms"),
        Some(DutyRecord { decided_ms: Some(after), .. }) => format!("decided {after} ms"),
        Some(_) => "started".to_owned(),
    }
}
