//! A PL011: interrupts move the bytes.

use core::cell::Cell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::ptr::{read_volatile, write_volatile};
use core::task::Poll;

use critical_section::Mutex;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embedded_io_async::{ErrorType, Read, Write};

/// A UART with room for what comes and goes.
pub(crate) struct Uart {
    base: usize,
    received: Pipe<CriticalSectionRawMutex, 2_048>,
    sending: Pipe<CriticalSectionRawMutex, 1_024>,
    lost: Mutex<Cell<u32>>,
}

/// There is no room for all of it, so nothing of it is sent.
#[derive(Debug)]
pub(crate) struct Full;

impl Uart {
    /// The one whose registers are at `base`.
    pub(crate) const fn at(base: usize) -> Self {
        Self { base, received: Pipe::new(), sending: Pipe::new(), lost: Mutex::new(Cell::new(0)) }
    }

    /// Switches it on. Its interrupt is to call [`interrupt`](Self::interrupt).
    pub(crate) fn start(&self) {
        self.write(LINE_CONTROL, EIGHT_BITS | FIFOS);
        self.write(MASK, RECEIVED | IDLE | SENT);
        self.write(CONTROL, ENABLE | SEND | RECEIVE);
    }

    pub(crate) fn interrupt(&self) {
        self.write(CLEAR, RECEIVED | IDLE | SENT);
        while self.read(FLAGS) & NOTHING_RECEIVED == 0 {
            let byte = self.read(DATA) as u8;
            if self.received.try_write(&[byte]).is_err() {
                critical_section::with(|section| {
                    let lost = self.lost.borrow(section);
                    lost.set(lost.get() + 1);
                });
            }
        }
        self.pump();
    }

    /// Sends all of it, whatever becomes of the caller, or nothing.
    pub(crate) fn send(&self, mut bytes: &[u8]) -> Result<(), Full> {
        if self.sending.free_capacity() < bytes.len() {
            return Err(Full);
        }
        while let (false, Ok(count)) = (bytes.is_empty(), self.sending.try_write(bytes)) {
            bytes = &bytes[count..];
        }
        self.pump();
        Ok(())
    }

    /// Bytes received for which there was no room.
    pub(crate) fn lost(&self) -> u32 {
        critical_section::with(|section| self.lost.borrow(section).get())
    }

    /// Hands on as much as the device takes; its interrupt fetches the rest.
    fn pump(&self) {
        critical_section::with(|_| {
            let mut byte = [0];
            while self.read(FLAGS) & FULL == 0 && self.sending.try_read(&mut byte) == Ok(1) {
                self.write(DATA, byte[0].into());
            }
        });
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: a register of the device at `base`.
        unsafe { read_volatile((self.base + register) as *const u32) }
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: as above.
        unsafe { write_volatile((self.base + register) as *mut u32, value) }
    }
}

impl ErrorType for &Uart {
    type Error = Infallible;
}

impl Read for &Uart {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(self.received.read(buffer).await)
    }
}

impl Write for &Uart {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let count = self.sending.write(bytes).await;
        self.pump();
        Ok(count)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|context| match self.sending.is_empty() {
            true => Poll::Ready(Ok(())),
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }
}

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;
const MASK: usize = 0x38;
const CLEAR: usize = 0x44;

const NOTHING_RECEIVED: u32 = 1 << 4;
const FULL: u32 = 1 << 5;

const FIFOS: u32 = 1 << 4;
const EIGHT_BITS: u32 = 3 << 5;

const ENABLE: u32 = 1;
const SEND: u32 = 1 << 8;
const RECEIVE: u32 = 1 << 9;

const RECEIVED: u32 = 1 << 4;
const SENT: u32 = 1 << 5;
const IDLE: u32 = 1 << 6;
