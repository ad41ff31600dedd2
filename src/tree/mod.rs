//! The data as a pure function of the transactions.

pub mod effect;
pub mod node;

pub use effect::Effect;
pub use node::{Node, NodeHead, Owner, OwnerRules};
