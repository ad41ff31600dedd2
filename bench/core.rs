//! Times of the core's bodies. `cargo bench --bench core`, with a part of a name for some of them.

mod bodies;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn core(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    for (name, prepare) in bodies::ALL {
        let mut body = prepare(NODES);
        group.throughput(Throughput::Elements(body.operations));
        group.bench_function(name, |bencher| bencher.iter(|| (body.turn)()));
    }
    group.finish();
}

/// More than any cache holds.
const NODES: u32 = 100_000;

criterion_group!(benches, core);
criterion_main!(benches);
