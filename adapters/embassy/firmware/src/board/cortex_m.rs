//! Cortex-M: SysTick interrupts.

use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;

/// Lets the timer interrupt every `cycles` of its clock from now on. Once.
pub fn tick_every(cycles: u32) {
    let mut syst = Peripherals::take().expect("asked for once").SYST;
    syst.set_clock_source(SystClkSource::Core);
    syst.set_reload(cycles - 1);
    syst.clear_current();
    syst.enable_interrupt();
    syst.enable_counter();
}

/// Sleeps until an interrupt.
pub fn idle() {
    cortex_m::asm::wfi();
}
