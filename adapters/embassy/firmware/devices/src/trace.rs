//! The trace of a device beside the host's own: block by block, and line by line where they differ.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use devices::board::Board;
use firmware::trace;

pub(crate) fn check(board: &Board, image: &Path) -> Result<String> {
    let mut here = Vec::new();
    let all = trace::blocks(|block, hash| here.push(format!("block {block} {hash:016x}")));
    here.push(format!("all {all:016x}"));
    let said = board.run(image, &[])?;
    let there: Vec<_> = said.lines().collect();
    if there == here {
        return Ok(format!("{} steps, all {all:016x}", trace::STEPS));
    }
    ensure!(there.len() == here.len(), "{} lines, and not {}", there.len(), here.len());
    let block = there.iter().zip(&here).position(|(there, here)| there != here).unwrap_or(0);
    first_difference(board, image, block)
}

fn first_difference(board: &Board, image: &Path, block: usize) -> Result<String> {
    let mut here = Vec::new();
    trace::lines(|step, line| {
        if (step / trace::BLOCK) as usize == block {
            here.push(format!("{step} {line}"));
        }
    });
    let said = board.run(image, &["-append", &block.to_string()])?;
    for (there, here) in said.lines().zip(&here) {
        if there != here {
            bail!("differs first at\n  there {there}\n  here  {here}");
        }
    }
    bail!("block {block} differs, and none of its lines")
}
