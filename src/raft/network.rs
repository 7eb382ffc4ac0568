//! The network of a standalone server: there is nobody to talk to.
//!
//! openraft asks for peers only where there are other members, so nothing here is ever called
//! unless the log names a member that this server was not configured with; then it is told that
//! the member cannot be reached.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::applier::Flushed;
use super::types::{Member, TypeConfig, Vote};

/// Makes [`NoPeer`]s.
pub(super) struct NoNetwork;

/// A member that cannot be reached.
pub(super) struct NoPeer(u64);

impl NoPeer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let problem = format!("this server is standalone and has no member {}", self.0);
        Unreachable::new(&std::io::Error::other(problem))
    }
}

impl RaftNetworkFactory<TypeConfig> for NoNetwork {
    type Network = NoPeer;

    async fn new_client(&mut self, target: u64, _: &Member) -> NoPeer {
        NoPeer(target)
    }
}

impl RaftNetworkV2<TypeConfig> for NoPeer {
    type SnapshotData = Flushed;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: openraft::type_config::alias::SnapshotOf<TypeConfig, Flushed>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
