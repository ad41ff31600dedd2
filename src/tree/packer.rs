//! Packs an image as its file's extension says, chunk by chunk.

use super::image::Compression;
use super::snappy;
use flate2::write::GzEncoder;
use std::io::Write;

/// Bytes go in, packed ones come out, later.
pub enum Packer {
    /// What goes in.
    None,
    /// `.gz`
    Gzip(Box<GzEncoder<Vec<u8>>>),
    /// `.snappy`
    Snappy(snappy::Encoder<Vec<u8>>),
}

impl Packer {
    /// Nothing went in yet.
    pub fn new(compression: Compression) -> Packer {
        match compression {
            Compression::None => Packer::None,
            Compression::Gzip => {
                Packer::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::default())))
            }
            Compression::Snappy => {
                Packer::Snappy(snappy::Encoder::new(Vec::new()).expect("memory takes everything"))
            }
        }
    }

    /// What comes out when this goes in; nothing more follows the last one.
    pub fn pack(&mut self, plain: Vec<u8>, is_last: bool) -> Vec<u8> {
        const TAKES: &str = "memory takes everything";
        match self {
            Packer::None => plain,
            Packer::Gzip(encoder) => {
                encoder.write_all(&plain).expect(TAKES);
                if is_last {
                    encoder.try_finish().expect(TAKES);
                }
                std::mem::take(encoder.get_mut())
            }
            Packer::Snappy(encoder) => {
                encoder.write_all(&plain).expect(TAKES);
                if is_last {
                    encoder.write_block().expect(TAKES);
                }
                std::mem::take(encoder.sink_mut())
            }
        }
    }
}
