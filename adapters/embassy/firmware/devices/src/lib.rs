//! What the programs here share: the boards, and how an image on one is run and ended.

pub mod board;
pub mod running;
