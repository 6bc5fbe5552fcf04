//! A fleet of devices, told apart by their ids alone.

use std::collections::{HashMap, HashSet};

use steadfast_embassy::Random;

static RANDOM: Random = Random::seeded(b"made in a const");

#[test]
fn one_id_gives_one_sequence() {
    let (one, other) = (Random::seeded(b"made in a const"), &RANDOM);
    let drawn: Vec<_> = (0..100).map(|_| one.draw()).collect();
    assert_eq!(drawn, (0..100).map(|_| other.draw()).collect::<Vec<_>>());
}

#[test]
fn ids_that_differ_in_one_bit_give_other_sequences() {
    for length in [1, 4, 6, 8, 12, 16] {
        for number in 0..300_u64 {
            // Serial numbers, and what looks like lots and places on a wafer.
            for spread in [1, 0x9e37_79b9_7f4a_7c15] {
                let bytes = (number.wrapping_mul(spread)).to_le_bytes();
                let id: Vec<_> = bytes.into_iter().cycle().take(length).collect();
                for bit in 0..length * 8 {
                    let mut other = id.clone();
                    other[bit / 8] ^= 1 << (bit % 8);
                    assert_ne!(first(&id), first(&other), "{id:?}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn an_id_is_as_long_as_it_is() {
    assert_ne!(first(&[7]), first(&[7, 0]));
    assert_ne!(first(&[]), first(&[0]));
}

#[test]
fn neighbours_in_a_fleet_spread_over_the_whole_wait() {
    // 64 000 devices of one lot fail together: in 1 000 slots of a wait, 64 each.
    for nth in 0..3 {
        let mut slots = HashMap::new();
        for serial in 0..64_000_u32 {
            let random = Random::seeded(&serial.to_be_bytes());
            let wait = (0..=nth).map(|_| random.draw()).last().unwrap();
            *slots.entry((u64::from(wait) * 1_000) >> 32).or_insert(0) += 1;
        }
        let (least, most) = (slots.values().min().unwrap(), slots.values().max().unwrap());
        assert_eq!(slots.len(), 1_000);
        // Five times the deviation of a throw of dice, which is 8.
        assert!(*least >= 24 && *most <= 104, "{least} to {most} at draw {nth}");
    }
}

#[test]
fn no_two_devices_of_a_large_fleet_are_alike() {
    // By 32 bits of key, ten pairs would be.
    let fleet: HashSet<_> = (0..300_000_u32).map(|serial| first(&serial.to_be_bytes())).collect();
    assert_eq!(fleet.len(), 300_000);
}

#[test]
fn a_sequence_does_not_come_round() {
    let random = Random::seeded(b"an id");
    let drawn: HashSet<_> = (0..200_000).map(|_| random.draw()).collect();
    assert_eq!(drawn.len(), 200_000);
}

fn first(id: &[u8]) -> [u32; 2] {
    let random = Random::seeded(id);
    [random.draw(), random.draw()]
}
