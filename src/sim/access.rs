//! Who may do what, once more and as simply as possible: the lists that clients here give their nodes, and what their
//! connections have proved. Shares nothing with the server's rules.

use crate::prng::Prng;
use crate::wire::Acl;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest;
use std::rc::Rc;

pub const READ: i32 = 1;
pub const WRITE: i32 = 2;
pub const CREATE: i32 = 4;
pub const DELETE: i32 = 8;
pub const ADMIN: i32 = 16;
pub const ALL: i32 = 31;

/// Users of the lists, and more of them, whose names are long.
const USERS: usize = 3;
const LONG_USERS: usize = 12;
const LONG_NAME_BYTES: usize = 20 << 10;

/// What a user proves: its name, a colon and a password.
pub fn proof(user: usize) -> String {
    format!("{}:{user}", name(user))
}

/// Its name.
fn name(user: usize) -> String {
    let letter = (b'a' + user as u8) as char;
    letter.to_string().repeat(if user < USERS { 2 } else { LONG_NAME_BYTES })
}

/// Its id in lists: the name, a colon, and the base64 form of the SHA-1 of the whole proof.
fn id(user: usize) -> String {
    let hash = sha1::Sha1::digest(proof(user).as_bytes());
    format!("{}:{}", name(user), STANDARD.encode(hash))
}

/// Addresses in lists, and whether they mean the clients here.
const ADDRESSES: [(&str, bool); 4] =
    [("127.0.0.1", true), ("127.0.0.0/8", true), ("127.0.0.2", false), ("10.0.0.0/8", false)];

/// Whom an entry means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    World,
    /// Whoever asks, by all that it has proved; only in requests.
    Auth,
    User(usize),
    Address(usize),
    /// A scheme that nobody knows: the whole list is refused.
    Unknown,
}

/// An entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub perms: i32,
    pub who: Who,
}

/// A list, as it is asked for or as a node has it.
pub type List = Rc<Vec<Entry>>;

/// Everybody may do everything.
pub fn open() -> List {
    Rc::new(vec![Entry { perms: ALL, who: Who::World }])
}

/// What a connection has proved, in order.
#[derive(Clone, Default, Debug)]
pub struct Proven {
    pub users: Rc<Vec<usize>>,
}

/// Identities of one connection and the bytes of their names, the address included.
const IDENTITIES_MAX: usize = 256;
const IDENTITIES_BYTES_MAX: usize = 64 << 10;
/// Of a name: "digest", the colon and the hash in base64.
const DIGEST_BYTES: usize = 6 + 1 + 28;

impl Proven {
    /// False if that is more than a connection may have.
    pub fn add(&mut self, user: usize) -> bool {
        if !self.users.contains(&user) {
            Rc::make_mut(&mut self.users).push(user);
        }
        self.users.len() < IDENTITIES_MAX && self.bytes() <= IDENTITIES_BYTES_MAX
    }

    /// Of all names.
    pub fn bytes(&self) -> usize {
        let names = self.users.iter().map(|user| name(*user).len() + DIGEST_BYTES);
        names.sum::<usize>() + "ip127.0.0.1".len()
    }
}

/// Whether one of these permissions is given.
pub fn allows(list: &List, wanted: i32, users: &[usize]) -> bool {
    list.iter().filter(|entry| entry.perms & wanted != 0).any(|entry| match entry.who {
        Who::World => true,
        Who::User(user) => users.contains(&user),
        Who::Address(address) => ADDRESSES[address].1,
        Who::Auth | Who::Unknown => false,
    })
}

/// The list that a node gets; None if it is refused.
pub fn stored(list: &List, users: &[usize]) -> Option<List> {
    let mut stored: Vec<Entry> = Vec::new();
    let mut seen: Vec<Entry> = Vec::new();
    for entry in list.iter() {
        if seen.contains(entry) {
            continue;
        }
        seen.push(*entry);
        match entry.who {
            Who::Unknown => return None,
            Who::Auth if users.is_empty() => return None,
            Who::Auth => {
                stored.extend(users.iter().map(|user| Entry { perms: entry.perms, who: Who::User(*user) }))
            }
            _ => stored.push(*entry),
        }
    }
    (!stored.is_empty()).then(|| Rc::new(stored))
}

/// As it is on the wire. Whoever lacks ADMIN is not shown the hashes.
pub fn on_wire(list: &List, shows_hashes: bool) -> Vec<Acl> {
    let acl = |entry: &Entry| {
        let (scheme, id) = match entry.who {
            Who::World => ("world", "anyone".to_string()),
            Who::Auth => ("auth", String::new()),
            Who::User(user) if shows_hashes => ("digest", id(user)),
            Who::User(user) => ("digest", format!("{}:x", name(user))),
            Who::Address(address) => ("ip", ADDRESSES[address].0.to_string()),
            Who::Unknown => ("nobody", "knows".to_string()),
        };
        Acl { perms: entry.perms, scheme: scheme.into(), id }
    };
    list.iter().map(acl).collect()
}

/// A list that a client thinks of.
pub fn draw(prng: &mut Prng) -> List {
    let entry = |prng: &mut Prng| {
        let who = match prng.below(20) {
            0..7 => Who::World,
            7..11 => Who::Auth,
            11..15 => Who::User(prng.below(USERS as u64) as usize),
            15..19 => Who::Address(prng.below(ADDRESSES.len() as u64) as usize),
            _ => Who::Unknown,
        };
        let perms = if prng.chance(30) { ALL } else { 1 + prng.below(31) as i32 };
        Entry { perms, who }
    };
    let mut list: Vec<Entry> = (0..1 + prng.below(3)).map(|_| entry(prng)).collect();
    if prng.chance(10) {
        list.push(list[0]);
    }
    Rc::new(list)
}

/// Whom a client proves to be next.
pub fn draw_user(prng: &mut Prng) -> usize {
    let users = if prng.chance(50) { USERS } else { USERS + LONG_USERS };
    prng.below(users as u64) as usize
}
