//! The queue between two cores, without the other core: what a message costs the two of them together, as long as nobody
//! sleeps.

use super::Body;
use ringkeeper::ids::SessionId;
use ringkeeper::io::Waker;
use ringkeeper::io::queue::mailbox;
use ringkeeper::limits::MESH_QUEUE_MAX;
use ringkeeper::mesh::ToMember;
use std::sync::Arc;

struct NobodySleeps;

impl Waker for NobodySleeps {
    fn wake(&self) {
        panic!("the receiver never said that it sleeps");
    }
}

pub fn message(_: u32) -> Body {
    let (sender, receiver) = mailbox::<ToMember>(MESH_QUEUE_MAX, Arc::new(NobodySleeps));
    let turn = move || {
        for index in 0..MESSAGES {
            let message = ToMember::Touch(vec![SessionId(index)]);
            assert!(sender.send(message).is_ok(), "there is room");
        }
        for index in 0..MESSAGES {
            let Some(ToMember::Touch(sessions)) = receiver.pop() else { panic!("all arrive, in order") };
            assert_eq!(sessions, [SessionId(index)]);
        }
    };
    Body { operations: MESSAGES as u64, turn: Box::new(turn) }
}

const MESSAGES: i64 = 64;
