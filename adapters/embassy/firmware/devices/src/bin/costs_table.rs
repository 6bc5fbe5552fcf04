//! What the core costs on each device: prints it, and fails where that is more than it may be.
//!
//! `costs_table IMAGES [TARGET..]` takes the folder with the images of each target; with `--write`,
//! the table replaces the one in README.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use self::Bound::{All, Free, Least, LeastAndOthers, LeastWanted, NoSwap};
use anyhow::Context as _;
use devices::board::{self, Board};
use firmware::costs::{Call, Wait};
use object::read::elf::ElfFile32;
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let write = arguments.iter().any(|argument| argument == "--write");
    arguments.retain(|argument| argument != "--write");
    let [folder, targets @ ..] = &arguments[..] else {
        return Err("usage: costs_table IMAGES [TARGET..] [--write]".into());
    };
    let devices: Vec<Device> = TARGETS
        .iter()
        .filter(|target| targets.is_empty() || targets.iter().any(|wanted| wanted == *target))
        .map(|target| Device::measure(target, &Path::new(folder).join(target).join("release")))
        .collect::<Result<_, _>>()?;

    let (table, broken) = table(&devices);
    print!("{table}");
    for device in &devices {
        println!("\n{}: the inputs that took the most", device.target);
        device.worst.iter().for_each(|(name, input)| println!("  {name}: {input}"));
    }
    for what in &broken {
        println!("too much: {what}");
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("README.md has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("the table in README.md has no end")?;
    let measured = format!("{before}{BEGIN}\n{table}{END}{after}");
    if write {
        fs::write(&readme, measured)?;
    } else if targets.is_empty() && measured != text {
        // Another compiler makes other code.
        println!("README.md has other figures, which --write replaces");
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was measured of one target.
struct Device {
    target: &'static str,
    figures: BTreeMap<String, u64>,
    worst: Vec<(String, String)>,
}

/// A row of the table: its figure's name, what the table calls it, and what it is to be.
struct Row(&'static str, &'static str, Bound);

/// What a figure is at most, on all targets, on the least of them, or on those without compare-and-swap;
/// and what it was wanted to be, where that is less.
enum Bound {
    Free,
    All(u64),
    Least(u64),
    NoSwap(u64),
    /// The least, the others, and what was wanted of all.
    LeastAndOthers(u64, u64, u64),
    LeastWanted(u64, u64),
}

impl Bound {
    fn at_most(&self, target: usize) -> Option<u64> {
        match *self {
            Self::All(most) => Some(most),
            Self::LeastAndOthers(least, others, _) => {
                Some(if target == 0 { least } else { others })
            }
            Self::Least(most) | Self::LeastWanted(most, _) if target == 0 => Some(most),
            Self::NoSwap(most) if NO_SWAP.contains(&TARGETS[target]) => Some(most),
            _ => None,
        }
    }

    const fn wanted(&self) -> Option<u64> {
        match *self {
            Self::LeastWanted(_, wanted) | Self::LeastAndOthers(_, _, wanted) => Some(wanted),
            _ => None,
        }
    }
}

impl Device {
    fn measure(target: &'static str, images: &Path) -> Result<Self, Failure> {
        let mut device = Self { target, figures: BTreeMap::new(), worst: Vec::new() };
        device.sizes(images)?;
        device.instructions(images)?;
        for (image, instructions, sections) in EXECUTED {
            let (executed, masks) = device.executed(&images.join(image))?;
            device.figures.insert(instructions.to_owned(), executed);
            device.figures.insert(sections.to_owned(), masks);
        }
        Ok(device)
    }

    fn board(&self) -> Result<Board, Failure> {
        let board = board::all()?.into_iter().find(|board| board.target == self.target);
        board.ok_or_else(|| format!("no board for {}", self.target).into())
    }

    /// Bytes in flash that an image has over one without the core.
    fn sizes(&mut self, images: &Path) -> Result<(), Failure> {
        let without = flash(&fs::read(images.join("costs_none"))?)?;
        for image in SIZED {
            let bytes = fs::read(images.join(format!("costs_{image}")))?;
            self.figures.insert(format!("flash {image}"), flash(&bytes)? - without);
            let unwanted = unwanted(&bytes)?;
            for symbol in &unwanted {
                println!("{}: costs_{image} has {symbol}", self.target);
            }
            *self.figures.entry("unwanted symbols".to_owned()).or_default() +=
                unwanted.len() as u64;
        }
        Ok(())
    }

    /// What the image `costs` counts of itself.
    fn instructions(&mut self, images: &Path) -> Result<(), Failure> {
        // 128 ns an instruction.
        let said = self.board()?.run(&images.join("costs"), &["-icount", "shift=7"]);
        let said = said.with_context(|| format!("{}: costs", self.target))?;
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["instructions", name, most, number] => {
                    let number = number.parse()?;
                    let input = match name {
                        "wait" | "asked_wait" => Wait::nth(number).to_string(),
                        _ => Call::nth(number).to_string(),
                    };
                    self.figures.insert(name.to_owned(), most.parse()?);
                    self.worst.push((name.to_owned(), input));
                }
                ["ram", name, bytes] => {
                    self.figures.insert(format!("ram {name}"), bytes.parse()?);
                }
                _ => return Err(format!("{}: costs said {line:?}", self.target).into()),
            }
        }
        Ok(())
    }

    /// The instructions that a healthy call of an image executes, and how often they turn interrupts
    /// off; by what is logged of it and of a call that fails.
    fn executed(&self, image: &Path) -> Result<(u64, u64), Failure> {
        let what = format!("{}: {}", self.target, image.display());
        let said = self.board()?.said(image, &["-singlestep", "-d", "exec,nochain"]);
        let said = said.with_context(|| what.clone())?;
        let log = String::from_utf8(said.complaints)?;
        let bytes = fs::read(image)?;
        let elf: ElfFile32<Endianness> = ElfFile32::parse(&*bytes)?;
        let (call, caller) = (function(&elf, "call")?, function(&elf, "both")?);
        let mut calls: Vec<Vec<u64>> = Vec::new();
        let mut inside = false;
        for at in log.lines().filter_map(executed_at) {
            if at == call.start {
                inside = true;
                calls.push(Vec::new());
            }
            inside &= !caller.contains(&at);
            if let (true, Some(executed)) = (inside, calls.last_mut()) {
                executed.push(at);
            }
        }
        let [healthy, failing] = &calls[..] else {
            return Err(format!("{what}: {} calls seen", calls.len()).into());
        };
        let sections = |executed: &[u64]| {
            executed.iter().filter(|at| masks_interrupts(&elf, **at, self.target)).count() as u64
        };
        // Where there is no compare-and-swap: else nothing shows that sections would be seen.
        if NO_SWAP.contains(&self.target) && sections(failing) == 0 {
            return Err(format!("{what}: no critical section in a failing call").into());
        }
        Ok((healthy.len() as u64, sections(healthy)))
    }
}

/// The table, and what is more than it may be.
fn table(devices: &[Device]) -> (String, Vec<String>) {
    let (mut table, mut broken) = (String::from("| |"), Vec::new());
    for device in devices {
        let core = device.target.split_once('-').map_or(device.target, |(core, _)| core);
        let _ = write!(table, " {core} |");
    }
    let _ = writeln!(table, " at most | wanted |\n|---|{}", "---:|".repeat(devices.len() + 2));
    let or_none = |bound: Option<u64>| bound.map_or(String::new(), |bound| bound.to_string());
    for Row(name, label, bound) in ROWS {
        let _ = write!(table, "| {label} |");
        for device in devices {
            let target = TARGETS.iter().position(|target| *target == device.target).unwrap_or(0);
            let figure = device.figures.get(*name);
            let shown = figure.map_or("none".to_owned(), u64::to_string);
            let _ = write!(table, " {shown} |");
            if figure.is_none_or(|figure| bound.at_most(target).is_some_and(|most| *figure > most))
            {
                broken.push(format!("{}: {label}: {shown}", device.target));
            }
        }
        let _ = writeln!(table, " {} | {} |", or_none(bound.at_most(0)), or_none(bound.wanted()));
    }
    (table, broken)
}

/// The bytes that an image takes in flash: code, constants, and what variables begin with.
fn flash(image: &[u8]) -> Result<u64, Failure> {
    let elf: ElfFile32<Endianness> = ElfFile32::parse(image)?;
    let stored =
        |kind| matches!(kind, SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::Data);
    Ok(elf.sections().filter(|section| stored(section.kind())).map(|section| section.size()).sum())
}

/// Functions of an image that tell of a heap, of floats or of panics.
fn unwanted(image: &[u8]) -> Result<Vec<String>, Failure> {
    let elf: ElfFile32<Endianness> = ElfFile32::parse(image)?;
    Ok(elf
        .symbols()
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| is_unwanted(name))
        .map(str::to_owned)
        .collect())
}

fn is_unwanted(symbol: &str) -> bool {
    let begins = |parts: &[&str]| parts.iter().any(|part| symbol.starts_with(part));
    let ends = |parts: &[&str]| parts.iter().any(|part| symbol.ends_with(part));
    let has = |parts: &[&str]| parts.iter().any(|part| symbol.contains(part));
    has(&["panic", "__rust_alloc", "__rdl_alloc"])
        || begins(&["__aeabi_d", "__aeabi_f", "__aeabi_cd", "__aeabi_cf", "__fix", "__float"])
        || begins(&["__aeabi_"]) && has(&["2d", "2f", "2h"])
        || begins(&["__"]) && ends(&["sf2", "sf3", "df2", "df3"])
}

/// The addresses of a function.
fn function(elf: &ElfFile32<'_, Endianness>, name: &str) -> Result<std::ops::Range<u64>, Failure> {
    let symbol = elf.symbol_by_name(name).ok_or_else(|| format!("no function {name}"))?;
    let start = symbol.address() & !1; // Thumb
    Ok(start..start + symbol.size())
}

/// The address in a line of QEMU's log: `Trace 0: 0x7f.. [flags/address/flags/flags] symbol`.
fn executed_at(line: &str) -> Option<u64> {
    let inside = line.strip_prefix("Trace ")?.split_once('[')?.1;
    u64::from_str_radix(inside.split('/').nth(1)?, 16).ok()
}

/// Whether the instruction there turns interrupts off: `cpsid`, or any that writes a machine register.
fn masks_interrupts(elf: &ElfFile32<'_, Endianness>, at: u64, target: &str) -> bool {
    let bytes =
        |length| elf.sections().find_map(|section| section.data_range(at, length).ok().flatten());
    let half = bytes(2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    match target.starts_with("thumb") {
        true => half & 0xffe0 == 0xb660,
        false => half & 0x7f == 0x73,
    }
}

// Bytes and instructions. What only the least core is bound by is less on the others, but for RISC-V's
// wider code.
const ROWS: &[Row] = &[
    Row("flash const", "flash: breaker with a constant rule", Least(700)),
    Row("flash full", "flash: the same, with probes, lease, growth, told its mode", Least(1_100)),
    Row("flash breaker", "flash: breaker with any rule: probes, lease, growth", Least(1_100)),
    Row("flash modes", "flash: the same, told its mode", LeastWanted(1_250, 1_100)),
    Row("flash policy", "flash: breaker, retry, timeout", LeastAndOthers(4_096, 5_000, 4_096)),
    Row("unwanted symbols", "symbols of a heap, floats, panics", All(0)),
    Row("ram breaker", "RAM: breaker", All(24)),
    Row("ram counters", "RAM: operation with counters", All(160)),
    Row("ram histogram", "RAM: operation with a histogram", All(1_200)),
    Row("ram place", "RAM: a place in the table of operations", Free),
    Row("healthy", "instructions: admit and settle, healthy", Least(110)),
    Row("executed", "the same, as QEMU logs it", Free),
    Row("both", "instructions: admit and settle", NoSwap(400)),
    Row("grown", "instructions: admit and settle, growing periods", NoSwap(400)),
    Row("admit", "instructions: admit", NoSwap(400)),
    Row("refuse", "instructions: refuse", NoSwap(400)),
    Row("settle", "instructions: settle", NoSwap(400)),
    Row("release", "instructions: give back", NoSwap(400)),
    Row("wait", "instructions: back-off", Free),
    Row("asked_wait", "instructions: back-off, a wait asked for", Free),
    Row("policy executed", "instructions: a healthy call by a policy, as QEMU logs it", Free),
    Row("sections", "critical sections of a healthy call", All(0)),
    Row("policy sections", "critical sections of a healthy call by a policy", All(0)),
];

const SIZED: [&str; 5] = ["const", "full", "breaker", "modes", "policy"];
/// Images, and the figures of their healthy calls: instructions, and critical sections.
const EXECUTED: [(&str, &str, &str); 2] = [
    ("costs_breaker", "executed", "sections"),
    ("costs_policy", "policy executed", "policy sections"),
];
const NO_SWAP: [&str; 2] = ["thumbv6m-none-eabi", "riscv32imc-unknown-none-elf"];
const TARGETS: [&str; 5] = [
    "thumbv6m-none-eabi",
    "thumbv7m-none-eabi",
    "thumbv7em-none-eabi",
    "riscv32imac-unknown-none-elf",
    "riscv32imc-unknown-none-elf",
];
const BEGIN: &str = "<!-- costs -->";
const END: &str = "<!-- end of costs -->";

#[cfg(test)]
mod tests {
    use super::{Device, ROWS, Row, TARGETS, is_unwanted, table};

    /// One that is measured to be what it may be at most.
    fn at_most(target: usize) -> Device {
        let figure = |Row(name, _, bound): &Row| {
            ((*name).to_owned(), bound.at_most(target).unwrap_or(u64::MAX))
        };
        let figures = ROWS.iter().map(figure).collect();
        Device { target: TARGETS[target], figures, worst: Vec::new() }
    }

    /// What is too much where one figure is another, or missing.
    fn broken(target: usize, name: &str, figure: Option<u64>) -> Vec<String> {
        let mut device = at_most(target);
        let before = match figure {
            Some(figure) => device.figures.insert(name.to_owned(), figure),
            None => device.figures.remove(name),
        };
        assert!(before.is_some(), "no figure {name}");
        table(&[device]).1
    }

    #[test]
    fn what_is_at_its_bound_is_not_too_much() {
        let devices: Vec<_> = (0..TARGETS.len()).map(at_most).collect();
        assert_eq!(table(&devices).1, [""; 0]);
    }

    #[test]
    fn one_more_than_the_bound_of_the_least_core_is_too_much_there_alone() {
        for (name, figure) in [
            ("flash const", 701),
            ("flash breaker", 1_101),
            ("flash full", 1_101),
            ("flash modes", 1_251),
            ("flash policy", 4_097),
            ("healthy", 111),
        ] {
            assert_eq!(broken(0, name, Some(figure)).len(), 1, "{name}");
            assert_eq!(broken(0, name, Some(figure - 1)), [""; 0]);
            for others in 1..TARGETS.len() {
                assert_eq!(broken(others, name, Some(figure)), [""; 0]);
            }
        }
    }

    #[test]
    fn one_more_than_the_bound_of_cores_without_compare_and_swap_is_too_much_on_both() {
        for name in ["both", "grown", "admit", "refuse", "settle", "release"] {
            let is_broken = |target: &usize| !broken(*target, name, Some(401)).is_empty();
            let told: Vec<_> = (0..TARGETS.len()).filter(is_broken).collect();
            assert_eq!(told, [0, 4], "{name}");
        }
    }

    #[test]
    fn one_more_than_the_bound_of_all_is_too_much_on_each() {
        for target in 0..TARGETS.len() {
            for (name, figure) in [
                ("unwanted symbols", 1),
                ("ram breaker", 25),
                ("ram counters", 161),
                ("ram histogram", 1_201),
                ("sections", 1),
                ("policy sections", 1),
            ] {
                assert_eq!(broken(target, name, Some(figure)).len(), 1, "{name}");
            }
            let policy = broken(target, "flash policy", Some(5_001));
            let told = format!("{}: flash: breaker, retry, timeout: 5001", TARGETS[target]);
            assert_eq!(policy, [told]);
        }
    }

    #[test]
    fn a_figure_that_is_missing_is_too_much() {
        for target in 0..TARGETS.len() {
            for Row(name, label, _) in ROWS {
                let told = format!("{}: {label}: none", TARGETS[target]);
                assert_eq!(broken(target, name, None), [told]);
            }
        }
    }

    #[test]
    fn functions_of_a_heap_of_floats_and_of_panics_are_unwanted() {
        for symbol in [
            "_ZN4core9panicking5panic17h0123456789abcdefE",
            "__rust_alloc",
            "__rdl_alloc",
            "_RNvCs691rhTbG0Ee_7___rustc12___rust_alloc",
            "__aeabi_dadd",
            "__aeabi_fmul",
            "__aeabi_cdcmple",
            "__aeabi_cfcmpeq",
            "__aeabi_i2d",
            "__aeabi_ui2f",
            "__aeabi_l2d",
            "__aeabi_l2f",
            "__aeabi_ul2d",
            "__aeabi_ul2f",
            "__aeabi_d2lz",
            "__aeabi_f2ulz",
            "__adddf3",
            "__mulsf3",
            "__ltdf2",
            "__extendsfdf2",
            "__truncdfsf2",
            "__fixsfsi",
            "__fixdfdi",
            "__fixunsdfdi",
            "__fixunssfdi",
            "__floatsidf",
            "__floatunsisf",
            "__floatdidf",
            "__floatundidf",
            "__floatundisf",
        ] {
            assert!(is_unwanted(symbol), "{symbol}");
        }
    }

    #[test]
    fn functions_of_integers_and_of_copying_may_be_there() {
        for symbol in [
            "both",
            "call",
            "__aeabi_lmul",
            "__aeabi_uldivmod",
            "__aeabi_uidivmod",
            "__aeabi_idiv",
            "__aeabi_llsl",
            "__aeabi_memcpy4",
            "__aeabi_memclr8",
            "__udivdi3",
            "__muldi3",
            "__ashldi3",
            "__lshrdi3",
            "__pre_init",
            "__sdata",
        ] {
            assert!(!is_unwanted(symbol), "{symbol}");
        }
    }
}
