#![no_main]

#[path = "../../tests/kit/hostile_packer.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod hostile_packer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile_packer::read_elf(bytes));
