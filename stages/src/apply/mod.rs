//! The last phase: makes a list of edits so, in their order, and says exactly what became of them.
//!
//! Edits that one socket takes go out together, and each refusal is matched to its edit; a new batch begins
//! where the side or the means changes. The kernel does not stop at the first request it refuses, so
//! whoever undoes must take everything of this call for possibly done. Nothing here decides: what is
//! undone, and whether it is tried again, is the caller's business.

mod batch;
mod veth;

use std::collections::BTreeSet;

use coordinator_sdk::{Edit, Key, Side};

use crate::{
    kernel::{
        namespace::Inside,
        netlink::{KernelError, NetlinkError},
        nftables::{NftError, Nftables},
        sysctl::{self, SysctlError},
    },
    raw_routes::RawRoutes,
    sockets::{PodSockets, SideSocket},
};

/// What stands behind a failed edit.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The kernel refused the request.
    #[error("{0}")]
    Kernel(KernelError),
    /// Netlink failed as a whole.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// nftables refused.
    #[error(transparent)]
    Nftables(#[from] NftError),
    /// A parameter could not be written.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// A link that the edit names is not there.
    #[error("there is no link {0}")]
    NoLink(String),
    /// The link of that name is not the one that was recorded.
    #[error("the link of that name is not ours: its ifalias is {0:?}")]
    NotOurs(Option<String>),
    /// The Pod's namespace is gone.
    #[error("the pod's namespace is gone")]
    NoPod,
    /// A test asked for this failure.
    #[error("refused as a test asked for")]
    Injected,
}

/// An edit that could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {edit}: {cause}")]
pub struct Failure {
    /// The edit.
    pub edit: Box<Edit>,
    /// Why.
    pub cause: Cause,
}

impl Failure {
    /// True when the kernel's state is not what was observed any more: observing again may help.
    pub fn is_stale(&self) -> bool {
        let Cause::Kernel(error) = &self.cause else { return false };
        match *self.edit {
            Edit::AddRoute(_) | Edit::AddAddress(_) | Edit::CreateVeth { .. } => error.is_present(),
            Edit::MoveRoute { .. } => error.is_present() || error.is_absent(),
            Edit::RemoveRoute(_) | Edit::RemoveRule(_) | Edit::RemoveAddress(_) | Edit::RemoveNeighbour(_) => {
                error.is_absent()
            }
            _ => false,
        }
    }
}

/// The Pod's side, when its namespace can be entered.
#[derive(Debug)]
pub struct PodSide<'a> {
    /// The namespace, for parameters: the calling thread is in it.
    pub inside: &'a Inside<'a>,
    /// Its sockets.
    pub sockets: &'a mut PodSockets,
}

/// Where edits are done.
#[derive(Debug)]
pub struct Target<'a> {
    /// The Pod.
    pub pod: Option<PodSide<'a>>,
    /// The node.
    pub node: &'a mut SideSocket,
    /// The Pod's routes as the kernel showed them.
    pub raw_routes: &'a RawRoutes,
}

/// What a refused edit means for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The first refusal ends the work, and an object that should not be there is a refusal.
    Strict,
    /// Everything is tried; what is gone already, or there already, counts as done.
    Lenient,
}

/// A refusal that a test asks for, to see that everything is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The edit, counted from 0, that is to fail. Those before it are done.
    pub at: usize,
}

/// What became of the edits.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Objects that were there already: they are not ours to undo.
    pub satisfied: BTreeSet<Key>,
    /// What failed.
    pub failures: Vec<Failure>,
}

/// Does the edits in order.
pub fn apply(edits: &[Edit], target: &mut Target<'_>, manner: Manner, fault: Option<Fault>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = edits;
    let mut position = 0_usize;
    while let Some(first) = rest.first() {
        let means = Means::of(first);
        let length = match means {
            Means::Veth | Means::DeleteLink => 1,
            _ => rest.iter().take_while(|edit| Means::of(edit) == means).count(),
        };
        let (batch, after) = rest.split_at(length);
        let fault = fault.and_then(|fault| fault.at.checked_sub(position)).filter(|at| *at < length);
        let results = match (means, &mut target.pod) {
            (Means::PodNetlink, Some(pod)) => batch::send(batch, &mut pod.sockets.route, target.raw_routes, fault),
            (Means::NodeNetlink, _) => batch::send(batch, target.node, target.raw_routes, fault),
            (Means::Sysctl, Some(pod)) => write_sysctls(batch, pod.inside, fault),
            (Means::Nftables, Some(pod)) => write_marks(batch, &mut pod.sockets.nftables, fault),
            (Means::Veth, Some(pod)) => vec![veth::create(first, pod, target.node, fault)],
            (Means::DeleteLink, pod) if first.side() == Side::Node || pod.is_some() => {
                vec![veth::delete(first, pod.as_mut(), target.node, fault)]
            }
            _ => batch.iter().map(|_| Err(Cause::NoPod)).collect(),
        };
        for (edit, result) in batch.iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(cause) if is_satisfied(edit, &cause, manner) => {
                    outcome.satisfied.insert(edit.key());
                }
                Err(cause) => outcome.failures.push(Failure { edit: Box::new(edit.clone()), cause }),
            }
        }
        if manner == Manner::Strict && !outcome.failures.is_empty() {
            return outcome;
        }
        position += length;
        rest = after;
    }
    edits.iter().for_each(|edit| veth::settle(edit, target.node));
    outcome
}

/// By what an edit reaches the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    PodNetlink,
    NodeNetlink,
    Sysctl,
    Nftables,
    Veth,
    DeleteLink,
}

impl Means {
    fn of(edit: &Edit) -> Self {
        match (edit, edit.side()) {
            (Edit::CreateVeth { .. }, _) => Self::Veth,
            (Edit::DeleteLink { .. }, _) => Self::DeleteLink,
            (Edit::SetSysctl { .. }, _) => Self::Sysctl,
            (Edit::MarkReplies(_) | Edit::UnmarkReplies(_), _) => Self::Nftables,
            (_, Side::Pod) => Self::PodNetlink,
            (_, Side::Node) => Self::NodeNetlink,
        }
    }
}

fn is_satisfied(edit: &Edit, cause: &Cause, manner: Manner) -> bool {
    let is_removal = matches!(
        edit,
        Edit::RemoveRule(_)
            | Edit::RemoveRoute(_)
            | Edit::RemoveNeighbour(_)
            | Edit::RemoveAddress(_)
            | Edit::DeleteLink { .. }
            | Edit::UnmarkReplies(_)
            // Laid where it belongs; where it was before it is gone already.
            | Edit::MoveRoute { .. }
    );
    match (manner, cause) {
        // The node's rule is shared: another Pod's ADD, or somebody else's foresight, made it.
        (_, Cause::Kernel(error)) if error.is_present() && matches!(edit, Edit::AddRule(_)) => true,
        (Manner::Lenient, Cause::Kernel(error)) => error.is_present() || is_removal && error.is_absent(),
        // A link that is gone took along what hung on it; a Pod that is gone, everything.
        (Manner::Lenient, Cause::NoLink(_) | Cause::NoPod) => true,
        (Manner::Lenient, Cause::Sysctl(error)) => error.is_absent(),
        _ => false,
    }
}

fn write_sysctls(edits: &[Edit], pod: &Inside<'_>, fault: Option<usize>) -> Vec<Result<(), Cause>> {
    let each = edits.iter().enumerate().map(|(at, edit)| match edit {
        _ if fault == Some(at) => Err(Cause::Injected),
        Edit::SetSysctl { sysctl, .. } => sysctl::write(pod, &sysctl.key, &sysctl.value).map_err(Cause::from),
        _ => Ok(()),
    });
    each.collect()
}

fn write_marks(edits: &[Edit], nftables: &mut Nftables, fault: Option<usize>) -> Vec<Result<(), Cause>> {
    let each = edits.iter().enumerate().map(|(at, edit)| match edit {
        _ if fault == Some(at) => Err(Cause::Injected),
        Edit::MarkReplies(mark) => nftables.mark_replies(&mark.device.name, mark.bit).map_err(Cause::from),
        Edit::UnmarkReplies(mark) => nftables.unmark_replies(&mark.device.name).map_err(Cause::from),
        _ => Ok(()),
    });
    each.collect()
}
