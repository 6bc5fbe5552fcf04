//! The machines under an interrupt: the image judges itself, and ends with what it saw.

use std::path::Path;

use anyhow::{Context as _, Result};
use devices::board::Board;

pub(crate) fn check(board: &Board, image: &Path) -> Result<String> {
    let said = board.run(image, &[])?;
    Ok(said.lines().last().context("nothing said")?.to_owned())
}
