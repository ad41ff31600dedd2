//! What the wire codec costs: decoding a request, encoding a reply with a Stat, an event.

use criterion::{Criterion, criterion_group, criterion_main};
use ringkeeper::ids::Zxid;
use ringkeeper::wire::records::{Stat, encode_event, encode_reply};
use ringkeeper::wire::{EventType, Op, ReplyHeader, Request, Writer};
use std::hint::black_box;

fn codec(c: &mut Criterion) {
    let mut get = Vec::new();
    let mut writer = Writer::new(&mut get);
    writer.string("/bench/n00000001");
    writer.boolean(false);
    c.bench_function("decode getData", |b| b.iter(|| Request::decode(Op::GetData, black_box(&get)).is_ok()));

    let mut out = Vec::with_capacity(4096);
    let (stat, value) = (Stat::default(), [b'v'; 100]);
    let header = ReplyHeader { xid: 1, zxid: Zxid(2), err: 0 };
    c.bench_function("encode getData reply, 100 B", |b| {
        b.iter(|| {
            out.clear();
            encode_reply(&mut out, black_box(header), |out| {
                Writer::new(out).buffer(Some(&value));
                stat.encode(out);
            });
            out.len()
        })
    });
    c.bench_function("encode event", |b| {
        b.iter(|| {
            out.clear();
            encode_event(&mut out, Zxid(3), EventType::NodeDataChanged, black_box("/bench/n00000001"));
            out.len()
        })
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
