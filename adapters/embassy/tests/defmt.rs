//! What firmware holds of this crate is loggable, too.

use defmt::Format;
use steadfast_embassy::{DelayClock, EmbassyClock, Pump, Random, Told};

#[test]
fn every_value_that_firmware_may_hold_is_logged() {
    fn all<T: Format>() {}
    all::<(EmbassyClock, DelayClock<(), fn() -> u64>, Random, Pump<4>, Told)>();
}

#[test]
fn a_sequence_tells_how_much_was_drawn_and_not_of_what_device() {
    let random = Random::seeded(b"device");
    let _ = (0..0x123).map(|_| random.draw()).last();
    assert_eq!(logged(&random), 0x123_u32.to_le_bytes());
}

/// The bytes that go out for `value`, but for what says which text they stand in.
fn logged(value: &impl Format) -> Vec<u8> {
    let text = size_of_val(&defmt::export::fetch_string_index());
    defmt::export::fetch_bytes();
    value.format(defmt::export::make_formatter());
    defmt::export::fetch_bytes().split_off(text)
}
