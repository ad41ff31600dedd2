//! The wire codec: decoding a request, encoding a reply with a Stat, an event.

use super::Body;
use ringkeeper::ids::Zxid;
use ringkeeper::wire::records::{self, Stat};
use ringkeeper::wire::{EventType, Op, ReplyHeader, Request, Writer};
use std::hint::black_box;

pub fn decode_get_data(_: u32) -> Body {
    let mut get = Vec::new();
    let mut writer = Writer::new(&mut get);
    writer.string("/bench/n00000001");
    writer.boolean(false);
    let turn = move || assert!(Request::decode(Op::GetData, black_box(&get)).is_ok());
    Body { operations: 1, turn: Box::new(turn) }
}

pub fn encode_get_data_reply(_: u32) -> Body {
    let mut out = Vec::with_capacity(4096);
    let (stat, value) = (Stat::default(), [b'v'; 100]);
    let header = ReplyHeader { xid: 1, zxid: Zxid(2), err: 0 };
    let turn = move || {
        out.clear();
        records::encode_reply(&mut out, black_box(header), |out| {
            Writer::new(out).buffer(Some(&value));
            stat.encode(out);
        });
        black_box(out.len());
    };
    Body { operations: 1, turn: Box::new(turn) }
}

pub fn encode_event(_: u32) -> Body {
    let mut out = Vec::with_capacity(4096);
    let turn = move || {
        out.clear();
        let path = black_box("/bench/n00000001");
        records::encode_event(&mut out, Zxid(3), EventType::NodeDataChanged, path);
        black_box(out.len());
    };
    Body { operations: 1, turn: Box::new(turn) }
}
