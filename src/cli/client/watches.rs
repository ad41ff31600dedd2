//! Which watches this client believes to have, by kind, as ZooKeeper's `ZKWatchManager` keeps them: told by events what
//! fired, asked after a reconnect what to set again. Paths are the server's, chroot included.

use crate::wire::EventType;
use std::collections::BTreeSet;

/// What a request asks to watch; it counts once the server said yes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Intent {
    Data(String),
    /// Also on a node that does not exist.
    Exists(String),
    Children(String),
    Persistent(String),
    Recursive(String),
    Remove {
        path: String,
        kind: WatchKind,
        is_local: bool,
    },
}

/// The kinds by which watches are removed (`Watcher.WatcherType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum WatchKind {
    /// Of getChildren.
    Children = 1,
    /// Of getData and exists.
    Data = 2,
    /// All of them.
    Any = 3,
    /// Of addWatch, the node alone.
    Persistent = 4,
    /// Of addWatch, with everything below.
    Recursive = 5,
}

#[derive(Default)]
pub(super) struct Watches {
    data: BTreeSet<String>,
    exists: BTreeSet<String>,
    children: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    /// A request with a watch was answered; `found` is false for NoNode.
    pub(super) fn set(&mut self, intent: &Intent, found: bool) {
        match intent {
            Intent::Exists(path) if !found => self.exists.insert(path.clone()),
            _ if !found => false,
            Intent::Data(path) | Intent::Exists(path) => self.data.insert(path.clone()),
            Intent::Children(path) => self.children.insert(path.clone()),
            Intent::Persistent(path) => self.persistent.insert(path.clone()),
            Intent::Recursive(path) => self.recursive.insert(path.clone()),
            Intent::Remove { .. } => false,
        };
    }

    /// An event came: one-shot watches are used up. True if anyone asked for it.
    pub(super) fn fire(&mut self, event: EventType, path: &str) -> bool {
        let mut fired = self.persistent.contains(path) || self.is_below_recursive(event, path);
        let (data, exists, children) = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => (true, true, false),
            EventType::NodeChildrenChanged => (false, false, true),
            EventType::NodeDeleted => (true, true, true),
        };
        fired |= data && self.data.remove(path);
        fired |= exists && self.exists.remove(path);
        fired | (children && self.children.remove(path))
    }

    fn is_below_recursive(&self, event: EventType, path: &str) -> bool {
        event != EventType::NodeChildrenChanged
            && self.recursive.iter().any(|root| {
                let below = path.strip_prefix(root.as_str());
                root == "/" || below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            })
    }

    /// True if there is a recursive watch on exactly this path.
    pub(super) fn is_recursive(&self, path: &str) -> bool {
        self.recursive.contains(path)
    }

    /// Forgets the watches of a path; returns the names of the events that tell so, None if there was none.
    pub(super) fn remove(&mut self, path: &str, kind: WatchKind) -> Option<Vec<&'static str>> {
        let any = kind == WatchKind::Any;
        let mut events = Vec::new();
        if (any || kind == WatchKind::Data) && (self.data.remove(path) | self.exists.remove(path)) {
            events.push("DataWatchRemoved");
        }
        if (any || kind == WatchKind::Children) && self.children.remove(path) {
            events.push("ChildWatchRemoved");
        }
        let persistent = (any || kind == WatchKind::Persistent) && self.persistent.remove(path);
        let recursive = (any || kind == WatchKind::Recursive) && self.recursive.remove(path);
        if persistent || recursive {
            events.push("PersistentWatchRemoved");
        }
        (!events.is_empty()).then_some(events)
    }

    /// Everything to set again on a new connection, in groups small enough for one request each.
    pub(super) fn groups(&self) -> Vec<[Vec<&str>; 5]> {
        let lists = [&self.data, &self.exists, &self.children, &self.persistent, &self.recursive];
        let mut groups: Vec<[Vec<&str>; 5]> = Vec::new();
        let mut bytes = usize::MAX;
        for (which, list) in lists.into_iter().enumerate() {
            for path in list {
                if bytes > GROUP_BYTES_MAX {
                    groups.push(Default::default());
                    bytes = 0;
                }
                bytes += path.len() + 4;
                groups.last_mut().expect("pushed above: bytes starts beyond the limit")[which].push(path);
            }
        }
        groups
    }
}

/// As in ZooKeeper's client, so that no request comes near the server's `jute.maxbuffer`.
const GROUP_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shot_watches_fire_once_persistent_ones_stay() {
        let mut watches = Watches::default();
        watches.set(&Intent::Exists("/later".into()), false);
        watches.set(&Intent::Data("/a".into()), true);
        watches.set(&Intent::Data("/never".into()), false);
        watches.set(&Intent::Recursive("/r".into()), true);
        assert!(watches.fire(EventType::NodeCreated, "/later"));
        assert!(!watches.fire(EventType::NodeCreated, "/later"));
        assert!(!watches.fire(EventType::NodeChildrenChanged, "/a"));
        assert!(watches.fire(EventType::NodeDeleted, "/a"));
        assert!(!watches.fire(EventType::NodeDeleted, "/never"));
        for _ in 0..2 {
            assert!(watches.fire(EventType::NodeDataChanged, "/r/x/y"));
            assert!(!watches.fire(EventType::NodeDataChanged, "/rx"));
        }
    }

    #[test]
    fn removal_names_its_events() {
        let mut watches = Watches::default();
        watches.set(&Intent::Data("/a".into()), true);
        watches.set(&Intent::Children("/a".into()), true);
        watches.set(&Intent::Persistent("/a".into()), true);
        assert_eq!(watches.remove("/a", WatchKind::Children), Some(vec!["ChildWatchRemoved"]));
        assert_eq!(watches.remove("/a", WatchKind::Children), None);
        assert_eq!(
            watches.remove("/a", WatchKind::Any),
            Some(vec!["DataWatchRemoved", "PersistentWatchRemoved"])
        );
    }

    #[test]
    fn groups_are_bounded_and_complete() {
        let mut watches = Watches::default();
        for number in 0..10_000 {
            watches.set(&Intent::Data(format!("/a-rather-long-name-for-a-node/{number}")), true);
        }
        watches.set(&Intent::Recursive("/r".into()), true);
        let groups = watches.groups();
        assert!(groups.len() > 2);
        assert_eq!(groups.iter().map(|group| group[0].len()).sum::<usize>(), 10_000);
        assert_eq!(groups.iter().map(|group| group[4].len()).sum::<usize>(), 1);
        assert!(Watches::default().groups().is_empty());
    }
}
