//! Everything that the driver, the member and the shards are told at the start. The rows of `config/keys.rs` fill it in, field
//! by field. What a field is by default stands here and in the settings of the member and the shards, nowhere else.

use super::ScribeChoice;
use super::layout::{self, Layout, Machine, Pin, Pinning};
use crate::io::process;
use crate::io::{Durability, IoChoice};
use crate::limits;
use crate::member::{MemberSettings, OnMismatch};
use crate::shard::ShardSettings;
use crate::tree::image::{Compression, ImageOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// What the driver needs to know.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerOptions {
    /// `clientPort`, `clientPortAddress`: where clients connect. `[::]` means every address of both families, only IPv4 on a
    /// machine without IPv6; port 0 lets the system choose one.
    pub client_address: SocketAddr,
    /// `clientPortListenBacklog`; not above 0: see [`ServerOptions::backlog`].
    pub listen_backlog: i32,
    /// `dataDir`: snapshots and `myid`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: the transaction log; `dataDir` unless set.
    pub log_dir: PathBuf,
    /// `preAllocSize` in bytes: see [`ServerOptions::segment_bytes`].
    pub pre_alloc_bytes: u64,
    /// `forceSync`: a write is answered once it is durable.
    pub force_sync: bool,
    /// `ringkeeper.durability`; None: what a probe at start finds best.
    pub durability: Option<Durability>,
    /// `ringkeeper.io`: which io backend.
    pub io: IoChoice,
    /// `ringkeeper.scribe`: how background work on files is done.
    pub scribe: ScribeChoice,
    /// `ringkeeper.shards`; None: chosen from the CPUs.
    pub shards: Option<u16>,
    /// `ringkeeper.pin`: which CPUs the cores are bound to.
    pub pin: Pin,
    /// `snapshot.trust.empty`: Apache's files are taken over even if transactions are missing before them.
    pub trust_empty_snapshot: bool,
    /// `ringkeeper.digest.mismatch`: what to do about data whose digests do not match.
    pub on_digest_mismatch: OnMismatch,
    /// How snapshots are written.
    pub image: ImageOptions,
    /// `extendedTypesEnabled` was set, to whichever value: unless it was, TTL nodes of a folder that is taken over are not
    /// deleted.
    pub extended_types_given: bool,
    /// `snapshot.compression.method`.
    pub compression: Compression,
    /// Settings of the member; the driver adds `shards`, `seed` and the texts.
    pub member: MemberSettings,
    /// Settings of every shard; the driver adds `shard`, `hash_seed`, the member's `common` and the text.
    pub shard: ShardSettings,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 2181)),
            listen_backlog: -1,
            data_dir: "./data".into(),
            log_dir: "./data".into(),
            pre_alloc_bytes: 64 << 20,
            force_sync: true,
            durability: None,
            io: IoChoice::Auto,
            scribe: ScribeChoice::Auto,
            shards: None,
            pin: Pin::Auto,
            trust_empty_snapshot: false,
            on_digest_mismatch: OnMismatch::Refuse,
            image: ImageOptions::default(),
            extended_types_given: false,
            compression: Compression::None,
            member: MemberSettings::default(),
            shard: ShardSettings::default(),
        }
    }
}

impl ServerOptions {
    /// Bytes of a log segment: a transaction as large as a request may be must fit into one.
    pub fn segment_bytes(&self) -> u64 {
        let least = 4 * self.shard.frame_bytes_max as u64;
        self.pre_alloc_bytes.max(least).next_multiple_of(limits::LOG_BLOCK as u64)
    }

    /// Connections the kernel may hold before they are accepted; fan-in after a restart is large.
    pub fn backlog(&self) -> i32 {
        if self.listen_backlog <= 0 { limits::LISTEN_BACKLOG as i32 } else { self.listen_backlog }
    }

    /// Which core does what, on the CPUs that are named or else all that this process may use.
    pub fn layout(&self) -> Layout {
        let cpus = match &self.pin {
            Pin::Cpus(cpus) => cpus.clone(),
            Pin::Auto | Pin::Off => process::allowed_cpus(),
        };
        let machine = Machine { cpus, quota: process::cpu_quota(), interrupts: process::interrupt_cpus() };
        layout::choose(self.shards, &machine, Pinning::of(&self.pin))
    }

    /// Bytes that clients can make the server hold beside the data, whatever they do, with the parts of the sum. As many
    /// connections are assumed as the settings or else the descriptors allow.
    pub fn memory_bound(&self) -> Vec<(&'static str, usize)> {
        let shards = self.layout().shards;
        let descriptors = process::raise_open_files() as usize;
        let limit = self.member.connections_max as usize;
        let connections = if limit == 0 { descriptors } else { limit.min(descriptors) };
        let shard = self.shard.clone().share_of(shards);
        let each = connections.div_ceil(usize::from(shards));
        let log = limits::LOG_WRITES_IN_FLIGHT_MAX * limits::LOG_FRAME_BYTES_MAX;
        vec![
            (
                "requests, replies, events, watches and connections",
                usize::from(shards) * shard.bytes_max(each),
            ),
            ("writes on their way to the disk", 2 * limits::OUTSTANDING_BYTES_MAX + log),
            ("writes that the background work has yet to follow", limits::SCRIBE_BYTES_MAX),
        ]
    }
}
