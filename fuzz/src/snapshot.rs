//! A snapshot, plain or compressed: an error with an offset, or a tree that reads back the same.

use super::empty_tree;
use ringkeeper::ids::Zxid;
use ringkeeper::tree::image::{self, ImageOptions};
use ringkeeper::tree::snappy;

pub fn run(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let options = ImageOptions::default();
    let read = match kind % 4 {
        0 => image::read(&mut &data[..], empty_tree(), &options),
        1 => image::read(&mut flate2::read::MultiGzDecoder::new(data), empty_tree(), &options),
        2 => image::read(&mut snappy::Decoder::new(data), empty_tree(), &options),
        // Without header and checksums: the nodes themselves are reached.
        _ => image::read_body(&mut &data[..], empty_tree(), &options).map(|(image, _)| image),
    };
    let Ok(read) = read else { return };
    let mut bytes = Vec::new();
    image::write(&read.tree, &read.sessions, None, Zxid::ZERO, &options, &mut bytes)
        .expect("memory takes it");
    let again = image::read(&mut &bytes[..], empty_tree(), &options).expect("what was written reads");
    assert_eq!(again.tree.node_count(), read.tree.node_count());
    assert_eq!(again.sessions, read.sessions);
}
