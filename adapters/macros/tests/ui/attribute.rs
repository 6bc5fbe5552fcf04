//! Mistakes in what the attribute is given. All messages are its own.

use steadfast::resilient;

#[resilient(strategy = "critical")]
fn no_name() -> Result<(), Error> {
    Ok(())
}

#[resilient("")]
fn empty_name() -> Result<(), Error> {
    Ok(())
}

#[resilient("a name of thirty-three bytes here!")]
fn long_name() -> Result<(), Error> {
    Ok(())
}

#[resilient("name", strategy = "crucial")]
fn unknown_strategy() -> Result<(), Error> {
    Ok(())
}

#[resilient("name", retries = 3)]
fn unknown_argument() -> Result<(), Error> {
    Ok(())
}

#[resilient("name", strategy = "critical", strategy = "balanced")]
fn given_twice() -> Result<(), Error> {
    Ok(())
}

#[resilient("name", retry_all, classify = verdict)]
fn two_classifiers() -> Result<(), Error> {
    Ok(())
}

#[resilient("name", crate = "steadfast_std")]
fn crate_is_no_path() -> Result<(), Error> {
    Ok(())
}

#[resilient("name", crate = steadfast_std, crate = steadfast_std)]
fn crate_twice() -> Result<(), Error> {
    Ok(())
}

struct Error;

fn main() {}
