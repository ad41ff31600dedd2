//! The data as a pure function of the transactions: records shared by all cores (`node`), the index each core has of
//! them (`index`), the member's copy that turns transactions into effects (`store`), and what surrounds it: digest,
//! quotas, permissions, path rules, snapshot bytes. Knows no connections, no session timers, no files.

pub mod chunked;
pub mod digest;
pub mod effect;
pub mod image;
pub mod image_writer;
pub mod index;
pub mod node;
pub mod packer;
pub mod path;
pub mod permission;
pub mod quota;
pub mod slots;
pub mod snappy;
pub mod store;

pub use effect::{Effect, Effects};
pub use index::{ChildStat, Tree};
pub use node::{Node, NodeHead, Owner, OwnerRules};
pub use slots::Slot;
pub use store::{Known, Store, StoreSettings, Undo};

#[cfg(test)]
mod tests;
