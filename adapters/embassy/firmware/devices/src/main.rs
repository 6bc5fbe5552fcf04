//! Runs the images on emulated devices, checks on the host what they say, and prints one table.
//!
//! `devices IMAGES [TARGET..]`: the images are `IMAGES/TARGET/release/NAME`; without a target it is
//! every board. `devices --broken IMAGES TARGET..` takes images of a core that is broken on purpose,
//! and passes if each check fails.

mod board;
mod selftest;
mod trace;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use self::board::Board;

/// Runs an image on a board and checks what it says: figures for the table, or what is wrong.
type Check = fn(&Board, &Path) -> Result<String>;

/// What is run on every board.
const CHECKS: &[(&str, Check)] = &[("selftest", selftest::check), ("trace", trace::check)];

fn main() -> Result<ExitCode> {
    let mut arguments: Vec<_> = env::args().skip(1).collect();
    let broken = arguments.first().is_some_and(|first| first == "--broken");
    if broken {
        arguments.remove(0);
    }
    ensure!(!arguments.is_empty(), "which folder are the images in?");
    let images = arguments.remove(0);
    let mut passed = true;
    for board in board::all()? {
        if !arguments.is_empty() && !arguments.contains(&board.target) {
            continue;
        }
        for (image, check) in CHECKS {
            let path = Path::new(&images).join(&board.target).join("release").join(image);
            let (result, figures) = match (check(&board, &path), broken) {
                (Ok(figures), false) => ("ok", figures),
                (Ok(figures), true) => ("NOT FOUND", figures),
                (Err(error), false) => ("FAILED", format!("{error:#}")),
                (Err(error), true) => ("found", format!("{error:#}")),
            };
            passed &= matches!(result, "ok" | "found");
            println!("{:<12} {:<29} {image:<9} {result:<9} {figures}", board.machine, board.target);
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
