//! The only code that speaks to the kernel: namespaces, netlink, nftables, sysctl, files beneath a
//! directory.
//!
//! Architecture invariant: rtnetlink, netlink-packet-* and nix appear nowhere else, and nothing here
//! knows a stage, a setting or a policy. What leaves this room are the SDK's values.

pub mod address;
pub mod link;
pub mod namespace;
pub mod neighbour;
pub mod netlink;
pub mod route;
pub mod rule;
