//! The only code that speaks to the kernel: namespaces, netlink, nftables, sysctl, frames, files beneath
//! a directory.
//!
//! Architecture invariant: rtnetlink, netlink-packet-*, nix and socket2 appear nowhere else, and nothing here
//! knows a stage, a setting or a policy. What leaves this room are the SDK's values.

pub mod address;
pub mod directory;
pub mod link;
pub mod lookup;
pub mod namespace;
pub mod neighbour;
pub mod netlink;
pub mod nftables;
pub mod packet;
pub mod processor_time;
pub mod route;
pub mod rule;
pub mod sysctl;
pub mod ticks;

/// Runs a test in a network namespace of its own; needs root or `unshare -Urn`.
#[cfg(test)]
fn isolated(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
        assert_eq!(unshared, Ok(()), "kernel tests need root, or `unshare -Urn`");
        work();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
