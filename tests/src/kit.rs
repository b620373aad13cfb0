//! The kit that end-to-end runs are made of: where a process lives, one box with its TPM, a whole cluster on a chain, a
//! reader of the chain that shares nothing with the agent, and what finds conflicting votes.

mod by_command;
mod chain_reader;
mod cluster;
mod desk;
mod node_box;
mod place;
mod votes;

pub use by_command::code_on_screen;
pub use chain_reader::{ChainReader, Inclusion, Missed};
pub use cluster::{Cluster, ClusterOptions};
pub use desk::{Desk, Said, screen};
pub use node_box::{Figures, Handover, NodeBox};
pub use place::{Lab, Place, Process};
pub use votes::{HistoryRow, Votes, history};
