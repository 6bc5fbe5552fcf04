//! The trace's hashes, block by block; or the lines of one block, if its number is the argument.
#![no_std]
#![no_main]

use firmware::{image, trace};
use semihosting::experimental::env;
use semihosting::println;

image!(main);

fn main() -> bool {
    match asked() {
        Some(block) => trace::lines(|step, line| {
            if step / trace::BLOCK == block {
                println!("{step} {line}");
            }
        }),
        None => {
            let all = trace::blocks(|block, hash| println!("block {block} {hash:016x}"));
            println!("all {all:016x}");
        }
    }
    true
}

/// The first word after the image's own name.
fn asked() -> Option<u32> {
    let arguments = env::args::<256>().ok()?;
    (&arguments).nth(1)?.ok()?.parse().ok()
}
