//! The deposit files that the launchpad takes (`cluster-files.md` section 7.1).

use std::collections::BTreeMap;

use holdfast_eth::{DepositData, GWEI_PER_ETH};
use serde::Serialize;

use crate::go_json::to_go_json;
use crate::lock::VerifiedLock;

/// One deposit file: all validators' deposits of one amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositFile {
    /// The name of the file.
    pub name: String,
    /// Its content.
    pub json: String,
}

#[derive(Serialize)]
struct Entry<'a> {
    pubkey: String,
    withdrawal_credentials: String,
    amount: u64,
    signature: String,
    deposit_message_root: String,
    deposit_data_root: String,
    fork_version: String,
    network_name: &'a str,
    deposit_cli_version: &'static str,
}

/// The deposit files of a cluster, one for each amount.
#[must_use]
pub fn deposit_files(lock: &VerifiedLock) -> Vec<DepositFile> {
    let mut by_amount: BTreeMap<u64, Vec<&DepositData>> = BTreeMap::new();
    for deposit in lock.lock().validators.iter().flat_map(|validator| &validator.deposits) {
        by_amount.entry(deposit.message.amount_gwei).or_default().push(deposit);
    }
    let file = |(amount_gwei, mut deposits): (u64, Vec<&DepositData>)| {
        deposits.sort_unstable_by_key(|deposit| deposit.message.pubkey);
        let entries: Vec<_> = deposits.into_iter().map(|deposit| entry(lock, deposit)).collect();
        DepositFile { name: file_name(amount_gwei), json: to_go_json(&entries) }
    };
    by_amount.into_iter().map(file).collect()
}

fn entry<'a>(lock: &'a VerifiedLock, deposit: &DepositData) -> Entry<'a> {
    Entry {
        pubkey: hex::encode(deposit.message.pubkey),
        withdrawal_credentials: hex::encode(deposit.message.withdrawal_credentials),
        amount: deposit.message.amount_gwei,
        signature: hex::encode(deposit.signature),
        deposit_message_root: hex::encode(deposit.message.hash_tree_root()),
        deposit_data_root: hex::encode(deposit.hash_tree_root()),
        fork_version: hex::encode(lock.fork_version()),
        network_name: &lock.network().name,
        deposit_cli_version: "2.7.0",
    }
}

fn file_name(amount_gwei: u64) -> String {
    let (ether, rest) = (amount_gwei / GWEI_PER_ETH, amount_gwei % GWEI_PER_ETH);
    match (ether, rest) {
        (32, 0) => "deposit-data.json".into(),
        (_, 0) => format!("deposit-data-{ether}eth.json"),
        _ => format!("deposit-data-{ether}.{}eth.json", format!("{rest:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_is_in_the_name_unless_it_is_usual() {
        assert_eq!(file_name(32 * GWEI_PER_ETH), "deposit-data.json");
        assert_eq!(file_name(GWEI_PER_ETH), "deposit-data-1eth.json");
        assert_eq!(file_name(1_050_000_000), "deposit-data-1.05eth.json");
    }
}
