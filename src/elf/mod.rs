//! ELF files: what they say of themselves, and the few edits that make them fit into a bundle.
//!
//! Everything here is a function over bytes: no file is opened. The files come from anywhere, wheels
//! included, so a damaged one must end in an [`ElfError`], never in a panic or a huge allocation.
//! Only 64-bit little-endian files are understood; others are recognised and named.

mod binding;
mod image;
pub mod machine;
mod notes;
pub mod program;
pub mod search_path;
mod sections;
mod segment;
pub mod slots;
mod strings;
pub mod strip;
mod versions;
pub mod view;

#[cfg(test)]
pub(crate) mod fixture;

pub use binding::bind_now;
pub use machine::Machine;
pub use notes::Notes;
pub use search_path::{ask_by_name, contain};
pub use strip::strip;
pub use view::{View, newest_defined};

/// Why an ELF file cannot be read or edited. Each reads as the end of a sentence: "libx.so: it is ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It begins with other bytes.
    #[error("it is not an ELF file")]
    NotElf,
    /// An ELF file of a kind that nothing here runs on.
    #[error("it is {0}, and only 64-bit little-endian files can be packed")]
    Foreign(&'static str),
    /// It contradicts itself or ends too early.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is whole, but cannot be changed in the way that is needed.
    #[error("it cannot be prepared: {0}")]
    Unsuitable(&'static str),
}
