#![doc = include_str!("../README.md")]
#![no_std]
#![deny(clippy::float_arithmetic)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod delay;
#[cfg(feature = "embassy-time")]
mod embassy;
mod pump;
mod random;

pub use crate::delay::DelayClock;
#[cfg(feature = "embassy-time")]
pub use crate::embassy::EmbassyClock;
pub use crate::pump::{More, Pump, Told};
pub use crate::random::Random;
