//! The body of every request.

use super::op;
use ringkeeper::wire::{ConnectRequest, ConnectResponse, Request};

pub fn run(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else { return };
    let _ = ConnectResponse::decode(body);
    if let Ok(request) = ConnectRequest::decode(body) {
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(ConnectRequest::decode(&again).expect("what was encoded decodes"), request);
    }
    if let Some(op) = op(kind) {
        let _ = Request::decode(op, body);
    }
}
