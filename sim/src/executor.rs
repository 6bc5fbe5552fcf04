//! Tasks on one thread. Which of those that are ready goes next, the caller decides.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

pub(crate) type Boxed<'w, T> = Pin<Box<dyn Future<Output = T> + 'w>>;

/// The tasks that are not over yet.
#[derive(Default)]
pub(crate) struct Executor<'w> {
    tasks: Vec<Option<Boxed<'w, ()>>>,
    wakers: Vec<Waker>,
    ready: Arc<Mutex<Vec<usize>>>,
}

struct Task {
    number: usize,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl<'w> Executor<'w> {
    pub(crate) fn spawn(&mut self, task: Boxed<'w, ()>) {
        let number = self.tasks.len();
        let waker = Waker::from(Arc::new(Task { number, ready: Arc::clone(&self.ready) }));
        waker.wake_by_ref();
        self.tasks.push(Some(task));
        self.wakers.push(waker);
    }

    /// Polls one of the ready tasks: the `pick(how many)`-th. False if none is ready.
    pub(crate) fn poll_one(&mut self, pick: impl FnOnce(usize) -> usize) -> bool {
        let number = {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if ready.is_empty() {
                return false;
            }
            let at = pick(ready.len());
            ready.swap_remove(at)
        };
        if let (Some(slot), Some(waker)) = (self.tasks.get_mut(number), self.wakers.get(number)) {
            let over = slot
                .as_mut()
                .is_some_and(|task| task.as_mut().poll(&mut Context::from_waker(waker)).is_ready());
            if over {
                *slot = None;
            }
        }
        true
    }

    /// Wakes the `number`-th task, whether there is a reason or not.
    pub(crate) fn wake(&self, number: usize) {
        if let Some(waker) = self.wakers.get(number) {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tasks.iter().all(Option::is_none)
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.number) {
            ready.push(self.number);
        }
    }
}
