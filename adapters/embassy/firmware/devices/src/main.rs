//! Runs the images on emulated devices, checks on the host what they say, and prints one table.
//!
//! `devices IMAGES [TARGET..]`: the images are `IMAGES/TARGET/release/NAME`; without a target it is
//! every board. With `--chat PROGRAM` (the example `chat` of `steadfast-std`) the edge client calls
//! it. `devices --broken IMAGES --chat PROGRAM` takes images that are broken on purpose, below
//! `IMAGES/FAULT/`, and passes if each check fails and says why; `devices --faults` lists the faults,
//! for which targets and how cargo builds what they are planted in.

mod broken;
mod edge;
mod events;
mod script;
mod selftest;
mod sleep;
mod trace;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use devices::board::{self, Board};

use self::broken::{BROKEN, Broken};

/// Runs an image on a board and checks what it says: figures for the table, or what is wrong.
type Check = fn(&Board, &Path) -> Result<String>;

/// What is run, and on which boards, if not on all.
const CHECKS: &[(&str, Check, &[&str])] = &[
    ("selftest", selftest::check, &[]),
    ("trace", trace::check, &[]),
    ("bare", sleep::check, &[]),
    ("events", events::check, &["thumbv7m-none-eabi"]),
    ("sleep", sleep::check, &["thumbv6m-none-eabi", "thumbv7m-none-eabi"]),
];

fn main() -> Result<ExitCode> {
    let mut arguments: Vec<_> = env::args().skip(1).collect();
    if arguments == ["--faults"] {
        for Broken { fault, target, arguments, .. } in &BROKEN {
            println!("{fault} {target} {arguments}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let broken = arguments.iter().position(|argument| argument == "--broken");
    broken.map(|at| arguments.remove(at));
    let chat = match arguments.iter().position(|argument| argument == "--chat") {
        Some(at) => {
            ensure!(at + 1 < arguments.len(), "--chat is followed by no program");
            arguments.drain(at..at + 2).nth(1)
        }
        None => None,
    };
    ensure!(!arguments.is_empty(), "which folder are the images in?");
    let images = PathBuf::from(arguments.remove(0));
    let mut boards = board::all()?;
    let known = |target: &String| boards.iter().any(|board| board.target == *target);
    ensure!(arguments.iter().all(known), "no board has one of these targets: {arguments:?}");
    boards.retain(|board| arguments.is_empty() || arguments.contains(&board.target));

    let rows = match broken {
        None => sound(&boards, &images, chat.as_deref())?,
        Some(_) => broken_ones(&boards, &images, chat.as_deref())?,
    };
    let mut passed = true;
    for Row { board, image, result } in rows {
        let (word, figures) = match result {
            Ok(figures) => (if broken.is_some() { "found" } else { "ok" }, figures),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        passed &= word != "FAILED";
        println!("{:<12} {:<29} {image:<22} {word:<6} {figures}", board.machine, board.target);
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each image on each of its boards.
fn sound<'b>(boards: &'b [Board], images: &Path, chat: Option<&str>) -> Result<Vec<Row<'b>>> {
    let mut rows = Vec::new();
    for board in boards {
        for (name, check, only) in CHECKS {
            if only.is_empty() || only.contains(&&*board.target) {
                let result = check(board, &image(images, board, name));
                rows.push(Row { board, image: (*name).to_owned(), result });
            }
        }
    }
    if let Some(chat) = chat {
        let board = board_of(boards, EDGE)?;
        let result = edge::check(board, &image(images, board, "edge"), Path::new(chat));
        rows.push(Row { board, image: "edge".to_owned(), result });
    }
    Ok(rows)
}

/// Each image that is broken, on its board.
fn broken_ones<'b>(boards: &'b [Board], images: &Path, chat: Option<&str>) -> Result<Vec<Row<'b>>> {
    let chat = Path::new(chat.context("the edge client's check needs --chat")?);
    let found = |broken: &Broken| {
        let board = board_of(boards, broken.target)?;
        let path = image(&images.join(broken.fault), board, broken.image);
        let result = match path.exists() {
            true => broken.found(board, &path, |board, path| edge::check(board, path, chat)),
            false => Err(anyhow!("no image {}", path.display())),
        };
        Ok(Row { board, image: format!("{} {}", broken.image, broken.fault), result })
    };
    BROKEN.iter().map(found).collect()
}

/// A line of the table.
struct Row<'b> {
    board: &'b Board,
    image: String,
    result: Result<String>,
}

fn image(images: &Path, board: &Board, name: &str) -> PathBuf {
    images.join(&board.target).join("release").join(name)
}

fn board_of<'b>(boards: &'b [Board], target: &str) -> Result<&'b Board> {
    let board = boards.iter().find(|board| board.target == target);
    board.with_context(|| format!("no board for {target}"))
}

/// Where the edge client runs, and most of what is broken.
const EDGE: &str = "thumbv7m-none-eabi";
