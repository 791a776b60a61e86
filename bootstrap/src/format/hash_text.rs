//! The text form of hashes of 32 bytes: the algorithm, a colon, and 64 hexadecimal digits in lower case.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The 64 digits.
pub fn to_hex(bytes: &[u8; 32]) -> String {
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

const NO_DIGIT: u8 = 0x80;

/// What each byte is worth as a digit. No branch can foresee the next digit of a hash, and a pack reads ten thousand.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Reads 64 digits in lower case; `None` for anything else.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    let mut wrong = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        wrong |= high | low;
        *byte = high << 4 | low & 15;
    }
    if wrong & NO_DIGIT != 0 {
        return None;
    }
    Some(bytes)
}

/// Gives a hash, a tuple of 32 bytes, its text form: in `Display`, `FromStr` and serde.
macro_rules! hash_text {
    ($hash:ident, $prefix:literal, $what:literal) => {
        impl $hash {
            /// The 64 hexadecimal digits, without the algorithm: a file name that is safe everywhere.
            pub fn hex(&self) -> String {
                $crate::format::hash_text::to_hex(&self.0)
            }

            /// Reads 64 hexadecimal digits in lower case; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                $crate::format::hash_text::from_hex(text).map($hash)
            }
        }

        impl std::fmt::Display for $hash {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}{}", $prefix, self.hex())
            }
        }

        impl std::fmt::Debug for $hash {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $hash {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                text.strip_prefix($prefix).and_then($hash::from_hex).ok_or_else(|| {
                    format!("{text:?} is not a {} ({} and 64 hexadecimal digits)", $what, $prefix)
                })
            }
        }

        impl serde::Serialize for $hash {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $hash {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use hash_text;
