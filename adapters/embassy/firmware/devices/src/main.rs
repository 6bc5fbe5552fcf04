//! Runs the images on emulated devices, checks on the host what they say, and prints one table.
//!
//! `devices IMAGES [TARGET..]`: the images are `IMAGES/TARGET/release/NAME`; without a target it is
//! every board. With `--chat PROGRAM` (the example `chat` of `steadfast-std`) the edge client calls
//! it. `devices --broken IMAGES TARGET..` takes images of a core that is broken on purpose, and passes
//! if each check fails.

mod board;
mod edge;
mod script;
mod selftest;
mod sleep;
mod trace;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use self::board::Board;

/// Runs an image on a board and checks what it says: figures for the table, or what is wrong.
type Check = fn(&Board, &Path) -> Result<String>;

/// What is run, and on which boards, if not on all.
const CHECKS: &[(&str, Check, &[&str])] = &[
    ("selftest", selftest::check, &[]),
    ("trace", trace::check, &[]),
    ("sleep", sleep::check, &["thumbv6m-none-eabi", "thumbv7m-none-eabi"]),
];

fn main() -> Result<ExitCode> {
    let mut arguments: Vec<_> = env::args().skip(1).collect();
    let broken = arguments.first().is_some_and(|first| first == "--broken");
    if broken {
        arguments.remove(0);
    }
    let chat = match arguments.iter().position(|argument| argument == "--chat") {
        Some(at) => {
            ensure!(at + 1 < arguments.len(), "--chat is followed by no program");
            arguments.drain(at..at + 2).nth(1)
        }
        None => None,
    };
    ensure!(!arguments.is_empty(), "which folder are the images in?");
    let images = arguments.remove(0);
    let boards = board::all()?;
    let known = |target: &String| boards.iter().any(|board| board.target == *target);
    ensure!(arguments.iter().all(known), "no board has one of these targets: {arguments:?}");

    let (mut passed, mut rows) = (true, Vec::new());
    let mut enter = |board: &Board, image: &str, checked: Result<String>| {
        let (result, figures) = match (checked, broken) {
            (Ok(figures), false) => ("ok", figures),
            (Ok(figures), true) => ("NOT FOUND", figures),
            (Err(error), false) => ("FAILED", format!("{error:#}")),
            (Err(error), true) => ("found", format!("{error:#}")),
        };
        passed &= matches!(result, "ok" | "found");
        rows.push(format!(
            "{:<12} {:<29} {image:<9} {result:<9} {figures}",
            board.machine, board.target
        ));
    };
    let image = |board: &Board, name: &str| {
        Path::new(&images).join(&board.target).join("release").join(name)
    };
    for board in &boards {
        if !arguments.is_empty() && !arguments.contains(&board.target) {
            continue;
        }
        for (name, check, only) in CHECKS {
            if only.is_empty() || only.contains(&&*board.target) {
                enter(board, name, check(board, &image(board, name)));
            }
        }
    }
    if let Some(chat) = chat {
        let board = boards.iter().find(|board| board.target == EDGE).context("no board for it")?;
        enter(board, "edge", edge::check(board, &image(board, "edge"), Path::new(&chat)));
    }
    rows.iter().for_each(|row| println!("{row}"));
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the edge client runs.
const EDGE: &str = "thumbv7m-none-eabi";
