//! The share of time awake: the image judges itself, and ends with what it measured.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::board::Board;

pub(crate) fn check(board: &Board, image: &Path) -> Result<String> {
    // Virtual time, which a wait takes none of: an outage of 30 s is over at once.
    let said = board.run(image, &["-icount", "shift=6,sleep=off"])?;
    Ok(said.lines().last().context("nothing said")?.to_owned())
}
