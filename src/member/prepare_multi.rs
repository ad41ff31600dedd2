//! multi: all operations under one zxid, each seeing the ones before it, or none at all.

use super::prepare::{Preparer, Told};
use crate::mesh::ReplyBody;
use crate::wire::codes::flags;
use crate::wire::request::MultiResult;
use crate::wire::{ErrorCode, Op, Request, Txn};

impl Preparer<'_> {
    /// The transaction of a whole multi and its response. A failed one is a transaction, too, that changes nothing:
    /// the operations before the failing one stay as they were prepared, it and those after it become errors, as in
    /// ZooKeeper's log. An error means that the request as such is malformed, or that the session moved.
    pub(super) fn multi<'a>(
        &mut self,
        requests: Vec<Request<'a>>,
    ) -> Result<(Txn<'a>, ReplyBody), ErrorCode> {
        let mark = self.undo.mark();
        let effects_before = self.effects.len();
        let mut txns = Vec::with_capacity(requests.len());
        let mut results = Vec::with_capacity(requests.len());
        let mut failed = false;
        for request in requests {
            if failed {
                txns.push(Txn::Error { err: ErrorCode::RuntimeInconsistency.code() });
                results.push(MultiResult::Error { code: ErrorCode::RuntimeInconsistency.code() });
                continue;
            }
            match self.perform(in_multi(request)) {
                Ok((txn, outcome)) => {
                    results.push(result(&txn, outcome));
                    txns.push(txn);
                }
                Err(error) => {
                    failed = true;
                    self.store.undo(self.undo, mark);
                    self.effects.truncate(effects_before);
                    if matches!(error, ErrorCode::SessionMoved | ErrorCode::MarshallingError) {
                        return Err(error);
                    }
                    results.fill(MultiResult::Error { code: 0 });
                    results.push(MultiResult::Error { code: error.code() });
                    txns.push(Txn::Error { err: error.code() });
                }
            }
        }
        let mut body = Vec::new();
        MultiResult::encode_all(&results, &mut body);
        Ok((Txn::Multi(txns), body.into()))
    }
}

/// A create inside a multi is what its flags say.
fn in_multi(mut request: Request<'_>) -> Request<'_> {
    let Request::Create(create) = &mut request else { return request };
    if create.flags == flags::CONTAINER {
        create.op = Op::CreateContainer;
    } else if create.op == Op::CreateTtl && !flags::have_ttl(create.flags) {
        create.op = Op::Create;
    }
    if create.op != Op::CreateTtl {
        create.ttl_ms = None;
    }
    request
}

fn result(txn: &Txn<'_>, outcome: Told) -> MultiResult {
    match (txn, outcome) {
        (Txn::Create { path, .. }, Told::PathAndStat(stat)) => {
            MultiResult::Create2 { path: path.to_string(), stat }
        }
        (Txn::Create { path, .. }, _) => MultiResult::Create { path: path.to_string() },
        (Txn::SetData { .. }, Told::Stat(stat)) => MultiResult::SetData { stat },
        (Txn::Delete { .. }, _) => MultiResult::Delete,
        (Txn::Check { .. }, _) => MultiResult::Check,
        _ => unreachable!("a multi holds creates, deletes, setData and checks"),
    }
}
