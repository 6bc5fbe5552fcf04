//! Cortex-M: SysTick interrupts.

use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};

/// Lets the timer interrupt every `cycles` of its clock from now on. Once.
pub fn tick_every(cycles: u32) {
    let mut syst = Peripherals::take().expect("asked for once").SYST;
    syst.set_clock_source(SystClkSource::Core);
    syst.set_reload(cycles - 1);
    syst.clear_current();
    syst.enable_interrupt();
    syst.enable_counter();
}

/// Lets the timer interrupt next after `cycles` (2 at least), and not for what was due before. From
/// within the interrupt, whose next period it then is.
pub fn tick_after(cycles: u32) {
    // SAFETY: both registers are written whole, by the interrupt, which nobody preempts, and before
    // it comes for the first time.
    unsafe {
        (*SYST::PTR).rvr.write(cycles - 1);
        (*SYST::PTR).cvr.write(0);
    }
    SCB::clear_pendst();
}

/// Sleeps until an interrupt.
pub fn idle() {
    cortex_m::asm::wfi();
}
