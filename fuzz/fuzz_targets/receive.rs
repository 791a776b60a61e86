#![no_main]

#[path = "../../tests/kit/hostile.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::receive(bytes));
