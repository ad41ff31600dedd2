//! What a transaction changes, as pointers: the member computes effects once, every tree installs them.

use super::node::Node;
use super::slots::Slot;
use crate::ids::{AclId, Zxid};
use crate::wire::Acl;
use smallvec::SmallVec;
use std::sync::Arc;

/// What a transaction does, in order. Most have one effect, which needs no memory of its own.
pub type Effects = SmallVec<[Effect; 1]>;

/// One step of a transaction's outcome. All numbers are absolute, so installing needs no rules.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An access control list that the next effects refer to. Trees count references and drop it with the last.
    AddAcl { id: AclId, acl: Arc<[Acl]> },
    /// A node came to be; its parent's stored cversion and pzxid are now these.
    Create { node: Node, slot: Slot, parent: Slot, parent_cversion: i32, parent_pzxid: Zxid },
    /// A node is gone (the record it had); its parent's pzxid is now this.
    Delete { node: Node, slot: Slot, parent: Slot, parent_pzxid: Zxid },
    /// New data: fires data watches.
    SetData { node: Node, slot: Slot },
    /// New ACL, or a quota's own book-keeping: no watch fires.
    Replace { node: Node, slot: Slot },
    /// Only the stored cversion and pzxid of a node change (replay over fuzzy snapshots, deletes of missing nodes).
    Parent { slot: Slot, cversion: i32, pzxid: Zxid },
}

impl Effect {
    /// The slot of the node that gets another record, or goes.
    pub fn changed(&self) -> Option<Slot> {
        match self {
            Effect::Delete { slot, .. } | Effect::SetData { slot, .. } | Effect::Replace { slot, .. } => {
                Some(*slot)
            }
            Effect::AddAcl { .. } | Effect::Create { .. } | Effect::Parent { .. } => None,
        }
    }
}
