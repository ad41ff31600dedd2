//! What the benchmarks measure: one turn of each is some operations on state that was prepared before. `core` times them,
//! `instructions` runs a given number of turns for callgrind to count. Each turn leaves the state as large as it was.

mod codec;
mod log;
mod mesh;
mod shard;
mod tree;
mod watches;

/// Something to measure.
pub struct Body {
    /// Of one turn.
    pub operations: u64,
    pub turn: Box<dyn FnMut()>,
}

/// Prepares a body over so many nodes.
pub type Prepare = fn(nodes: u32) -> Body;

/// All of them by name.
pub const ALL: [(&str, Prepare); 13] = [
    ("decode getData", codec::decode_get_data),
    ("encode getData reply of 100 B", codec::encode_get_data_reply),
    ("encode event", codec::encode_event),
    ("tree: look a path up", tree::look_up),
    ("tree: list a child", tree::list_children),
    ("tree: apply setData", tree::apply_set_data),
    ("tree: apply create, delete", tree::apply_create_delete),
    ("tree: install setData", tree::install_set_data),
    ("shard: getData, 32 in flight", shard::get_data),
    ("shard: event to one of 1000 watchers", shard::fan_out),
    ("watches: set one and fire it", watches::set_and_fire),
    ("log: transaction in a frame of 64", log::frame),
    ("mesh: message between cores", mesh::message),
];
