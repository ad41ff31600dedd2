//! What is handed to a socket: bytes of one connection, or bytes that many connections get and none owns.

use std::ops::Deref;
use std::sync::Arc;

/// The bytes of one send. They stay where they are while the buffer moves.
#[derive(Clone, Debug)]
pub enum SendBuffer {
    /// One connection's own.
    Own(Vec<u8>),
    /// An event that all its receivers refer to.
    Shared(Arc<[u8]>),
}

impl SendBuffer {
    /// Memory for the next send, empty.
    pub fn into_spare(self) -> Vec<u8> {
        match self {
            SendBuffer::Own(mut bytes) => {
                bytes.clear();
                bytes
            }
            SendBuffer::Shared(_) => Vec::new(),
        }
    }
}

impl Deref for SendBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            SendBuffer::Own(bytes) => bytes,
            SendBuffer::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for SendBuffer {
    fn from(bytes: Vec<u8>) -> SendBuffer {
        SendBuffer::Own(bytes)
    }
}
