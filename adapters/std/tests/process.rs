//! The process's own operations: one test, for a process has them once.
#![allow(missing_docs)]

use steadfast::Strategy;
use steadfast::orchestrator::{Registration, UnknownOperation};
use steadfast_std::{AlreadyInstalled, OperationError, Resilience, install, operation};

#[test]
fn operations_are_found_once_they_are_installed_and_that_is_once() {
    assert_eq!(operation("a").unwrap_err(), OperationError::NotInitialised);
    let resilience = Resilience::<3>::default();
    let critical = Registration::by(Strategy::Critical);
    assert!(resilience.register("a", critical).is_ok());
    assert_eq!(operation("a").unwrap_err(), OperationError::NotInitialised);
    install(resilience).unwrap();
    assert_eq!(install(Resilience::new()), Err(AlreadyInstalled));
    assert_eq!(operation("a").unwrap().settings().attempts, 7);
    assert_eq!(operation("b").unwrap_err(), OperationError::Unknown(UnknownOperation));
    assert!(resilience.register("b", Registration::new()).is_ok());
    assert_eq!(operation("b").unwrap().name().as_str(), "b");
}
