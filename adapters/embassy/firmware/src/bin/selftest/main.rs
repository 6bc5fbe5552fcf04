//! The machines and guards under an interrupt that uses them too, in the middle of the main loop's
//! own use of them.
//!
//! Both do the same things to the same world, drawn at random: take permits and slots and give them
//! back, pay and earn retries, execute, register, configure, read settings, count, reset, force. The
//! interrupt comes after another period each time. Whenever it has come often enough, what both saw
//! must add up to what the world says, and a new world begins. Time is a number that both move.
//! Before the worlds it comes most often, to the same few words.
//!
//! An assertion ends the run as failed, and so does a run in which they did not meet.
#![no_std]
#![no_main]

mod dense;
mod party;
mod settings;
mod world;

use core::cell::RefCell;

use critical_section::Mutex;
use firmware::{board, image, on_tick};
use semihosting::{print, println};

use self::party::{Doing, Meetings, Party, Seen};
use self::world::Stage;

static STAGE: Stage = Stage::new();
static INTERRUPT: Mutex<RefCell<Option<Party>>> = Mutex::new(RefCell::new(None));

image!(main);
on_tick!(tick);

fn tick() {
    // Nothing preempts the interrupt, so the section keeps nobody out.
    critical_section::with(|section| {
        let mut interrupt = INTERRUPT.borrow_ref_mut(section);
        let interrupt = interrupt.as_mut().expect("it comes after the start");
        if dense::is_under_way() {
            dense::interrupt(section);
            return board::tick_after(2 + (interrupt.draw() & 0x1ff));
        }
        interrupt.meet();
        interrupt.step(STAGE.world());
        // From at once to a few operations of the main loop later.
        board::tick_after(2 + (interrupt.draw() & 0xff) * (interrupt.draw() & 0xf));
    });
}

fn main() -> bool {
    let mut party = Party::main();
    critical_section::with(|section| *INTERRUPT.borrow_ref_mut(section) = Some(Party::interrupt()));
    board::tick_every(1_000);
    let turns = dense::turns();
    println!("{} interrupts at the heels of {turns} turns", dense::INTERRUPTS);
    assert!(turns >= dense::INTERRUPTS / 16, "too few turns to show anything");
    let mut worlds = 0;
    loop {
        party.step(STAGE.world());
        let all = critical_section::with(|section| {
            let mut interrupt = INTERRUPT.borrow_ref_mut(section);
            let interrupt = interrupt.as_mut()?;
            if interrupt.meetings.interrupts < (worlds + 1) * INTERRUPTS_A_WORLD {
                return None;
            }
            STAGE.world().adds_up(&party.seen, &interrupt.seen);
            party.begin_anew();
            interrupt.begin_anew();
            worlds += 1;
            // SAFETY: the main loop is here, and keeps nothing of the world between its steps.
            unsafe { STAGE.renew(section) };
            (worlds == WORLDS)
                .then(|| (interrupt.meetings.clone(), party.before().plus(interrupt.before())))
        });
        if let Some((meetings, seen)) = all {
            return told(&meetings, &seen, worlds);
        }
    }
}

/// Prints what was exercised, and whether it was enough to show something.
#[inline(never)]
fn told(met: &Meetings, seen: &Seen, worlds: u32) -> bool {
    println!("{}", board::NAME);
    let inside: u32 = met.landed.iter().skip(1).sum();
    for (what, times) in Doing::ALL.iter().zip(met.landed) {
        println!("{times} interrupts came in the middle of: {what:?}");
    }
    println!("{} found the table being written, {} metrics being reset", met.busy, met.resetting);
    println!("{} read settings that were half replaced", met.read_under_writer);
    println!("{} replaced settings that were half read", met.replaced_under_reader);
    let Seen { opened, half_opened, closed, late, .. } = *seen;
    println!("a breaker opened {opened} times, half {half_opened}, closed {closed}; {late} late");
    let seldom = [met.busy, met.resetting, met.read_under_writer, met.replaced_under_reader]
        .into_iter()
        .chain([opened, half_opened, closed, late])
        .chain(met.landed)
        .min();
    let enough = seldom.is_some_and(|times| times >= ENOUGH);
    let Meetings { interrupts, busy, .. } = *met;
    print!(
        "{interrupts} interrupts in {worlds} worlds, {inside} inside an operation, {busy} told busy"
    );
    println!("{}", if enough { "" } else { ": too few to show anything" });
    enough
}

const WORLDS: u32 = 150;
const INTERRUPTS_A_WORLD: u32 = 200;
/// Of each kind of meeting.
const ENOUGH: u32 = 20;
