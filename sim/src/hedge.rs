//! A caller that hedges: it drives a run by hand, and makes a second attempt when the first is slow.

use core::future::{Future as _, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use steadfast::policy::{Attempt, ByError, Event, Events, Leave, Next, Run};
use steadfast::{Clock as _, Error, Instant, Observe as _, Policy, Sleep as _};

use crate::clock::Until;
use crate::provider::Fault;
use crate::world::{Attempting, Device, World};

/// The future is dropped before what it was leave to do.
struct UnderWay<'c> {
    future: Attempting<'c>,
    timer: Until<'c>,
    leave: Attempt<'c>,
}

enum Happens {
    /// It answered, failed, or its time is over.
    Ended(usize, Option<Result<bool, Fault>>),
    IsSlow,
}

/// Makes a second attempt when one has taken `patience` µs of the clock, if the policy grants it.
pub(crate) async fn execute<'c>(
    world: &'c World<'c>,
    call: usize,
    policy: &'c Policy<'c>,
    patience: u64,
) -> Result<bool, Error<Fault>> {
    let clock = Device { world, call };
    let mut run = policy.start(clock.now(), 0);
    let mut under_way: Vec<UnderWay<'c>> = Vec::new();
    let mut slow = None;
    loop {
        if under_way.is_empty() {
            let now = clock.now();
            match leave(world, &mut run, now).0 {
                Leave::Granted(leave) => under_way.push(begin(clock, leave)),
                Leave::Refused(error) => return Err(error),
                Leave::NotNow => panic!("call {call} has no attempt, and makes none"),
            }
            slow = Some(clock.sleep_until(Instant::from_micros(now.as_micros() + patience)));
        }
        let (which, result) =
            match poll_fn(|context| next(context, &mut under_way, &mut slow)).await {
                Happens::Ended(which, result) => (which, result),
                Happens::IsSlow => {
                    slow = None;
                    match leave(world, &mut run, clock.now()) {
                        (Leave::Granted(leave), _) => under_way.push(begin(clock, leave)),
                        (Leave::NotNow, events) => {
                            let reason = events.iter().find_map(|event| match *event {
                                Event::Refused { reason, .. } => Some(reason),
                                _ => None,
                            });
                            world.book().no_second(call, reason, world.shared);
                        }
                        (Leave::Refused(_), _) => panic!("call {call} is over in an attempt"),
                    }
                    continue;
                }
            };
        let UnderWay { future, leave, .. } = under_way.swap_remove(which);
        drop(future);
        let now = clock.now();
        let step = run.settle(leave, now, result, || clock.random());
        tell(world, &step.events);
        match step.next {
            Next::Done(result) => {
                for UnderWay { future, leave, .. } in under_way {
                    world.dropping(|| drop(future));
                    run.cancel(leave);
                }
                return result;
            }
            Next::Retry(at) => clock.sleep_until(at).await,
            Next::Pending => world.book().failed_besides(call, now),
        }
    }
}

fn leave<'c>(
    world: &World<'_>,
    run: &mut Run<'c, Fault, ByError>,
    now: Instant,
) -> (Leave<'c, Fault>, Events) {
    let step = run.attempt(now);
    tell(world, &step.events);
    (step.next, step.events)
}

fn tell(world: &World<'_>, events: &Events) {
    events.iter().for_each(|event| world.observe(event));
}

fn begin<'c>(clock: Device<'c>, leave: Attempt<'c>) -> UnderWay<'c> {
    let future = clock.world.attempt(clock.call, Some(leave.made()));
    UnderWay { future, timer: clock.sleep_until(leave.ends()), leave }
}

fn next(
    context: &mut Context<'_>,
    under_way: &mut [UnderWay<'_>],
    slow: &mut Option<Until<'_>>,
) -> Poll<Happens> {
    for (which, attempt) in under_way.iter_mut().enumerate() {
        if let Poll::Ready(result) = Pin::new(&mut attempt.future).poll(context) {
            return Poll::Ready(Happens::Ended(which, Some(result)));
        }
        if Pin::new(&mut attempt.timer).poll(context).is_ready() {
            return Poll::Ready(Happens::Ended(which, None));
        }
    }
    match slow.as_mut().map(|slow| Pin::new(slow).poll(context)) {
        Some(Poll::Ready(())) => Poll::Ready(Happens::IsSlow),
        _ => Poll::Pending,
    }
}
