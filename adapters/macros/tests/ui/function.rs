//! Functions that cannot be attempted again. All messages are the attribute's own.

use steadfast::resilient;

#[resilient("name")]
fn no_result() {}

#[resilient("name")]
fn unnamed_result() -> Result<impl Sized, Error> {
    Ok(())
}

#[resilient("name")]
fn exclusive(list: &mut Vec<u8>) -> Result<(), Error> {
    Ok(list.clear())
}

struct Client;

impl Client {
    #[resilient("name")]
    fn by_value(self) -> Result<(), Error> {
        Ok(())
    }

    #[resilient("name")]
    fn by_exclusive_reference(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

struct Error;

fn main() {}
