//! Programs that this one starts: none outlives what stands for it here.

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A process that this one started, and ends when dropped.
///
/// It stays in this one's group: what ends the group ends both.
#[derive(Debug)]
pub struct Running(Child);

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// None, if it had to be ended.
    pub status: Option<ExitStatus>,
    /// To its standard output.
    pub output: Vec<u8>,
    /// To its standard error.
    pub complaints: Vec<u8>,
}

impl Running {
    /// Starts it, and reads what it says line by line.
    pub fn start(command: &mut Command) -> io::Result<(Self, Receiver<String>)> {
        let mut running = Self::spawn(command)?;
        let (send, receive) = mpsc::channel();
        if let Some(output) = running.0.stdout.take() {
            thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).try_for_each(|l| send.send(l))
            });
        }
        Ok((running, receive))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    fn spawn(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map(Self)
    }

    fn ended_within(&mut self, longest: Duration) -> io::Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            let ended = self.ended()?;
            if ended.is_some() || begun.elapsed() >= longest {
                return Ok(ended);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program says until it ends, or until it is ended because it still runs after `longest`.
pub fn said(command: &mut Command, longest: Duration) -> io::Result<Said> {
    let mut running = Running::spawn(command.stderr(Stdio::piped()))?;
    let (output, complaints) = (whole(running.0.stdout.take()), whole(running.0.stderr.take()));
    let status = running.ended_within(longest)?;
    drop(running);
    Ok(Said { status, output: read(output)?, complaints: read(complaints)? })
}

/// Reads on while the program runs, which would wait for a reader else.
fn whole(from: Option<impl Read + Send + 'static>) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.map_or(Ok(0), |mut from| from.read_to_end(&mut all)).map(|_| all)
    })
}

fn read(reader: JoinHandle<io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    reader.join().unwrap_or_else(|_| Err(io::Error::other("who reads has panicked")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    use super::{Running, said};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    // Whoever runs keeps its output open.
    #[test]
    fn a_program_is_gone_when_what_stands_for_it_is_dropped() {
        let (running, lines) = Running::start(&mut shell("echo runs; exec sleep 1000")).unwrap();
        assert_eq!(lines.recv_timeout(LONG).as_deref(), Ok("runs"));
        drop(running);
        assert_eq!(lines.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_program_is_gone_when_its_time_is_over_and_what_it_said_is_kept() {
        let mut command = shell("echo $$; echo wrong >&2; exec sleep 1000");
        let said = said(&mut command, Duration::from_secs(2)).unwrap();
        assert_eq!(said.status, None);
        assert_eq!(said.complaints, b"wrong\n");
        let process = String::from_utf8(said.output).unwrap();
        let is_there = shell(&format!("kill -0 {process}")).output().unwrap().status;
        assert!(!is_there.success(), "{process} still runs");
    }

    #[test]
    fn a_program_that_ends_in_time_says_all_and_how_it_ended() {
        let said = said(&mut shell("seq 100000; echo wrong >&2; exit 3"), LONG).unwrap();
        assert_eq!(said.status.and_then(|status| status.code()), Some(3));
        assert!(said.output.ends_with(b"\n99999\n100000\n"));
        assert_eq!(said.complaints, b"wrong\n");
    }

    const LONG: Duration = Duration::from_secs(60);
}
