//! The stream framing of snappy-java (not the standard one): a magic, two versions, then chunks of a big-endian length
//! and a raw snappy block of 32 KiB of input.

use std::io::{self, Read, Write};

/// What a file begins with.
pub const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const BLOCK_BYTES: usize = 32 << 10;
/// A block never expands to more than this; a longer one is damage.
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// Reads the framing.
pub struct Decoder<R> {
    source: R,
    is_started: bool,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> Decoder<R> {
    /// Nothing is read before the first `read`.
    pub fn new(source: R) -> Decoder<R> {
        Decoder { source, is_started: false, block: Vec::new(), at: 0 }
    }

    fn next_block(&mut self) -> io::Result<bool> {
        if !self.is_started {
            let mut header = [0; 16];
            self.source.read_exact(&mut header)?;
            if header[..8] != MAGIC {
                return Err(invalid("the file has no snappy header"));
            }
            self.is_started = true;
        }
        let mut length = [0; 4];
        let mut have = 0;
        while have < 4 {
            match self.source.read(&mut length[have..])? {
                0 if have == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => have += more,
            }
        }
        let length = u32::from_be_bytes(length) as usize;
        let mut compressed = Vec::new();
        let read = (&mut self.source).take(length as u64).read_to_end(&mut compressed)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let plain = snap::raw::decompress_len(&compressed).map_err(|error| invalid(&error.to_string()))?;
        if plain > BLOCK_BYTES_MAX {
            return Err(invalid("a snappy block claims an unreasonable length"));
        }
        let block = snap::raw::Decoder::new().decompress_vec(&compressed);
        self.block = block.map_err(|error| invalid(&error.to_string()))?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = into.len().min(self.block.len() - self.at);
        into[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Writes the framing; the last block is written by `write_block`.
pub struct Encoder<W: Write> {
    sink: W,
    block: Vec<u8>,
}

impl<W: Write> Encoder<W> {
    /// Writes the header.
    pub fn new(mut sink: W) -> io::Result<Encoder<W>> {
        sink.write_all(&MAGIC)?;
        sink.write_all(&1u32.to_be_bytes())?;
        sink.write_all(&1u32.to_be_bytes())?;
        Ok(Encoder { sink, block: Vec::with_capacity(BLOCK_BYTES) })
    }

    /// What was written to.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Writes what is left of a block; the last one is shorter than the others.
    pub fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let compressed = snap::raw::Encoder::new()
            .compress_vec(&self.block)
            .map_err(|error| invalid(&error.to_string()))?;
        self.sink.write_all(&(compressed.len() as u32).to_be_bytes())?;
        self.sink.write_all(&compressed)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip_and_damage_is_an_error() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let mut encoder = Encoder::new(Vec::new()).expect("header");
        encoder.write_all(&plain).expect("written");
        encoder.write_block().expect("finished");
        let bytes = std::mem::take(encoder.sink_mut());
        let mut back = Vec::new();
        Decoder::new(&bytes[..]).read_to_end(&mut back).expect("sound");
        assert!(back == plain);
        assert!(Decoder::new(&bytes[..bytes.len() - 1]).read_to_end(&mut Vec::new()).is_err());
        assert!(Decoder::new(&bytes[1..]).read_to_end(&mut Vec::new()).is_err());
    }
}
