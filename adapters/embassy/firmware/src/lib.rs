//! What the images share: the boards, and what is compared with the host.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
pub mod board;
pub mod costs;
#[cfg(all(target_arch = "arm", target_os = "none", feature = "embassy"))]
pub mod executor;
pub mod heads;
#[cfg(target_os = "none")]
pub mod protected;
pub mod trace;
