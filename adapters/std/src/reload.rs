//! A configuration in a file, followed while it changes.

use core::convert::Infallible;
use core::fmt;
use core::panic::AssertUnwindSafe;
use core::str;
use core::time::Duration;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant as StdInstant;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::config::warning::OperationWarning;
use crate::config::{Problem, Problems};
use crate::resilience::Resilience;

/// A file that is followed. Dropped, it is no longer: afterwards nothing is applied or told.
#[derive(Debug)]
#[must_use = "dropped, it follows the file no longer"]
pub struct Watching {
    /// Says the end by being dropped, once the watcher's own is gone.
    wake: Option<Sender<Wake>>,
    thread: Option<JoinHandle<()>>,
}

/// Why a file was not gone by. What was configured before stays.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// It has been missing, or could not be read, for about a second. The error names it.
    Unreadable(io::Error),
    /// All that is wrong with what it says.
    Problems(Problems),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Look,
    Stop,
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    /// Goes by the document in the file `path`, before this returns and whenever it changes, within a
    /// second; by a thread of its own, until what this returns is dropped.
    ///
    /// The file may be written in place, or replaced by renaming another one over it, or a link to
    /// it or its folder; meanwhile it may be missing. After each change, and at the beginning,
    /// `on_change` is told whether the file was [gone by](Self::configure_json), and if not, what
    /// stays configured is what was before. It is told once, not again and again, of a file that
    /// stays missing. If it panics, the file is followed all the same.
    ///
    /// # Errors
    ///
    /// No thread can be made.
    pub fn watch_file(
        &self,
        path: impl Into<PathBuf>,
        on_change: impl FnMut(Result<Vec<OperationWarning>, ReloadError>) + Send + 'static,
    ) -> io::Result<Watching> {
        let (resilience, path) = (*self, path.into());
        let (wake, woken) = channel();
        let tell = wake.clone();
        let (looking, looked) = channel();
        let follow = move || {
            // Without it, or where it does not see everything (files of other machines, a folder
            // that was replaced), looking from time to time is what is left.
            let _watcher = watcher(&path, tell);
            Follower { resilience, path, on_change, seen: None, failing: None }
                .follow(&woken, looking);
        };
        let thread = thread::Builder::new().name("steadfast-reload".into()).spawn(follow)?;
        // Nothing comes: it is over once the first look is.
        let _: Result<Infallible, _> = looked.recv();
        Ok(Watching { wake: Some(wake), thread: Some(thread) })
    }
}

/// What is told of a file.
type Change = Result<Vec<OperationWarning>, ReloadError>;

struct Follower<F, const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> {
    resilience: Resilience<N, BUCKETS, SHARDS, WINDOW>,
    path: PathBuf,
    on_change: F,
    /// What it said when it was last gone by, or refused.
    seen: Option<Vec<u8>>,
    /// Since when it cannot be read, and whether that was told.
    failing: Option<(StdInstant, bool)>,
}

impl<F, const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Follower<F, N, BUCKETS, SHARDS, WINDOW>
where
    F: FnMut(Change),
{
    fn follow(mut self, woken: &Receiver<Wake>, looking: Sender<Infallible>) {
        let mut change = self.look();
        drop(looking);
        loop {
            if let Some(change) = change {
                // The panic was told by its hook; the next change is not to be lost for it.
                let _ = catch_unwind(AssertUnwindSafe(|| (self.on_change)(change)));
            }
            match woken.recv_timeout(EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Wake::Look) if settles(woken) => {}
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
            }
            change = self.look();
        }
    }

    /// Goes by the file if it has changed: what is to be told of it.
    fn look(&mut self) -> Option<Change> {
        match contents(&self.path) {
            Ok(bytes) => {
                self.failing = None;
                if self.seen.as_ref() == Some(&bytes) {
                    return None;
                }
                let done = text(&bytes).and_then(|text| self.resilience.configure_json(&text));
                self.seen = Some(bytes);
                Some(done.map_err(ReloadError::Problems))
            }
            Err(error) => {
                let (since, told) = *self.failing.get_or_insert((StdInstant::now(), false));
                if told || since.elapsed() < PATIENCE {
                    return None;
                }
                self.failing = Some((since, true));
                let what = format!("{}: {error}", self.path.display());
                Some(Err(ReloadError::Unreadable(io::Error::new(error.kind(), what))))
            }
        }
    }
}

/// Waits until whoever writes has done so; no longer than half a second. Whether to go on at all.
fn settles(woken: &Receiver<Wake>) -> bool {
    let began = StdInstant::now();
    while began.elapsed() < EVERY {
        match woken.recv_timeout(QUIET) {
            Ok(Wake::Look) => {}
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
    true
}

/// What a file says. One that is too long may have been cut in the middle of a character.
fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Problems> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) if bytes.len() as u64 == LONGEST => Ok(String::from_utf8_lossy(bytes)),
        Err(error) => {
            let what = format!("is not UTF-8 from byte {} on", error.valid_up_to());
            Err(Problem::new("", what).into())
        }
    }
}

/// No more of it than shows that it is too long.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Told of whatever happens in the file's folder: the file itself may be another one each time.
fn watcher(path: &Path, tell: Sender<Wake>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is what a look does itself.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // Nobody listens any more: it is about to stop.
            let _ = tell.send(Wake::Look);
        }
    })?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(wake) = self.wake.take() {
            // It has ended already.
            let _ = wake.send(Wake::Stop);
        }
        match self.thread.take() {
            // Dropped by what it tells: it ends right after.
            Some(thread) if thread.thread().id() != thread::current().id() => {
                let _ = thread.join();
            }
            _ => {}
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::Problems(problems) => problems.fmt(f),
        }
    }
}

// What they are of is what they say.
impl core::error::Error for ReloadError {}

/// How often it looks, told or not; and how long at most it waits for a writer to be done.
const EVERY: Duration = Duration::from_millis(400);
const QUIET: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(1);
/// More than a document may have.
const LONGEST: u64 = 64 * 1024;
