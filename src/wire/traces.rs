//! What Apache ZooKeeper's servers said to each other, as recorded (`tests/vectors/trace-*.json`).

use super::vectors::unhex;
use serde_json::Value;

/// One connection between two servers.
pub(crate) struct Connection {
    /// Of which recording.
    pub(crate) trace: &'static str,
    value: Value,
}

/// One message on it.
pub(crate) struct Message<'a> {
    /// "connector" or "acceptor": who said it.
    pub(crate) from: &'a str,
    pub(crate) bytes: Vec<u8>,
}

/// Every connection of every recording.
pub(crate) fn all() -> impl Iterator<Item = Connection> {
    let traces = [
        ("join", include_str!("../../tests/vectors/trace-join.json")),
        ("reconfig", include_str!("../../tests/vectors/trace-reconfig.json")),
        ("trunc", include_str!("../../tests/vectors/trace-trunc.json")),
    ];
    traces.into_iter().flat_map(|(trace, text)| {
        let connections: Vec<Value> = serde_json::from_str(text).unwrap();
        connections.into_iter().map(move |value| Connection { trace, value })
    })
}

impl Connection {
    /// Of election ports, not of quorum ports.
    pub(crate) fn is_election(&self) -> bool {
        self.value["kind"] == "election"
    }

    /// Whether the recording has its beginning.
    pub(crate) fn is_from_the_start(&self) -> bool {
        let first = &self.value["messages"][0]["type"];
        first == "(initial message)" || first == "FOLLOWERINFO" || first == "OBSERVERINFO"
    }

    /// In order of time; the end of a direction has no bytes.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.value["messages"].as_array().unwrap().iter().map(|message| Message {
            from: message["dir"].as_str().unwrap(),
            bytes: unhex(message["hex"].as_str().unwrap_or_default()),
        })
    }

    /// The same, each with the second at which it was seen.
    pub(crate) fn timed_messages(&self) -> impl Iterator<Item = (f64, Message<'_>)> {
        let times =
            self.value["messages"].as_array().unwrap().iter().map(|message| message["t"].as_f64().unwrap());
        times.zip(self.messages())
    }

    /// All that one end said.
    pub(crate) fn bytes(&self, from: &str) -> Vec<u8> {
        self.messages().filter(|message| message.from == from).flat_map(|message| message.bytes).collect()
    }
}
