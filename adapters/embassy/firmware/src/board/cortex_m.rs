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

/// A counter of the clock's cycles, for what takes fewer than 2^24 of them.
pub mod counter {
    use core::arch::asm;
    use cortex_m::Peripherals;
    use cortex_m::peripheral::SYST;
    use cortex_m::peripheral::syst::SystClkSource;

    /// Starts it. Once, and not beside [`tick_every`](super::tick_every).
    pub fn start() {
        let mut syst = Peripherals::take().expect("asked for once").SYST;
        syst.set_clock_source(SystClkSource::Core);
        syst.set_reload(LAST);
        syst.clear_current();
        syst.enable_counter();
    }

    /// What it says.
    #[inline(always)]
    pub fn read() -> u32 {
        SYST::get_current()
    }

    /// How far it is from there.
    #[inline(always)]
    pub fn since(began: u32) -> u32 {
        began.wrapping_sub(read()) & LAST // It counts down.
    }

    /// Runs two instructions a turn.
    #[inline(never)]
    pub fn spin(turns: u32) {
        // SAFETY: it only counts down.
        unsafe {
            asm!("2:", "subs {0}, #1", "bne 2b", inout(reg) turns => _, options(nomem, nostack))
        };
    }

    const LAST: u32 = 0xff_ffff;
}
