//! The memory of the board that stands for a target, and the runtime's linker script.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap();
    let (board, memory) = match &*target {
        "thumbv6m-none-eabi" => ("microbit (Cortex-M0)", arm("256K", "16K")),
        "thumbv7m-none-eabi" => ("lm3s6965evb (Cortex-M3)", arm("256K", "64K")),
        "thumbv7em-none-eabi" => ("mps2-an386 (Cortex-M4)", arm("4M", "4M")),
        "riscv32imac-unknown-none-elf" => ("virt (RV32IMAC)", VIRT.to_owned()),
        "riscv32imc-unknown-none-elf" => ("virt (RV32IMC)", VIRT.to_owned()),
        _ => return, // the host, for what the images are compared with
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    fs::write(out.join("memory.x"), memory).unwrap();
    println!("cargo:rustc-env=BOARD={board}");
    println!("cargo:rustc-link-search={}", out.display());
    if target.starts_with("riscv32") {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    // The numbers that stand for what is logged.
    println!("cargo:rustc-link-arg-bin=events=-Tdefmt.x");
}

fn arm(flash: &str, ram: &str) -> String {
    format!(
        "MEMORY {{\n  FLASH : ORIGIN = 0, LENGTH = {flash}\n  RAM : ORIGIN = 0x20000000, LENGTH = {ram}\n}}\n"
    )
}

const VIRT: &str = r#"
MEMORY { RAM : ORIGIN = 0x80000000, LENGTH = 4M }
REGION_ALIAS("REGION_TEXT", RAM);
REGION_ALIAS("REGION_RODATA", RAM);
REGION_ALIAS("REGION_DATA", RAM);
REGION_ALIAS("REGION_BSS", RAM);
REGION_ALIAS("REGION_HEAP", RAM);
REGION_ALIAS("REGION_STACK", RAM);
"#;
