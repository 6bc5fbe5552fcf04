//! The machines under an interrupt: the image judges itself, and ends with what it saw.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::board::Board;

pub(crate) fn check(board: &Board, image: &Path) -> Result<String> {
    // Instructions are counted, so that a run repeats itself and an interrupt may come between any
    // two of them, not only between blocks.
    let said = board.run(image, &["-icount", "shift=6"])?;
    Ok(said.lines().last().context("nothing said")?.to_owned())
}
