//! A configuration in a file, while it changes. It is about the file system, so it waits.
#![cfg(feature = "reload")]
#![allow(missing_docs, clippy::unwrap_used)]

use core::time::Duration;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant as StdInstant;

use steadfast::orchestrator::{Key, Registration};
use steadfast_std::{OperationWarning, ReloadError, Resilience, Watching};
use tempfile::TempDir;

/// What is told of a file, and what an operation goes by then.
struct Watched {
    folder: TempDir,
    resilience: Resilience,
    told: Receiver<Result<Vec<OperationWarning>, ReloadError>>,
    watching: Option<Watching>,
}

impl Watched {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().unwrap();
        prepare(&folder.path().join("resilience.json"));
        let resilience = Resilience::new();
        assert!(resilience.register("a", Registration::new()).is_ok());
        let (tell, told) = channel();
        let on_change = move |change| drop(tell.send(change));
        let path = folder.path().join("resilience.json");
        let watching = Some(resilience.watch_file(path, on_change).unwrap());
        Self { folder, resilience, told, watching }
    }

    fn with(text: &str) -> Self {
        let watched = Self::new(|path| fs::write(path, text).unwrap());
        assert!(watched.told().is_ok());
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("resilience.json")
    }

    fn told(&self) -> Result<Vec<OperationWarning>, ReloadError> {
        self.told.recv_timeout(LONG).expect("something is told within a while")
    }

    fn attempts(&self) -> u64 {
        self.resilience.orchestrator().effective("a").unwrap().get(Key::Attempts)
    }

    /// How long three changes of `file` take, each from its renaming until it is gone by and told.
    fn replacements(&self, file: &Path) -> [Duration; 3] {
        let new = file.with_extension("new");
        [5, 6, 7].map(|number| {
            fs::write(&new, attempts(number)).unwrap();
            let began = StdInstant::now();
            fs::rename(&new, file).unwrap();
            assert!(self.told().is_ok());
            let took = began.elapsed();
            assert_eq!(self.attempts(), u64::from(number));
            took
        })
    }

    /// Nothing is told for longer than a change takes.
    fn stays_quiet(&self) {
        let told = self.told.recv_timeout(Duration::from_millis(1_500));
        assert!(told.is_err(), "{told:?}");
    }
}

fn attempts(attempts: u32) -> String {
    format!("{{\"retry_attempts\": {attempts}}}")
}

/// A second on an idle machine; tests share theirs.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_file_is_gone_by_at_once_and_after_each_change() {
    let watched = Watched::with(&attempts(4));
    assert_eq!(watched.attempts(), 4);
    for number in [5, 6, 7] {
        fs::write(watched.file(), attempts(number)).unwrap();
        while watched.told().is_err() {
            // It was seen half written.
        }
        assert_eq!(watched.attempts(), u64::from(number));
    }
    watched.stays_quiet();
}

#[test]
fn a_file_is_gone_by_before_following_it_begins() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("resilience.json");
    for number in [5, 6, 7] {
        fs::write(&path, attempts(number)).unwrap();
        let resilience = Resilience::new();
        assert!(resilience.register("a", Registration::new()).is_ok());
        let _watching = resilience.watch_file(&path, drop).unwrap();
        let effective = resilience.orchestrator().effective("a").unwrap();
        assert_eq!(effective.get(Key::Attempts), u64::from(number));
    }
}

#[test]
fn a_file_is_followed_by_who_panics_when_it_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("resilience.json");
    fs::write(&path, attempts(4)).unwrap();
    let resilience = Resilience::new();
    let (tell, told) = channel();
    let on_change = move |change: Result<Vec<OperationWarning>, ReloadError>| {
        tell.send(change.is_ok()).unwrap();
        assert!(change.is_ok(), "on purpose");
    };
    let _watching = resilience.watch_file(&path, on_change).unwrap();
    for (text, right) in [("{", false), ("{}", true)] {
        assert!(told.recv_timeout(LONG).unwrap());
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(told.recv_timeout(LONG).unwrap(), right);
        fs::write(folder.path().join("new"), attempts(4)).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
    }
}

// A second is what it promises by its own timings: it looks every 400 ms whether it was woken or not,
// and waits 30 ms for a writer to be done. Tests share their machine, so the best of three counts.
#[test]
fn a_change_is_gone_by_within_a_second() {
    let watched = Watched::with(&attempts(4));
    let took = watched.replacements(&watched.file());
    assert!(took.iter().min() < Some(&Duration::from_secs(1)), "{took:?}");
}

// The same where nobody wakes it: the file is a link to a folder that is not watched.
#[cfg(unix)]
#[test]
fn a_change_that_it_is_not_told_of_is_gone_by_within_a_second_too() {
    let watched = Watched::new(|path| {
        let folder = path.parent().unwrap().join("elsewhere");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("resilience.json"), attempts(4)).unwrap();
        std::os::unix::fs::symlink("elsewhere/resilience.json", path).unwrap();
    });
    assert!(watched.told().is_ok());
    let took = watched.replacements(&watched.path("elsewhere/resilience.json"));
    assert!(took.iter().min() < Some(&Duration::from_secs(1)), "{took:?}");
}

#[test]
fn a_wrong_file_is_told_once_and_what_was_configured_stays() {
    let watched = Watched::with(&attempts(4));
    fs::write(watched.path("new"), "{\"retry_attempts\": 5, \"x\": 1}").unwrap();
    fs::rename(watched.path("new"), watched.file()).unwrap();
    let Err(ReloadError::Problems(problems)) = watched.told() else { panic!("it is wrong") };
    assert_eq!(problems.len(), 1);
    assert!(problems.to_string().starts_with("x: is no setting"), "{problems}");
    watched.stays_quiet();
    assert_eq!(watched.attempts(), 4);
    fs::write(watched.path("new"), attempts(6)).unwrap();
    fs::rename(watched.path("new"), watched.file()).unwrap();
    assert!(watched.told().is_ok());
    assert_eq!(watched.attempts(), 6);
}

#[test]
fn a_file_that_is_not_text_or_too_long_is_wrong() {
    let named_wrong = b"{\"operations\": {\"\xe4\": \"critical\"}}";
    let watched = Watched::new(|path| fs::write(path, named_wrong).unwrap());
    let Err(ReloadError::Problems(problems)) = watched.told() else { panic!("it is no text") };
    assert_eq!(problems.to_string(), "is not UTF-8 from byte 17 on");
    assert_eq!(watched.resilience.orchestrator().len(), 1, "nothing has changed");
    fs::write(watched.path("new"), " ".repeat(1 << 20)).unwrap();
    fs::rename(watched.path("new"), watched.file()).unwrap();
    let Err(ReloadError::Problems(problems)) = watched.told() else { panic!("it is too long") };
    assert!(problems.to_string().ends_with("16384 bytes at most"), "{problems}");
}

#[test]
fn a_file_replaced_by_renaming_is_followed_again_and_again() {
    let watched = Watched::with(&attempts(4));
    for number in [5, 6, 7] {
        // As editors do: the old one aside, the new one in its place.
        fs::write(watched.path("new"), attempts(number)).unwrap();
        fs::rename(watched.file(), watched.path("old")).unwrap();
        fs::rename(watched.path("new"), watched.file()).unwrap();
        assert!(watched.told().is_ok());
        assert_eq!(watched.attempts(), u64::from(number));
    }
}

#[test]
fn a_file_missing_for_a_moment_is_not_told_of() {
    let watched = Watched::with(&attempts(4));
    for number in 5.. {
        let began = StdInstant::now();
        fs::remove_file(watched.file()).unwrap();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(watched.attempts(), u64::from(number) - 1);
        fs::write(watched.path("new"), attempts(number)).unwrap();
        fs::rename(watched.path("new"), watched.file()).unwrap();
        // A busy machine may make more than a moment of it.
        let for_a_moment = began.elapsed() < Duration::from_millis(700);
        while watched.told().is_err() {
            assert!(!for_a_moment, "it was told of");
        }
        assert_eq!(watched.attempts(), u64::from(number));
        if for_a_moment {
            return;
        }
    }
}

#[test]
fn a_file_that_stays_missing_is_told_of_once_and_found_when_it_comes() {
    let watched = Watched::new(|_| {});
    let Err(ReloadError::Unreadable(error)) = watched.told() else { panic!("it is missing") };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("resilience.json: "), "{error}");
    watched.stays_quiet();
    fs::write(watched.path("new"), attempts(5)).unwrap();
    fs::rename(watched.path("new"), watched.file()).unwrap();
    assert!(watched.told().is_ok());
    assert_eq!(watched.attempts(), 5);
}

#[test]
fn a_folder_that_is_replaced_is_followed() {
    let watched = Watched::new(|_| {});
    let (tell, told) = channel();
    let file = watched.path("sub").join("resilience.json");
    let on_change = move |change| drop(tell.send(change));
    let _watching = watched.resilience.watch_file(file.clone(), on_change).unwrap();
    for number in [5, 6] {
        fs::create_dir(watched.path("next")).unwrap();
        fs::write(watched.path("next").join("resilience.json"), attempts(number)).unwrap();
        let _ = fs::rename(watched.path("sub"), watched.path(&format!("old{number}")));
        fs::rename(watched.path("next"), watched.path("sub")).unwrap();
        while told.recv_timeout(LONG).unwrap().is_err() {}
        assert_eq!(watched.attempts(), u64::from(number));
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_points_elsewhere_is_a_change() {
    use std::os::unix::fs::symlink;
    let watched = Watched::new(|path| {
        let folder = path.parent().unwrap();
        fs::create_dir(folder.join("one")).unwrap();
        fs::write(folder.join("one/resilience.json"), attempts(4)).unwrap();
        symlink("one", folder.join("data")).unwrap();
        symlink("data/resilience.json", path).unwrap();
    });
    assert!(watched.told().is_ok());
    assert_eq!(watched.attempts(), 4);
    fs::create_dir(watched.path("two")).unwrap();
    fs::write(watched.path("two/resilience.json"), attempts(5)).unwrap();
    symlink("two", watched.path("new")).unwrap();
    fs::rename(watched.path("new"), watched.path("data")).unwrap();
    assert!(watched.told().is_ok());
    assert_eq!(watched.attempts(), 5);
}

#[test]
fn a_file_written_anew_with_the_same_text_is_no_change() {
    let watched = Watched::with(&attempts(4));
    fs::write(watched.path("new"), attempts(4)).unwrap();
    fs::rename(watched.path("new"), watched.file()).unwrap();
    watched.stays_quiet();
}

#[test]
fn once_the_guard_is_dropped_nothing_is_applied_or_told() {
    let mut watched = Watched::with(&attempts(4));
    drop(watched.watching.take());
    fs::write(watched.file(), attempts(5)).unwrap();
    thread::sleep(Duration::from_millis(1_000));
    // Who tells is gone, and told nothing before.
    assert!(watched.told.recv_timeout(LONG).is_err());
    assert_eq!(watched.attempts(), 4);
}

#[test]
fn a_guard_may_be_dropped_by_what_it_tells() {
    let watched = Watched::with(&attempts(4));
    let (give, given) = channel::<Watching>();
    let (tell, told) = channel();
    let on_change = move |_| {
        drop(given.recv_timeout(LONG).unwrap());
        tell.send(()).unwrap();
    };
    give.send(watched.resilience.watch_file(watched.file(), on_change).unwrap()).unwrap();
    told.recv_timeout(LONG).unwrap();
    assert!(told.recv_timeout(LONG).is_err());
}
