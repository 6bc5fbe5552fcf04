//! A UART that somebody bridges to a TCP connection, in place of a network stack.
//!
//! The device can neither close that connection nor see that it was closed: it sees silence, and its
//! attempt times out. So two things hold here:
//!
//! - A request goes out whole or not at all. Half a request would make the next one its body.
//! - Whatever comes before the answer that repeats the request's id is skipped: the rest of a body
//!   that came too late, answers to attempts given up, what the service says to a request whose
//!   beginning got lost while nobody was connected.
//!
//! While the service keeps the connection and says nothing, the line is of no use, and only the
//! service can end that. A modem that can hang up would do so in `connect`.

use core::cell::Cell;
use core::fmt;
use core::net::SocketAddr;

use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;
use heapless::Vec;

use crate::uart::Uart;
use firmware::heads::{self, Heads};

/// The line. One connection at a time.
pub(crate) struct Line {
    uart: &'static Uart,
    taken: Cell<bool>,
    skipped: Cell<u32>,
}

/// One request and its answer. Dropped, it leaves the line to the next.
pub(crate) struct Connection<'l> {
    line: &'l Line,
    state: State,
    /// What the UART had lost when the request went out.
    lost: u32,
}

enum State {
    Writing(Vec<u8, REQUEST>),
    Seeking(Heads<HEAD>),
    Found { head: Vec<u8, HEAD>, read: usize },
    Body,
}

/// Why a connection is of no use.
#[derive(Debug)]
pub(crate) enum LineError {
    /// Another connection is open.
    Taken,
    /// What an earlier request left is still going out, or the request is too long.
    Full,
    /// A request without an id.
    Nameless,
    /// There was no request to answer.
    Unasked,
    /// The connection was written to after its request.
    Second,
    /// Bytes came too fast.
    Lost,
}

impl Line {
    pub(crate) const fn over(uart: &'static Uart) -> Self {
        Self { uart, taken: Cell::new(false), skipped: Cell::new(0) }
    }

    /// Answers that were to other requests than the last one made.
    pub(crate) fn skipped(&self) -> u32 {
        self.skipped.get()
    }
}

impl TcpConnect for Line {
    type Error = LineError;
    type Connection<'a> = Connection<'a>;

    /// Whoever bridges the line knows where to.
    async fn connect(&self, _remote: SocketAddr) -> Result<Connection<'_>, LineError> {
        if self.taken.replace(true) {
            return Err(LineError::Taken);
        }
        Ok(Connection { line: self, state: State::Writing(Vec::new()), lost: 0 })
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.line.taken.set(false);
    }
}

impl ErrorType for Connection<'_> {
    type Error = LineError;
}

impl Write for Connection<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, LineError> {
        let State::Writing(request) = &mut self.state else { return Err(LineError::Second) };
        request.extend_from_slice(bytes).map_err(|_| LineError::Full)?;
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), LineError> {
        let State::Writing(request) = &self.state else { return Ok(()) };
        let id = heads::asks(request).ok_or(LineError::Nameless)?;
        self.lost = self.line.uart.lost();
        self.line.uart.send(request).map_err(|_| LineError::Full)?;
        self.state = State::Seeking(Heads::of(id));
        Ok(())
    }
}

impl Read for Connection<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LineError> {
        let mut uart = self.line.uart;
        loop {
            if uart.lost() != self.lost {
                return Err(LineError::Lost);
            }
            match &mut self.state {
                State::Writing(_) => return Err(LineError::Unasked),
                State::Seeking(heads) => {
                    let mut byte = [0];
                    let Ok(_) = uart.read(&mut byte).await;
                    let skipped = heads.skipped();
                    let head = heads.push(byte[0]).map(Vec::from_slice);
                    self.line.skipped.set(self.line.skipped.get() + heads.skipped() - skipped);
                    if let Some(Ok(head)) = head {
                        self.state = State::Found { head, read: 0 };
                    }
                }
                State::Found { head, read } => {
                    let left = &head[*read..];
                    let count = left.len().min(buffer.len());
                    buffer[..count].copy_from_slice(&left[..count]);
                    *read += count;
                    if *read == head.len() {
                        self.state = State::Body;
                    }
                    return Ok(count);
                }
                State::Body => {
                    let Ok(count) = uart.read(buffer).await;
                    return Ok(count);
                }
            }
        }
    }
}

impl Error for LineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken => ErrorKind::AddrInUse,
            Self::Full => ErrorKind::OutOfMemory,
            Self::Nameless | Self::Unasked | Self::Second => ErrorKind::InvalidInput,
            Self::Lost => ErrorKind::InvalidData,
        }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "another connection is open",
            Self::Full => "no room for the request",
            Self::Nameless => "a request without an id",
            Self::Unasked => "nothing was asked",
            Self::Second => "one request for each connection",
            Self::Lost => "bytes came too fast",
        })
    }
}

impl core::error::Error for LineError {}

/// The longest request.
const REQUEST: usize = 768;
/// The longest head of an answer.
const HEAD: usize = 512;
