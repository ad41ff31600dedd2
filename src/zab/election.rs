//! Fast leader election (`FastLeaderElection`): each server tells all voters whom it is for, takes over what is better,
//! and decides once a quorum is for the same. Lives in the member; the driver of its links carries the frames.
//!
//! A decision is a proposal, not a proof: discovery finds out whether the elected one has a quorum and all that was
//! committed. So votes may be lost, repeated or late, and nothing here is durable.
//!
//! Differs from the original where that is safe: a decision waits only while a voter that could still change it is alive
//! or unknown, and what comes in while it waits is looked at as always, where the original drops it.
//!
//! Invariant: while it looks, its proposal is at least as good as its own vote, and all votes it counts are of its round.
//!
//! Deliberately absent: connections (`zab/links.rs`), what becomes of the elected (`zab/leading.rs`).

use super::quorum::{Oracle, QuorumVerifier, Quorums};
use crate::ids::{ServerId, Zxid};
use crate::limits::SERVERS_MAX;
use crate::wire::vote::{NOTIFICATION_VERSION, Notification, PeerEpoch, Round, ServerState};
use std::sync::Arc;

/// Whom a server is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The one that is to lead.
    pub leader: ServerId,
    /// The last transaction in its log.
    pub zxid: Zxid,
    /// The election that the vote is of.
    pub round: Round,
    /// The epoch of its data; once it leads, the epoch that it leads.
    pub epoch: PeerEpoch,
}

/// What `fastleader.*` and the configuration say.
#[derive(Clone, Debug)]
pub struct ElectionSettings {
    /// `myid`.
    pub me: ServerId,
    /// How long a quorum waits for a better vote: 200 in ZooKeeper.
    pub finalize_wait_ms: u64,
    /// `fastleader.minNotificationInterval`: the first pause before all are told again.
    pub notification_min_ms: u64,
    /// `fastleader.maxNotificationInterval`: pauses double up to this.
    pub notification_max_ms: u64,
    /// `reconfigEnabled`: a newer configuration that a peer names is adopted.
    pub is_reconfig_enabled: bool,
}

/// What an election wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElectionOutput {
    /// A notification behind its length.
    Send {
        /// Never this server.
        to: ServerId,
        /// One allocation for all that are told the same.
        frame: Arc<[u8]>,
    },
    /// This server knows whom to lead or follow.
    Decided {
        /// Never looking.
        state: ServerState,
        /// What it answers from now on.
        vote: Vote,
    },
    /// A peer has a newer configuration, it holds from now on.
    Adopted(Arc<QuorumVerifier>),
}

/// One server's part in elections.
#[derive(Debug)]
pub struct Election {
    settings: ElectionSettings,
    quorums: Quorums,
    /// The text of the committed configuration, as each notification carries it.
    config: String,
    state: ServerState,
    /// The logical clock.
    round: Round,
    /// What this server has: the last transaction in its log, the epoch of its data.
    last: (Zxid, PeerEpoch),
    /// Whom it is for. Invariant: its round is `round` while it looks.
    proposal: Vote,
    /// What it answers when it does not look: whom it follows; before the first decision itself.
    current: Vote,
    /// The votes of this round, its own among them, ascending by server, each once.
    votes: Vec<(ServerId, Heard)>,
    /// What those said that have a leader already, in whatever round.
    out_of_election: Vec<(ServerId, Heard)>,
    /// Voters that cannot change the vote: their connection was reset and their port refuses.
    gone: Vec<ServerId>,
    /// When all are told again.
    notify_at_ms: u64,
    /// The pause behind that.
    interval_ms: u64,
    /// When the proposal is decided, unless something better comes.
    finalize_at_ms: Option<u64>,
}

/// A vote and who said it how.
#[derive(Clone, Copy, Debug)]
struct Heard {
    vote: Vote,
    state: ServerState,
    version: i32,
}

impl Election {
    /// A server that begins to look. `last`: the last transaction in its log and the epoch of its data.
    pub fn new(
        settings: ElectionSettings,
        quorums: Quorums,
        now_ms: u64,
        last: (Zxid, PeerEpoch),
        out: &mut Vec<ElectionOutput>,
    ) -> Election {
        assert!(
            0 < settings.notification_min_ms && settings.notification_min_ms <= settings.notification_max_ms
        );
        let own = Vote { leader: settings.me, zxid: last.0, round: Round(-1), epoch: last.1 };
        let mut election = Election {
            config: quorums.committed().to_string(),
            settings,
            quorums,
            state: ServerState::Looking,
            round: Round(0),
            last,
            proposal: own,
            current: own,
            votes: Vec::new(),
            out_of_election: Vec::new(),
            gone: Vec::new(),
            notify_at_ms: now_ms,
            interval_ms: 0,
            finalize_at_ms: None,
        };
        election.begin(now_ms, out);
        election
    }

    /// What the server is doing, as far as elections know.
    pub fn state(&self) -> ServerState {
        self.state
    }

    /// Whom it follows or leads; before the first decision itself.
    pub fn vote(&self) -> Vote {
        self.current
    }

    /// The number of the election.
    pub fn round(&self) -> Round {
        self.round
    }

    /// What counts as a quorum.
    pub fn quorums(&self) -> &Quorums {
        &self.quorums
    }

    /// The server has no leader any more, and this to offer.
    pub fn look(&mut self, now_ms: u64, last: (Zxid, PeerEpoch), out: &mut Vec<ElectionOutput>) {
        assert_ne!(self.state, ServerState::Looking, "it looks already");
        self.state = ServerState::Looking;
        self.last = last;
        self.begin(now_ms, out);
    }

    /// When to call [`Election::on_timeout`].
    pub fn next_timeout(&self) -> Option<u64> {
        let is_looking = self.state == ServerState::Looking;
        is_looking.then(|| self.finalize_at_ms.unwrap_or(u64::MAX).min(self.notify_at_ms))
    }

    /// Decides, or tells all again.
    pub fn on_timeout(&mut self, now_ms: u64, out: &mut Vec<ElectionOutput>) {
        if self.state != ServerState::Looking {
            return;
        }
        if self.finalize_at_ms.is_some_and(|at| at <= now_ms) {
            return self.decide(self.proposal, out);
        }
        if self.notify_at_ms <= now_ms {
            self.interval_ms = (self.interval_ms * 2).min(self.settings.notification_max_ms);
            self.tell_all(now_ms, out);
            // The oracle may have said something else since.
            self.settle(now_ms, out);
        }
        self.check();
    }

    /// A peer said this.
    pub fn on_notification(
        &mut self,
        now_ms: u64,
        from: ServerId,
        said: &Notification<'_>,
        out: &mut Vec<ElectionOutput>,
    ) {
        if from == self.settings.me {
            return;
        }
        self.gone.retain(|gone| *gone != from);
        if let Some(newer) = self.newer(said.config) {
            let newer = Arc::new(newer);
            out.push(ElectionOutput::Adopted(newer.clone()));
            if self.commit(newer) {
                return self.begin(now_ms, out);
            }
        }
        let vote = Vote { leader: said.leader, zxid: said.zxid, round: said.round, epoch: said.peer_epoch };
        if !self.quorums.is_voter(from) {
            return self.reply(from, Vote { round: self.round, ..self.current }, out);
        }
        let Some(state) = said.state else { return };
        let heard = Heard { vote, state, version: said.version };
        match (self.state, state) {
            (ServerState::Looking, _) => {
                if state == ServerState::Looking && vote.round < self.round {
                    self.reply(from, self.proposal, out);
                }
                self.consider(now_ms, from, heard, out);
            }
            (_, ServerState::Looking) => self.reply(from, self.current, out),
            _ => {}
        }
        self.check();
    }

    /// The connection to this server was reset and its port refuses: until it says something it changes no vote.
    pub fn on_gone(&mut self, now_ms: u64, server: ServerId, out: &mut Vec<ElectionOutput>) {
        if self.quorums.is_voter(server) && !self.gone.contains(&server) {
            self.gone.push(server);
        }
        if self.state == ServerState::Looking {
            self.settle(now_ms, out);
        }
        self.check();
    }

    /// The epoch that the decision led to: from now on all its members name the same (`updateElectionVote`).
    pub fn on_epoch(&mut self, epoch: PeerEpoch) {
        assert_ne!(self.state, ServerState::Looking, "no leader, no epoch");
        self.current.epoch = epoch;
    }

    /// What the oracle says now.
    pub fn on_oracle(&mut self, oracle: Option<Oracle>) {
        self.quorums.set_oracle(oracle);
    }

    /// A configuration was proposed elsewhere in this server: its voters are asked, too.
    pub fn on_proposed(&mut self, proposed: Arc<QuorumVerifier>) {
        self.quorums.on_proposed(proposed);
    }

    /// A configuration was committed elsewhere in this server. Elections of another one begin at round 0.
    pub fn on_committed(
        &mut self,
        now_ms: u64,
        committed: Arc<QuorumVerifier>,
        out: &mut Vec<ElectionOutput>,
    ) {
        if self.commit(committed) && self.state == ServerState::Looking {
            self.begin(now_ms, out);
        }
        self.check();
    }

    /// Says whether it differs from the one that held in more than its version.
    fn commit(&mut self, committed: Arc<QuorumVerifier>) -> bool {
        let before = self.quorums.committed().clone();
        self.quorums.on_committed(committed);
        let now = self.quorums.committed();
        if now.version() == before.version() {
            return false;
        }
        self.config = now.to_string();
        let is_other = !now.is_same_as(&before);
        if is_other {
            self.round = Round(0);
        }
        is_other
    }

    /// Begins an election of a new round.
    fn begin(&mut self, now_ms: u64, out: &mut Vec<ElectionOutput>) {
        self.round.0 += 1;
        self.votes.clear();
        self.out_of_election.clear();
        self.interval_ms = self.settings.notification_min_ms;
        self.propose(now_ms, self.own(), out);
        self.settle(now_ms, out);
        self.check();
    }

    /// This server's vote for itself. One that is no voter says the least number, an observer also of what it has.
    fn own(&self) -> Vote {
        let committed = self.quorums.committed();
        let line = committed.member(self.settings.me);
        let leader = if line.is_some_and(|line| line.votes) { self.settings.me } else { ServerId(i64::MIN) };
        let (zxid, epoch) = match line {
            Some(line) if !line.votes => (Zxid(i64::MIN), PeerEpoch(i64::MIN)),
            _ => self.last,
        };
        Vote { leader, zxid, round: self.round, epoch }
    }

    fn propose(&mut self, now_ms: u64, vote: Vote, out: &mut Vec<ElectionOutput>) {
        self.proposal = Vote { round: self.round, ..vote };
        self.finalize_at_ms = None;
        let me = self.settings.me;
        if self.quorums.is_voter(me) {
            let own = Heard { vote: self.proposal, state: ServerState::Looking, version: 0 };
            put(&mut self.votes, me, own);
        }
        self.tell_all(now_ms, out);
    }

    fn tell_all(&mut self, now_ms: u64, out: &mut Vec<ElectionOutput>) {
        self.notify_at_ms = now_ms + self.interval_ms;
        let frame = self.frame(self.proposal);
        let others = self.quorums.voters().filter(|voter| *voter != self.settings.me);
        out.extend(others.map(|to| ElectionOutput::Send { to, frame: frame.clone() }));
    }

    fn reply(&self, to: ServerId, vote: Vote, out: &mut Vec<ElectionOutput>) {
        out.push(ElectionOutput::Send { to, frame: self.frame(vote) });
    }

    fn frame(&self, vote: Vote) -> Arc<[u8]> {
        let mut frame = Vec::with_capacity(48 + self.config.len());
        Notification {
            state: Some(self.state),
            leader: vote.leader,
            zxid: vote.zxid,
            round: vote.round,
            peer_epoch: vote.epoch,
            version: NOTIFICATION_VERSION,
            config: Some(self.config.as_bytes()),
        }
        .encode_frame(&mut frame);
        frame.into()
    }

    /// A vote, whoever it is for: only servers of the ensemble are elected.
    fn consider(&mut self, now_ms: u64, from: ServerId, heard: Heard, out: &mut Vec<ElectionOutput>) {
        if !self.quorums.is_voter(heard.vote.leader) {
            return;
        }
        match heard.state {
            ServerState::Looking => self.on_looking(now_ms, from, heard.vote, out),
            ServerState::Following | ServerState::Leading => self.on_elected(from, heard, out),
            ServerState::Observing => {}
        }
    }

    fn on_looking(&mut self, now_ms: u64, from: ServerId, vote: Vote, out: &mut Vec<ElectionOutput>) {
        let own = self.own();
        if own.zxid == NO_ZXID || vote.zxid == NO_ZXID || vote.round < self.round {
            return;
        }
        if vote.round > self.round {
            self.round = vote.round;
            self.votes.clear();
            let better = if self.is_better(vote, own) { vote } else { own };
            self.propose(now_ms, better, out);
        } else if self.is_better(vote, self.proposal) {
            self.propose(now_ms, vote, out);
        }
        put(&mut self.votes, from, Heard { vote, state: ServerState::Looking, version: 0 });
        self.settle(now_ms, out);
    }

    /// Someone has a leader: joined if a quorum is with it and it says itself that it leads.
    fn on_elected(&mut self, from: ServerId, heard: Heard, out: &mut Vec<ElectionOutput>) {
        let vote = heard.vote;
        if vote.round == self.round {
            put(&mut self.votes, from, Heard { version: 0, ..heard });
            if self.are_for(&self.votes, heard) && self.leads(&self.votes, vote) {
                return self.decide(vote, out);
            }
        }
        put(&mut self.out_of_election, from, heard);
        if self.are_for(&self.out_of_election, heard) && self.leads(&self.out_of_election, vote) {
            return self.decide(vote, out);
        }
        let oracle = self.quorums.oracle().filter(|_| heard.state == ServerState::Leading);
        if oracle.is_some_and(|oracle| oracle.is_needed && !oracle.grants) {
            // Of two servers the other one has the oracle's word, so it leads.
            self.decide(vote, out);
        }
    }

    /// Whether a quorum of these votes equals `heard`.
    fn are_for(&self, votes: &[(ServerId, Heard)], heard: Heard) -> bool {
        self.quorums.is_quorum(|id| of(votes, id).is_some_and(|said| said.equals(&heard)))
    }

    /// Whether the one that is voted for says so, too; of this server itself, whether it is asked in this round.
    fn leads(&self, votes: &[(ServerId, Heard)], vote: Vote) -> bool {
        if vote.leader == self.settings.me {
            return vote.round == self.round;
        }
        of(votes, vote.leader).is_some_and(|said| said.state == ServerState::Leading)
    }

    fn is_better(&self, new: Vote, than: Vote) -> bool {
        self.quorums.committed().weight(new.leader) > 0 && rank(new) > rank(than)
    }

    /// Decides if a quorum is for the proposal and nobody can change that; otherwise waits for who can.
    fn settle(&mut self, now_ms: u64, out: &mut Vec<ElectionOutput>) {
        let proposal = Heard { vote: self.proposal, state: ServerState::Looking, version: 0 };
        if !self.are_for(&self.votes, proposal) {
            self.finalize_at_ms = None;
        } else if self.is_settled() {
            self.decide(self.proposal, out);
        } else {
            self.finalize_at_ms.get_or_insert(now_ms + self.settings.finalize_wait_ms);
        }
    }

    /// Whether every voter is for the proposal, in this round, or gone.
    fn is_settled(&self) -> bool {
        let is_for = |said: &Heard| (said.vote.leader, said.vote.round) == (self.proposal.leader, self.round);
        self.quorums.voters().all(|id| of(&self.votes, id).is_some_and(is_for) || self.gone.contains(&id))
    }

    fn decide(&mut self, vote: Vote, out: &mut Vec<ElectionOutput>) {
        assert_eq!(self.state, ServerState::Looking);
        let committed = self.quorums.committed();
        let observes = committed.member(self.settings.me).is_some_and(|line| !line.votes);
        self.state = match (vote.leader == self.settings.me, observes) {
            (true, _) => ServerState::Leading,
            (false, true) => ServerState::Observing,
            (false, false) => ServerState::Following,
        };
        self.round = vote.round;
        self.current = vote;
        self.votes.clear();
        self.out_of_election.clear();
        self.finalize_at_ms = None;
        out.push(ElectionOutput::Decided { state: self.state, vote });
        self.check();
    }

    /// The configuration that a peer named, if this server looks and its own is older. One that cannot be read is
    /// ignored.
    fn newer(&self, text: Option<&[u8]>) -> Option<QuorumVerifier> {
        let is_open = self.settings.is_reconfig_enabled && self.state == ServerState::Looking;
        let text = text.filter(|text| is_open && *text != self.config.as_bytes())?;
        let newer = QuorumVerifier::parse(std::str::from_utf8(text).ok()?).ok()?;
        (newer.version() > self.quorums.committed().version()).then_some(newer)
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        let is_ascending = |votes: &[(ServerId, Heard)]| votes.is_sorted_by(|a, b| a.0 < b.0);
        assert!(is_ascending(&self.votes) && is_ascending(&self.out_of_election));
        assert!(self.votes.len().max(self.out_of_election.len()).max(self.gone.len()) <= 2 * SERVERS_MAX);
        assert!(!self.gone.contains(&self.settings.me));
        if self.state == ServerState::Looking {
            assert_eq!(self.proposal.round, self.round);
            assert!(self.votes.iter().all(|(_, heard)| heard.vote.round == self.round));
            assert!(rank(self.proposal) >= rank(self.own()), "nobody is for less than itself");
            assert!(self.notify_at_ms < u64::MAX && self.interval_ms <= self.settings.notification_max_ms);
        } else {
            assert!(
                self.votes.is_empty() && self.out_of_election.is_empty() && self.finalize_at_ms.is_none()
            );
            assert_eq!(self.current.leader == self.settings.me, self.state == ServerState::Leading);
        }
    }
}

impl Heard {
    /// Of two that have a leader only that and its epoch count, since round and zxid may be told differently; the epoch
    /// not if one of them is from before 3.4.6 (`Vote.equals`).
    fn equals(&self, other: &Heard) -> bool {
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            return self.vote == other.vote;
        }
        let is_one_old = (self.version > 0) != (other.version > 0);
        self.vote.leader == other.vote.leader && (is_one_old || self.vote.epoch == other.vote.epoch)
    }
}

/// What makes a vote better: the newer epoch, the longer log, the higher number.
fn rank(vote: Vote) -> (PeerEpoch, Zxid, ServerId) {
    (vote.epoch, vote.zxid, vote.leader)
}

fn put(votes: &mut Vec<(ServerId, Heard)>, from: ServerId, heard: Heard) {
    match votes.binary_search_by_key(&from, |(id, _)| *id) {
        Ok(at) => votes[at].1 = heard,
        Err(at) => votes.insert(at, (from, heard)),
    }
}

fn of(votes: &[(ServerId, Heard)], id: ServerId) -> Option<&Heard> {
    votes.binary_search_by_key(&id, |(known, _)| *known).ok().map(|at| &votes[at].1)
}

/// Of a server that does not know what it has.
const NO_ZXID: Zxid = Zxid(-1);

#[cfg(test)]
mod tests;
