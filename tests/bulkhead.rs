//! Slots: never more than there are, and each one comes back.
#![allow(clippy::disallowed_types)]

mod common;

use core::any::Any;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;

use steadfast::Bulkhead;
use steadfast::state::{BulkheadFull, Slot};

use common::patiently;

#[test]
fn so_many_slots_and_no_more() {
    for slots in [1, 2, 3, 100] {
        let bulkhead = Bulkhead::new(slots);
        let held: Vec<_> = (0..slots).map(|_| bulkhead.try_acquire().unwrap()).collect();
        assert_eq!((bulkhead.taken(), bulkhead.slots()), (slots, slots));
        for _ in 0..3 {
            assert_eq!(bulkhead.try_acquire().unwrap_err(), BulkheadFull);
        }
        // A refusal took nothing, so nothing is given back for it.
        assert_eq!(bulkhead.taken(), slots);
        drop(held);
        assert_eq!(bulkhead.taken(), 0);
    }
}

#[test]
fn a_slot_given_back_is_free_at_once() {
    let bulkhead = Bulkhead::new(1);
    for _ in 0..1000 {
        let slot = bulkhead.try_acquire().unwrap();
        assert!(bulkhead.try_acquire().is_err());
        drop(slot);
    }
}

#[test]
fn each_slot_given_back_is_one_and_no_more() {
    let bulkhead = Bulkhead::new(5);
    let mut held: Vec<_> = (0..5).map(|_| bulkhead.try_acquire().unwrap()).collect();
    while held.pop().is_some() {
        assert_eq!(bulkhead.taken(), held.len() as u32);
    }
}

#[test]
fn a_panic_gives_a_slot_back() {
    let bulkhead = Bulkhead::new(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _slot = bulkhead.try_acquire();
        assert_eq!(bulkhead.taken(), 1);
        std::panic::resume_unwind(Box::new("in the middle of the attempt"));
    }));
    assert!(panicked.is_err());
    assert_eq!(bulkhead.taken(), 0);
}

#[test]
fn b26_a_slot_is_taken_until_the_work_that_holds_it_has_really_ended() {
    static BULKHEAD: Bulkhead = Bulkhead::new(1);
    struct Work {
        _slot: Slot<&'static Bulkhead>,
    }
    let work: Box<dyn Any + Send> = Box::new(Work { _slot: BULKHEAD.try_acquire().unwrap() });
    let (end, ended) = std::sync::mpsc::channel::<()>();
    // Whoever waited for it has gone; it goes on.
    let worker = thread::spawn(move || {
        let _ = ended.recv();
        drop(work);
    });
    assert_eq!(BULKHEAD.try_acquire().unwrap_err(), BulkheadFull);
    drop(end);
    worker.join().unwrap();
    assert!(BULKHEAD.try_acquire().is_ok());
}

#[test]
fn a_slot_by_an_arc_keeps_its_bulkhead() {
    let bulkhead = Arc::new(Bulkhead::new(1));
    let slot = Slot::try_acquire(Arc::clone(&bulkhead)).unwrap();
    assert_eq!(Slot::try_acquire(Arc::clone(&bulkhead)).unwrap_err(), BulkheadFull);
    // The refused handle is gone, the one in the slot is not.
    assert_eq!(Arc::strong_count(&bulkhead), 2);
    thread::spawn(move || drop(slot)).join().unwrap();
    assert_eq!((Arc::strong_count(&bulkhead), bulkhead.taken()), (1, 0));
}

#[test]
fn eight_threads_never_hold_more_slots_than_there_are() {
    const SLOTS: u32 = 3;
    let bulkhead = Bulkhead::new(SLOTS);
    let held = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for taken in 0..5000 {
                    let slot = patiently(|| bulkhead.try_acquire().ok());
                    // Counted after it is taken and before it is given back.
                    let others = held.fetch_add(1, Relaxed);
                    assert!(others < SLOTS, "{others} others");
                    if taken % 16 == 0 {
                        thread::yield_now();
                    }
                    held.fetch_sub(1, Relaxed);
                    drop(slot);
                }
            });
        }
    });
    assert_eq!(bulkhead.taken(), 0);
}
